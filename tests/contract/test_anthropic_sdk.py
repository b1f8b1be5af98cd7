"""The official Anthropic SDK is the client, and its types judge our JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message, ToolUseBlock
from pydantic import BaseModel

from clients import application, async_anthropic, async_client, sync_anthropic
from fakes import ScriptedEngine, message, next_message, reply, tool_call
from llm_server.harmony.encoding import END

ANSWER = reply("They greet me.", "Hello 👋, how are you?")
CALL = tool_call("get_weather", '{"city": "Paris", "days": 2}', preamble="I look it up.")
PREAMBLE_AND_ANSWER = [*message("commentary", "One moment.", END), *next_message(), *reply("Hm.", "Done.")]

ASK: Any = {"model": "claude-opus-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}


def client(script: list[int], **options: Any) -> AsyncAnthropic:
    return async_anthropic(application(ScriptedEngine(script, **options)))


def assert_known(model: BaseModel) -> None:
    """No field is one that the SDK's types do not have."""
    assert not model.model_extra, type(model).__name__
    for name in type(model).model_fields:
        value = getattr(model, name)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, BaseModel):
                assert_known(part)


def without_id(answer: Message) -> dict[str, Any]:
    """An answer but for what is new each time: its own id and those of its calls."""
    body = answer.to_dict()
    body["id"] = ""
    for block in body["content"]:  # type: ignore[attr-defined]
        block.pop("id", None)
    return body


async def test_a_whole_answer() -> None:
    answer = await client(ANSWER, cached_tokens=5).messages.create(**ASK)
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": "Hello 👋, how are you?"}]
    assert (answer.model, answer.role, answer.stop_reason) == ("claude-opus-5-5", "assistant", "end_turn")
    assert answer.id.startswith("msg_")
    assert answer.usage.output_tokens == len(ANSWER)
    assert answer.usage.cache_read_input_tokens == 5
    assert answer.usage.output_tokens_details is not None
    assert 0 < answer.usage.output_tokens_details.thinking_tokens < len(ANSWER)
    assert_known(Message.model_validate(answer.to_dict()))


async def test_a_streamed_answer() -> None:
    async with client(ANSWER).messages.stream(**ASK) as stream:
        texts = [text async for text in stream.text_stream]
        answer = await stream.get_final_message()
    assert "".join(texts) == "Hello 👋, how are you?"
    assert len(texts) > 1
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == len(ANSWER)
    assert_known(Message.model_validate(answer.to_dict()))


async def test_the_raw_stream_is_in_order() -> None:
    events = [event async for event in await client(ANSWER).messages.create(**ASK, stream=True)]
    types = [event.type for event in events]
    assert types[:2] == ["message_start", "content_block_start"]
    assert set(types[2:-3]) == {"content_block_delta"}
    assert types[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    for event in events:
        assert_known(event)


async def test_each_event_has_its_name_and_an_early_ping() -> None:
    """The SDK passes over events without a name, and does not show pings."""
    async with async_client(application(ScriptedEngine(ANSWER))) as http:
        body = (await http.post("/v1/messages?beta=true", json={**ASK, "stream": True})).text
    sent = [event.split("\n") for event in body.removesuffix("\n\n").split("\n\n")]
    events = [lines for lines in sent if not lines[0].startswith(":")]
    names = [name.removeprefix("event: ") for name, _ in events]
    assert names == [json.loads(data.removeprefix("data: "))["type"] for _, data in events]
    assert names[:2] == ["message_start", "ping"]


def test_the_synchronous_client() -> None:
    sdk = sync_anthropic(application(ScriptedEngine(ANSWER)))
    whole = sdk.messages.create(**ASK)
    with sdk.messages.stream(**ASK) as stream:
        assert without_id(stream.get_final_message()) == without_id(whole)


@pytest.mark.parametrize("script", [ANSWER, CALL, PREAMBLE_AND_ANSWER, ANSWER[:3]])
async def test_whole_equals_folded_stream(script: list[int]) -> None:
    sdk = client(script)
    whole = await sdk.messages.create(**ASK, tools=[WEATHER])
    async with sdk.messages.stream(**ASK, tools=[WEATHER]) as stream:
        folded = await stream.get_final_message()
    assert without_id(folded) == without_id(whole)


async def test_analysis_is_in_no_answer() -> None:
    async with async_client(application(ScriptedEngine(CALL))) as http:
        whole = await http.post("/v1/messages", json={**ASK, "thinking": {"type": "enabled", "budget_tokens": 1024}})
        streamed = await http.post("/v1/messages", json={**ASK, "stream": True})
    assert "A tool is needed" not in whole.text + streamed.text
    assert "I look it up." in whole.text


async def test_a_tool_turn() -> None:
    scripts = iter([CALL, ANSWER])
    engine = ScriptedEngine(lambda _: next(scripts))
    sdk = async_anthropic(application(engine))
    first = await sdk.messages.create(**ASK, tools=[WEATHER])
    assert first.stop_reason == "tool_use"
    said, call = first.content
    assert said.to_dict() == {"type": "text", "text": "I look it up."}
    assert isinstance(call, ToolUseBlock)
    assert (call.name, call.input) == ("get_weather", {"city": "Paris", "days": 2})
    assert call.id.startswith("toolu_")

    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}
    turns = [*ASK["messages"], {"role": "assistant", "content": first.content}, result]
    second = await sdk.messages.create(**ASK | {"messages": turns}, tools=[WEATHER])
    assert second.stop_reason == "end_turn"


