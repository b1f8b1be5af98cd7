"""Every failure in the dialect of the called API, as the official SDKs see it: before the first byte and after it."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterable, Callable
from typing import Any, cast

import anthropic
import openai
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from openai.types.chat import ChatCompletionMessageParam

from clients import application, async_anthropic, async_client, async_openai, sync_anthropic, sync_openai
from fakes import LOADING, MODEL, READY, Fail, Hang, Script, ScriptedEngine, reply, text_tokens
from llm_server.engine.types import Status
from llm_server.errors import (
    BadRequest,
    ContextTooLong,
    EngineUnavailable,
    GenerationFailed,
    Overloaded,
    ServerError,
)
from llm_server.harmony.encoding import START
from llm_server.server import ROUTERS

NONCE = "xyzzy-plugh-4711"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": f"Hello {NONCE}"}]
ANSWER = reply("They greet me.", "Hello to you, too, my friend.")
UNFORESEEN = RuntimeError(f"this quotes the prompt: {NONCE}")

CHAT: dict[str, Any] = {"model": "gpt-oss-20b", "messages": HELLO}
MESSAGES: dict[str, Any] = {"model": "claude-opus-4-8", "messages": HELLO, "max_tokens": 100}
RAW: dict[str, Any] = {"model": "gpt-oss-20b", "prompt": [START, *text_tokens("assistant")], "max_tokens": 100}
RESPONSES: dict[str, Any] = {"model": "gpt-oss-20b", "input": f"Hello {NONCE}", "store": False}
APIS = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": RAW,
    "/v1/messages": MESSAGES,
    "/v1/responses": RESPONSES,
}
BESIDES = {
    "/v1/messages/count_tokens",
    "/v1/responses/compact",
    "/v1/responses/input_tokens",
    "/tokenize",
    "/detokenize",
}
"""Further paths that take a body of JSON."""


def chat(app: FastAPI, **fields: Any) -> Any:
    return sync_openai(app).chat.completions.create(**CHAT | fields)


def messages(app: FastAPI, **fields: Any) -> Any:
    return sync_anthropic(app).messages.create(**MESSAGES | fields)


REFUSALS: list[tuple[ServerError | Exception, type[openai.APIStatusError], type[anthropic.APIStatusError], str]] = [
    (BadRequest("Bad."), openai.BadRequestError, anthropic.BadRequestError, "false"),
    (ContextTooLong(limit=9, prompt=10), openai.BadRequestError, anthropic.BadRequestError, "false"),
    (Overloaded("Full.", retry_after=2.5), openai.RateLimitError, anthropic.OverloadedError, "true"),
    (GenerationFailed("No."), openai.InternalServerError, anthropic.InternalServerError, "false"),
    (EngineUnavailable("Gone."), openai.InternalServerError, anthropic.ServiceUnavailableError, "true"),
    (UNFORESEEN, openai.InternalServerError, anthropic.InternalServerError, "false"),
]


@pytest.mark.parametrize(("error", "theirs", "_", "retry"), REFUSALS)
@pytest.mark.parametrize("streamed", [False, True])
def test_refusals_as_openais_sdk_knows_them(
    error: Exception, theirs: type[openai.APIStatusError], _: Any, retry: str, streamed: bool
) -> None:
    app = application(ScriptedEngine(refusal=cast("ServerError", error)))
    with pytest.raises(openai.APIStatusError) as raised:
        chat(app, stream=streamed)
    assert type(raised.value) is theirs
    assert raised.value.response.headers["x-should-retry"] == retry
    assert set(raised.value.response.json()["error"]) == {"message", "type", "param", "code"}
    assert raised.value.request_id
    assert NONCE not in raised.value.response.text


@pytest.mark.parametrize(("error", "_", "theirs", "retry"), REFUSALS)
@pytest.mark.parametrize("streamed", [False, True])
def test_refusals_as_anthropics_sdk_knows_them(
    error: Exception, _: Any, theirs: type[anthropic.APIStatusError], retry: str, streamed: bool
) -> None:
    app = application(ScriptedEngine(refusal=cast("ServerError", error)))
    with pytest.raises(anthropic.APIStatusError) as raised:
        messages(app, stream=streamed)
    assert type(raised.value) is theirs
    assert raised.value.response.headers["x-should-retry"] == retry
    body = raised.value.response.json()
    assert body["type"] == "error"
    assert body["request_id"] == raised.value.request_id == raised.value.response.headers["x-request-id"]
    assert NONCE not in raised.value.response.text


@pytest.mark.parametrize("path", APIS)
async def test_a_full_queue_says_when_to_come_again(path: str) -> None:
    client = async_client(application(ScriptedEngine(refusal=Overloaded("Full.", retry_after=2.5))))
    response = await client.post(path, json=APIS[path])
    assert response.status_code == (529 if path == "/v1/messages" else 429)
    assert response.headers["retry-after"] == "3"


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("status", [LOADING, None, Status("engine-1", "draining", MODEL, 0, 0)])
async def test_an_engine_that_is_not_ready_is_503(path: str, status: Status | None) -> None:
    response = await async_client(application(ScriptedEngine(status=status))).post(path, json=APIS[path])
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-should-retry"] == "true"


def test_a_prompt_that_is_too_long_tells_both_numbers() -> None:
    app = application(ScriptedEngine(ANSWER))
    long = [{"role": "user", "content": f"{NONCE} " * MODEL.context_length}]
    with pytest.raises(openai.BadRequestError) as raised:
        chat(app, messages=long)
    assert raised.value.code == "context_length_exceeded"
    told = rf"This model's maximum context length is {MODEL.context_length} tokens\. .* resulted in \d+ tokens\."
    assert re.search(told, raised.value.message), "LiteLLM, and so Aider, knows the failure by these words alone"
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 4096 maximum"):
        messages(app, messages=long)


@pytest.mark.parametrize("token", ["199998", "200008", "201088", "999999"])
def test_only_tokens_of_text_can_be_biased(token: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        chat(application(ScriptedEngine(ANSWER)), logit_bias={"5": 1, token: 1})
    assert raised.value.param == "logit_bias"


@pytest.mark.parametrize("call", [chat, messages])
def test_an_unknown_model_is_not_found(call: Callable[..., Any]) -> None:
    with pytest.raises((openai.NotFoundError, anthropic.NotFoundError)) as raised:
        call(application(ScriptedEngine(ANSWER)), model=f"gpt-4-{NONCE}")
    assert NONCE not in str(raised.value)


@pytest.mark.parametrize("call", [chat, messages])
def test_a_wrong_key_is_an_authentication_error(call: Callable[..., Any]) -> None:
    with pytest.raises((openai.AuthenticationError, anthropic.AuthenticationError)):
        call(application(ScriptedEngine(ANSWER), api_key="right"))


async def test_the_right_key_opens_both_apis() -> None:
    app = application(ScriptedEngine(ANSWER), api_key="right")
    await async_openai(app, api_key="right").chat.completions.create(**CHAT)
    await async_anthropic(app, api_key="right").messages.create(**MESSAGES)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"null", 400),
        (b'{"model": "gpt-oss-20b"}', 400),
        (b'{"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "\xff"}]}', 400),
        (b'{"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "\\ud800"}], "max_tokens": 9}', 400),
        (b'{"model": "\\ud800", "messages": []}', 400),
        (b'{"model": "gpt-oss-20b", "temperature": NaN, "max_tokens": 9, "messages": []}', 400),
        (b'{"model": "gpt-oss-20b", "temperature": 1e400, "max_tokens": 9, "messages": []}', 400),
        (b'{"model": "gpt-oss-20b", "model": "gpt-oss-20b"}', 400),
        (b'{"max_tokens": ' + b"9" * 10_000 + b"}", 400),
        (b"[" * 1_000_000, 400),
        (b'{"a":' * 200_000, 400),
        (b" " * 20_000_000, 413),
    ],
)
@pytest.mark.parametrize("path", [*APIS, *BESIDES])
async def test_what_is_no_request_is_a_clear_4xx(path: str, body: bytes, status: int) -> None:
    client = async_client(application(ScriptedEngine(ANSWER)))
    response = await client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.headers["x-should-retry"] == "false"
    error = response.json()["error"]
    assert error["type"] in ("invalid_request_error", "request_too_large")
    assert error["message"].endswith(".")


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("field", ["messages", "temperature", "stream", "tools", "model", "max_tokens", "tool_choice"])
@pytest.mark.parametrize("value", [NONCE, [NONCE], {NONCE: NONCE}, {"type": NONCE}, [{"role": NONCE, "type": NONCE}]])
async def test_a_refused_value_is_never_quoted(
    path: str, field: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = async_client(application(ScriptedEngine(ANSWER)))
    with caplog.at_level(logging.DEBUG):
        response = await client.post(path, json=APIS[path] | {field: value})
    assert response.status_code in (200, 400, 404), "tools of an unknown kind are passed over, the rest is refused"
    assert NONCE not in response.text
    assert NONCE not in caplog.text


@pytest.mark.parametrize("path", [*APIS, *BESIDES])
async def test_every_post_route_takes_json_alone(path: str) -> None:
    response = await async_client(application(ScriptedEngine(ANSWER))).post(path, data={"model": "gpt-oss-20b"})
    assert response.status_code == 415


def test_no_post_route_is_forgotten_here() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    posts = {route.path for route in routes if "POST" in (route.methods or ())}
    without_a_body = {"/v1/responses/{identity}/cancel"}
    thrown_away = {"/api/event_logging/batch", "/api/event_logging/v2/batch"}
    assert posts == {*APIS, *BESIDES, *without_a_body, *thrown_away}


STARTED: list[Any] = ANSWER[:-4]


@pytest.mark.parametrize("error", [EngineUnavailable("The engine has stopped."), GenerationFailed("No.")])
async def test_a_failure_in_the_stream_ends_it_with_an_error(error: ServerError) -> None:
    engine = ScriptedEngine([*STARTED, Fail(error)])
    app = application(engine)
    chunks = await async_openai(app).chat.completions.create(**CHAT, stream=True)
    with pytest.raises(openai.APIError, match=error.message):
        await consume(chunks)
    events = await async_anthropic(app).messages.create(**MESSAGES, stream=True)
    with pytest.raises(anthropic.APIError, match=error.message):
        await consume(events)
    assert engine.running == 0


async def consume(stream: AsyncIterable[object]) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("path", APIS)
async def test_a_failed_stream_does_not_end_like_a_good_one(path: str) -> None:
    app = application(ScriptedEngine([*STARTED, Fail()]))
    response = await async_client(app).post(path, json=APIS[path] | {"stream": True})
    assert response.status_code == 200
    assert '"error"' in last_event(path, response.text)
    ends = ("message_stop", '"finish_reason":"stop"', "response.completed")
    assert not [end for end in ends if end in response.text]


def last_event(path: str, body: str) -> str:
    """What a stream ends with. After a failure there is no `[DONE]`, but in Responses, where it is no success."""
    events = [event for event in body.split("\n\n") if event and not event.startswith(":")]
    if path == "/v1/responses":
        assert events.pop() == "data: [DONE]"
    assert "[DONE]" not in events[-1]
    return events[-1]


@pytest.mark.parametrize("path", APIS)
async def test_a_failure_of_a_whole_answer_is_its_status(path: str) -> None:
    script: Script = [*STARTED, Fail()]
    response = await async_client(application(ScriptedEngine(script))).post(path, json=APIS[path])
    assert response.status_code == 503
    assert "retry-after" in response.headers


@pytest.mark.parametrize("path", APIS)
async def test_a_request_that_takes_too_long_is_504(path: str) -> None:
    engine = ScriptedEngine([*STARTED, Hang()])
    app = application(engine, request_timeout=0.05)
    response = await async_client(app).post(path, json=APIS[path])
    assert response.status_code == 504
    assert response.headers["x-should-retry"] == "false"
    assert engine.running == 0
    streamed = await async_client(app).post(path, json=APIS[path] | {"stream": True})
    assert '"error"' in last_event(path, streamed.text)
    assert engine.running == 0


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_unforeseen_failure_is_logged_without_content(
    path: str, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = application(ScriptedEngine([*STARTED, Fail(cast("ServerError", UNFORESEEN))], status=READY))
    with caplog.at_level(logging.DEBUG):
        response = await async_client(app).post(path, json=APIS[path] | {"stream": streamed})
    assert response.status_code == (200 if streamed else 500)
    assert "RuntimeError" in caplog.text
    assert NONCE not in caplog.text + response.text
