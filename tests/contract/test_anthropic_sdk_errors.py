"""Failures as the official Anthropic SDK's exceptions, before the first byte and after it."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from clients import application, async_anthropic, async_client, sync_anthropic
from fakes import LOADING, Fail, ScriptedEngine, Step, reply
from llm_server.errors import EngineUnavailable, Overloaded, RequestTimeout

ANSWER = reply("They greet me.", "Hello, how are you today?")
ASK: Any = {"model": "gpt-oss-20b", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
IMAGE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


async def refusal(engine: ScriptedEngine | None = None, **fields: Any) -> anthropic.APIStatusError:
    """What the SDK raises, the same for a whole and for a streamed answer."""
    app = application(engine or ScriptedEngine(ANSWER), api_key="secret")
    sdk = async_anthropic(app, api_key=fields.pop("api_key", "secret"))
    with pytest.raises(anthropic.APIStatusError) as whole:
        await sdk.messages.create(**ASK | fields)
    with pytest.raises(anthropic.APIStatusError) as streamed:
        async with sdk.messages.stream(**ASK | fields):
            pass
    assert type(whole.value) is type(streamed.value)
    assert whole.value.request_id
    return whole.value


@pytest.mark.parametrize(
    ("fields", "exception", "kind"),
    [
        ({"model": "gpt-4"}, anthropic.NotFoundError, "not_found_error"),
        ({"api_key": "wrong"}, anthropic.AuthenticationError, "authentication_error"),
        ({"max_tokens": -1}, anthropic.BadRequestError, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, anthropic.BadRequestError, "invalid_request_error"),
    ],
)
async def test_refused_requests(fields: Any, exception: type[anthropic.APIStatusError], kind: str) -> None:
    error = await refusal(**fields)
    assert isinstance(error, exception)
    assert error.type == kind


@pytest.mark.parametrize(
    ("engine", "exception", "kind"),
    [
        (ScriptedEngine(refusal=Overloaded("Full.", retry_after=3)), anthropic.OverloadedError, "overloaded_error"),
        (ScriptedEngine(status=LOADING), anthropic.ServiceUnavailableError, "api_error"),
        (ScriptedEngine(refusal=RequestTimeout("Late.")), anthropic.GatewayTimeoutError, "timeout_error"),
    ],
)
async def test_refusals_of_the_engine(
    engine: ScriptedEngine, exception: type[anthropic.APIStatusError], kind: str
) -> None:
    error = await refusal(engine)
    assert isinstance(error, exception)
    assert error.type == kind


async def test_a_prompt_longer_than_the_context() -> None:
    error = await refusal(messages=[{"role": "user", "content": "word " * 5000}])
    assert isinstance(error, anthropic.BadRequestError)
    assert error.error_code == "context_length_exceeded"
    assert error.api_message is not None
    assert error.api_message.startswith("prompt is too long: ")
    assert error.api_message.endswith(" tokens > 4096 maximum")


async def test_a_full_queue_says_when_to_come_back() -> None:
    error = await refusal(ScriptedEngine(refusal=Overloaded("Full.", retry_after=3)))
    assert error.response.headers["retry-after"] == "3"


def test_the_synchronous_client_raises_the_same() -> None:
    sdk = sync_anthropic(application(ScriptedEngine(ANSWER)))
    with pytest.raises(anthropic.NotFoundError):
        sdk.messages.create(**ASK | {"model": "gpt-4"})


async def test_counting_for_an_unknown_model() -> None:
    with pytest.raises(anthropic.NotFoundError):
        await async_anthropic(application(ScriptedEngine())).messages.count_tokens(
            model="gpt-4", messages=ASK["messages"]
        )


@pytest.mark.parametrize("header", [{"x-api-key": "secret"}, {"authorization": "Bearer secret"}])
@pytest.mark.parametrize("version", [{}, {"anthropic-version": "2023-06-01"}, {"anthropic-version": "2026-10-21"}])
async def test_keys_and_versions_of_every_client(header: dict[str, str], version: dict[str, str]) -> None:
    app = application(ScriptedEngine(ANSWER), api_key="secret")
    async with async_client(app, **header, **version) as http:
        assert (await http.post("/v1/messages", json=ASK)).status_code == 200


async def test_an_engine_that_dies_midway_is_an_error_event() -> None:
    script: list[Step] = [*ANSWER[:-3], Fail(EngineUnavailable("The engine has stopped."))]
    heard: list[str] = []

    async def listen() -> None:
        async with async_anthropic(application(ScriptedEngine(script))).messages.stream(**ASK) as stream:
            async for text in stream.text_stream:
                heard.append(text)

    with pytest.raises(anthropic.APIStatusError, match="The engine has stopped") as failed:
        await listen()
    assert heard[0] == "Hello"
    assert failed.value.type == "api_error"


async def test_a_wrong_method_and_an_unknown_path_are_in_this_apis_words() -> None:
    async with async_client(application(ScriptedEngine(ANSWER))) as http:
        method = await http.get("/v1/messages")
        path = await http.post("/v1/messages/batches", json={})
    assert (method.status_code, method.json()["error"]["type"]) == (405, "invalid_request_error")
    assert (path.status_code, path.json()["error"]["type"]) == (404, "not_found_error")