async def test_a_call_is_streamed_in_parts() -> None:
    parts = []
    async with client(CALL).messages.stream(**ASK, tools=[WEATHER]) as stream:
        async for event in stream:
            if event.type == "input_json":
                parts.append(event.partial_json)
    assert len(parts) > 1
    assert json.loads("".join(parts)) == {"city": "Paris", "days": 2}


@pytest.mark.parametrize("arguments", ["", "Paris", "[1]"])
async def test_a_call_without_an_object_has_no_input(arguments: str) -> None:
    sdk = client(tool_call("get_weather", arguments))
    whole = await sdk.messages.create(**ASK, tools=[WEATHER])
    async with sdk.messages.stream(**ASK, tools=[WEATHER]) as stream:
        folded = await stream.get_final_message()
    for answer in (whole, folded):
        assert isinstance(answer.content[0], ToolUseBlock)
        assert answer.content[0].input == {}


async def test_a_stop_sequence_is_reported() -> None:
    sdk = client(reply("Counting.", "one two three four"))
    whole = await sdk.messages.create(**ASK, stop_sequences=["three"])
    assert (whole.stop_reason, whole.stop_sequence) == ("stop_sequence", "three")
    assert whole.content[0].to_dict() == {"type": "text", "text": "one two "}


async def test_the_token_limit_is_reported_and_passed_on() -> None:
    engine = ScriptedEngine(ANSWER)
    whole = await async_anthropic(application(engine)).messages.create(**ASK | {"max_tokens": 3})
    assert whole.stop_reason == "max_tokens"
    assert whole.content == []
    assert engine.submissions[0].max_tokens == 3


async def test_a_limit_beyond_the_context_is_clamped() -> None:
    engine = ScriptedEngine(ANSWER)
    await async_anthropic(application(engine)).messages.create(**ASK | {"max_tokens": 128_000, "timeout": 10})
    assert 64 < engine.submissions[0].max_tokens < 4096


async def test_sampling_reaches_the_engine() -> None:
    engine = ScriptedEngine(ANSWER)
    await async_anthropic(application(engine)).messages.create(
        **ASK, extra_body={"temperature": 0.25, "top_p": 0.5, "top_k": 7}
    )
    sampling = engine.submissions[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.25, 0.5, 7)


async def test_counted_tokens_are_those_of_the_prompt() -> None:
    engine = ScriptedEngine(ANSWER)
    sdk = async_anthropic(application(engine))
    prompt: Any = {"model": ASK["model"], "messages": ASK["messages"], "system": "Be brief.", "tools": [WEATHER]}
    answer = await sdk.messages.create(**prompt, max_tokens=8)
    counted = await sdk.messages.count_tokens(**prompt)
    assert counted.input_tokens == len(engine.submissions[0].prompt) == answer.usage.input_tokens
    assert_known(counted)


async def test_the_beta_namespace() -> None:
    answer = await client(ANSWER).beta.messages.create(**ASK, betas=["context-management-2025-06-27"])
    assert answer.stop_reason == "end_turn"


async def test_models_are_listed_for_this_sdk() -> None:
    page = await client(ANSWER).models.list()
    assert "gpt-oss-test" in [model.id for model in page.data]
    assert_known(page.data[0])


async def test_what_is_kept_for_the_next_request_is_told_if_it_was_asked_for() -> None:
    engine = ScriptedEngine(ANSWER, cached_tokens=7, stored_tokens=9)
    sdk = async_anthropic(application(engine))
    cached: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    plain = (await sdk.messages.create(**ASK, system="Be brief.")).usage
    asked = (await sdk.messages.create(**ASK, system=cached)).usage
    prompt = len(engine.submissions[0].prompt)
    told = [(use.input_tokens, use.cache_creation_input_tokens, use.cache_read_input_tokens) for use in (plain, asked)]
    assert told[0] == (prompt - 7, 0, 7)
    assert told[1] == (prompt - 9 - 7, 9, 7)
