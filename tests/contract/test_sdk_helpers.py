"""The helpers that the official SDKs build on the endpoints: parsed answers, tool runners, and retries."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic import beta_async_tool
from anthropic.lib.tools import BetaFunctionToolResultType
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam, ChatCompletionToolUnionParam
from pydantic import BaseModel

from clients import application, async_anthropic, async_client, async_openai
from fakes import Script, ScriptedEngine, ScriptedStream, message, next_message, reply, tool_call
from llm_server.engine.types import Submit
from llm_server.errors import EngineUnavailable, Overloaded, RequestTimeout, ServerError
from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE, encode, harmony_encoding
from sdk_types import check

MODEL = "gpt-oss-20b"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
ASK: Any = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Weather?"}]}


class City(BaseModel):
    name: str
    inhabitants: int


ZURICH = reply("They want JSON.", '{"name": "Zürich", "inhabitants": 450000}')


async def test_chat_parses_an_answer_into_a_model() -> None:
    client = async_openai(application(ScriptedEngine(ZURICH)))
    answer = await client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Zürich", inhabitants=450000)


async def test_chat_streams_through_the_helper() -> None:
    client = async_openai(application(ScriptedEngine(ZURICH)))
    async with client.chat.completions.stream(model=MODEL, messages=HELLO, response_format=City) as stream:
        kinds = [event.type async for event in stream]
        answer = await stream.get_final_completion()
    assert answer.choices[0].message.parsed == City(name="Zürich", inhabitants=450000)
    assert {"chunk", "content.delta", "content.done"} <= set(kinds)


PATCH: ChatCompletionToolUnionParam = {
    "type": "custom",
    "custom": {"name": "apply_patch", "description": "Change files.", "format": {"type": "text"}},
}
PATCHED: Script = [
    *message("analysis", "A patch.", END),
    *next_message(),
    *[CHANNEL, *encode("commentary to=functions.apply_patch"), MESSAGE, *encode('*** Begin Patch\n{"a": 1}\n '), CALL],
]


async def test_a_custom_tool_is_called_with_plain_text_and_answered() -> None:
    engine = ScriptedEngine(lambda asked: reply("Hm.", "Done.") if "ok" in text(asked) else PATCHED)
    client = async_openai(application(engine))
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO, tools=[PATCH])
    check(ChatCompletion, answer.to_dict())
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "custom"
    assert (call.custom.name, call.custom.input) == ("apply_patch", '*** Begin Patch\n{"a": 1}\n ')
    turns: list[Any] = [*HELLO, answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "ok"}]
    answer = await client.chat.completions.create(model=MODEL, messages=turns, tools=[PATCH])
    assert answer.choices[0].message.content == "Done."
    assert "*** Begin Patch" in text(engine.submissions[1])


def text(submission: Submit) -> str:
    return str(harmony_encoding().decode(submission.prompt))


@beta_async_tool
async def get_weather(city: str) -> BetaFunctionToolResultType:
    """The weather.

    Args:
        city: Where.
    """
    return f"Sunny in {city}."


async def test_messages_run_tools_until_there_is_an_answer() -> None:
    def script(submission: Submit) -> Script:
        if "Sunny in Paris." in text(submission):
            return reply("It is sunny.", "Take sunglasses.")
        return tool_call("get_weather", '{"city": "Paris"}')

    sdk = async_anthropic(application(ScriptedEngine(script)))
    runner = sdk.beta.messages.tool_runner(**ASK, tools=[get_weather])
    answer = await runner.until_done()
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": "Take sunglasses."}]


async def test_messages_parse_an_answer_into_a_model() -> None:
    sdk = async_anthropic(application(ScriptedEngine(ZURICH)))
    answer = await sdk.messages.parse(**ASK, output_format=City)
    assert answer.parsed_output == City(name="Zürich", inhabitants=450000)


# Retries


class Flaky(ScriptedEngine):
    """An engine that refuses the first request."""

    def __init__(self, refusal: ServerError) -> None:
        super().__init__(reply("Hm.", "Here I am."), refusal=refusal)
        self.asked = 0

    async def submit(self, submission: Submit) -> ScriptedStream:
        self.asked += 1
        if self.asked == 2:
            self.refusal = None
        return await super().submit(submission)


AGAIN = [Overloaded("Full.", retry_after=0.1), EngineUnavailable("Starting.", retry_after=0.1)]


@pytest.mark.parametrize("refusal", AGAIN, ids=["overloaded", "unavailable"])
async def test_what_may_succeed_later_is_tried_again(refusal: ServerError) -> None:
    for api in ("openai", "anthropic"):
        engine = Flaky(refusal)
        if api == "openai":
            chat = async_openai(application(engine), max_retries=1).chat.completions
            await chat.create(model=MODEL, messages=HELLO)
        else:
            await async_anthropic(application(engine), max_retries=1).messages.create(**ASK)
        assert engine.asked == 2


async def test_what_would_fail_again_is_not_tried_again() -> None:
    """The SDKs would by the status alone, were they not told otherwise."""
    engine = Flaky(RequestTimeout("Too slow."))
    with pytest.raises(openai.InternalServerError):
        await async_openai(application(engine), max_retries=3).chat.completions.create(model=MODEL, messages=HELLO)
    assert engine.asked == 1
    engine = Flaky(RequestTimeout("Too slow."))
    with pytest.raises(anthropic.GatewayTimeoutError):
        await async_anthropic(application(engine), max_retries=3).messages.create(**ASK)
    assert engine.asked == 1


# What the SDKs do not show


async def answered(path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
    async with async_client(application(ScriptedEngine(ZURICH)), **headers) as http:
        return await http.post(path, json=body)


@pytest.mark.parametrize("path", ["/api/event_logging/batch", "/api/event_logging/v2/batch"])
async def test_telemetry_is_taken_and_thrown_away(path: str) -> None:
    answer = await answered(path, {"events": [{"event_type": "x"}]}, **{"anthropic-version": "2023-06-01"})
    assert (answer.status_code, answer.json()) == (200, {})


async def test_batches_are_not_found_in_the_words_of_the_api() -> None:
    sdk = async_anthropic(application(ScriptedEngine(ZURICH)))
    with pytest.raises(anthropic.NotFoundError) as refused:
        await sdk.messages.batches.create(requests=[])
    assert refused.value.type == "not_found_error"


EDITS = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}


@pytest.mark.parametrize("stream", [False, True])
async def test_edits_that_were_not_applied_are_reported_so(stream: bool) -> None:
    answer = await answered("/v1/messages?beta=true", {**ASK, "context_management": EDITS, "stream": stream})
    reported = answer.json() if not stream else _message_delta(answer.text)
    assert reported["context_management"] == {"applied_edits": []}


def _message_delta(body: str) -> dict[str, Any]:
    sent = (json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: "))
    return next(event for event in sent if event["type"] == "message_delta")


async def test_old_results_are_cleared_and_counted() -> None:
    uses = [{"type": "tool_use", "id": f"t{n}", "name": "read", "input": {}} for n in range(5)]
    results = [{"type": "tool_result", "tool_use_id": f"t{n}", "content": "word " * 200} for n in range(5)]
    turns = [*ASK["messages"], {"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    clear = {"type": "clear_tool_uses_20250919", "trigger": {"type": "tool_uses", "value": 4}}
    body = {"model": MODEL, "messages": turns, "context_management": {"edits": [clear]}}
    counted = (await answered("/v1/messages/count_tokens?beta=true", body)).json()
    answer = (await answered("/v1/messages?beta=true", {**body, "max_tokens": 64})).json()
    (applied,) = answer["context_management"]["applied_edits"]
    assert applied["cleared_tool_uses"] == 2
    assert counted["input_tokens"] == answer["usage"]["input_tokens"]
    original = counted["context_management"]["original_input_tokens"]
    assert original - counted["input_tokens"] == applied["cleared_input_tokens"] > 300
