"""The official `openai` SDK, sync and async, is the judge of the Responses API."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ParsedResponse, Response, ResponseFunctionToolCall
from pydantic import BaseModel

from clients import application, async_openai, sync_openai
from fakes import Fail, Script, ScriptedEngine, message, next_message, reply, tool_call
from llm_server.engine.types import Submit
from llm_server.errors import EngineUnavailable, Overloaded
from llm_server.harmony.encoding import END, harmony_encoding
from responses_client import MODEL, WEATHER

ANALYSIS = "The user greets me, so I greet back."
FINAL = "Fine, thanks! 😀 Ünïcödé."
CALL = tool_call("get_weather", '{"city":"Paris"}', preamble="Let me look.")
TOOLS: Any = [WEATHER]


class Answer(BaseModel):
    city: str
    warm: bool


PARSED = reply("Hm.", '{"city": "Oslo", "warm": false}')


def prompt(submission: Submit) -> str:
    return str(harmony_encoding().decode(submission.prompt))


def calls(response: Response | ParsedResponse[Any]) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]


def test_sync_and_whole() -> None:
    client = sync_openai(application(ScriptedEngine(reply(ANALYSIS, FINAL), cached_tokens=16, stored_tokens=9)))
    answer = client.responses.create(model=MODEL, input="Hello, how are you?")
    assert answer.output_text == FINAL
    assert (answer.status, answer.model) == ("completed", MODEL)
    assert answer.usage is not None
    assert answer.usage.output_tokens == len(reply(ANALYSIS, FINAL))
    assert 0 < answer.usage.output_tokens_details.reasoning_tokens < answer.usage.output_tokens
    assert answer.usage.input_tokens_details.cached_tokens == 16
    assert answer.usage.input_tokens_details.cache_write_tokens == 9


def test_sync_and_streamed() -> None:
    client = sync_openai(application(ScriptedEngine(reply(ANALYSIS, FINAL))))
    stream = client.responses.create(model=MODEL, input="Hello", stream=True)
    assert "".join(event.delta for event in stream if event.type == "response.output_text.delta") == FINAL


def test_sync_with_the_helper() -> None:
    client = sync_openai(application(ScriptedEngine(reply(ANALYSIS, FINAL))))
    with client.responses.stream(model=MODEL, input="Hello") as stream:
        assert stream.get_final_response().output_text == FINAL


async def test_async_and_whole() -> None:
    client = async_openai(application(ScriptedEngine(reply(ANALYSIS, FINAL))))
    assert (await client.responses.create(model=MODEL, input="Hello")).output_text == FINAL


@pytest.mark.parametrize(
    "script", [reply(ANALYSIS, FINAL), CALL, reply(ANALYSIS, ""), tool_call("get_weather", "{}")], ids=range(4)
)
async def test_the_helper_folds_a_stream_into_the_whole_answer(script: Script) -> None:
    client = async_openai(application(ScriptedEngine(script)))
    async with client.responses.stream(model=MODEL, input="Hello", tools=TOOLS) as stream:
        streamed = await stream.get_final_response()
    whole = await client.responses.create(model=MODEL, input="Hello", tools=TOOLS)
    assert streamed.output_text == whole.output_text
    assert [item.type for item in streamed.output] == [item.type for item in whole.output]
    assert [call.arguments for call in calls(streamed)] == [call.arguments for call in calls(whole)]
    assert streamed.usage == whole.usage


async def test_the_helper_parses_the_answer() -> None:
    client = async_openai(application(ScriptedEngine(PARSED)))
    parsed = await client.responses.parse(model=MODEL, input="Where?", text_format=Answer)
    assert parsed.output_parsed == Answer(city="Oslo", warm=False)
    async with client.responses.stream(model=MODEL, input="Where?", text_format=Answer) as stream:
        assert (await stream.get_final_response()).output_parsed == Answer(city="Oslo", warm=False)


async def test_a_preamble_is_not_parsed_as_the_answer() -> None:
    script = [*message("commentary", "Let me think.", END), *next_message(), *PARSED]
    client = async_openai(application(ScriptedEngine(script)))
    parsed = await client.responses.parse(model=MODEL, input="Where?", text_format=Answer)
    assert parsed.output_parsed == Answer(city="Oslo", warm=False)


async def test_the_helper_parses_a_tools_arguments() -> None:
    class GetWeather(BaseModel):
        city: str

    tool: Any = openai.pydantic_function_tool(GetWeather, name="get_weather")
    client = async_openai(application(ScriptedEngine(CALL)))
    parsed = await client.responses.parse(model=MODEL, input="Where?", tools=[tool])
    assert [item.parsed_arguments for item in parsed.output if item.type == "function_call"] == [
        GetWeather(city="Paris")
    ]


# Conversations


def answering(submission: Submit) -> Script:
    """A call, and once that is answered, the answer."""
    is_answered = "22 degrees" in prompt(submission)
    return reply("Sunny.", "It is 22 degrees.") if is_answered else CALL


def output(call: ResponseFunctionToolCall) -> Any:
    return {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}


async def test_a_tool_loop_with_the_whole_history() -> None:
    client = async_openai(application(ScriptedEngine(answering)))
    history: list[Any] = [{"role": "user", "content": "What is the weather?"}]
    first = await client.responses.create(model=MODEL, input=history, tools=TOOLS, store=False)
    [call] = calls(first)
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    history += [*(item.to_dict() for item in first.output), output(call)]
    second = await client.responses.create(model=MODEL, input=history, tools=TOOLS, store=False)
    assert second.output_text == "It is 22 degrees."


async def test_a_tool_loop_that_goes_on_from_the_previous_response() -> None:
    engine = ScriptedEngine(answering)
    client = async_openai(application(engine))
    first = await client.responses.create(
        model=MODEL, input="What is the weather?", tools=TOOLS, instructions="Be kind."
    )
    [call] = calls(first)
    second = await client.responses.create(
        model=MODEL, input=[output(call)], tools=TOOLS, previous_response_id=first.id
    )
    assert second.output_text == "It is 22 degrees."
    assert second.previous_response_id == first.id
    third = await client.responses.create(model=MODEL, input="Thanks", previous_response_id=second.id)
    assert third.output_text == "It is 22 degrees."
    last = prompt(engine.submissions[-1])
    said = ["What is the weather?", "get_weather", "22 degrees", "It is 22 degrees.", "Thanks"]
    places = [last.index(text) for text in said]
    assert places == sorted(places)
    assert "Be kind." in prompt(engine.submissions[0])
    assert "Be kind." not in last


@pytest.mark.parametrize("stream", [False, True])
async def test_the_model_sees_its_reasoning_again_by_the_previous_response(stream: bool) -> None:
    """As it generated it, token for token, although nothing of it was ever sent."""
    engine = ScriptedEngine(answering)
    client = async_openai(application(engine))
    first = await respond(client, stream, input="What is the weather?", tools=TOOLS)
    await respond(client, stream, input=[output(calls(first)[0])], tools=TOOLS, previous_response_id=first.id)
    before, after = [submission.prompt for submission in engine.submissions]
    assert after[: len(before) + len(CALL)] == [*before, *CALL]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by", ["include", "previous_response_id"])
async def test_reasoning_outlives_a_restart(by: str, stream: bool, tmp_path: Any) -> None:
    """Sealed by the client, or sealed in the store: another process with the same state folder opens it."""
    state: Any = {"seal_key": None, "state_dir": tmp_path}
    before, after = ScriptedEngine(answering), ScriptedEngine(answering)
    client = async_openai(application(before, **state))
    include: Any = ["reasoning.encrypted_content"] if by == "include" else []
    first = await respond(client, stream, input="What is the weather?", tools=TOOLS, include=include)
    client = async_openai(application(after, **state))
    asked: list[Any] = [output(calls(first)[0])]
    if by == "include":
        history = [{"role": "user", "content": "What is the weather?"}, *(item.to_dict() for item in first.output)]
        await respond(client, stream, input=[*history, *asked], tools=TOOLS, store=False)
    else:
        await respond(client, stream, input=asked, tools=TOOLS, previous_response_id=first.id)
    assert "A tool is needed." in prompt(after.submissions[0])
    assert "A tool is needed." not in first.to_json()


async def respond(client: AsyncOpenAI, stream: bool, **asked: Any) -> Response:
    if not stream:
        whole: Response = await client.responses.create(model=MODEL, **asked)
        return whole
    async with client.responses.stream(model=MODEL, **asked) as events:
        return await events.get_final_response()


@pytest.mark.parametrize(
    "foreign",
    [
        {"encrypted_content": "gAAAAABo-another-servers"},
        {"encrypted_content": None},
        {"encrypted_content": ""},
        {"content": [{"type": "reasoning_text", "text": "The zebra."}]},
        {"summary": [{"type": "summary_text", "text": "The zebra."}], "status": "completed"},
        {"id": None, "encrypted_content": 7},
    ],
)
async def test_reasoning_of_another_server_is_ignored(foreign: Any) -> None:
    engine = ScriptedEngine(reply("Hm.", "Hi"))
    client = async_openai(application(engine))
    item = {"type": "reasoning", "id": "rs_1", "summary": [], **foreign}
    history: Any = [{"role": "user", "content": "Hello"}, item, {"role": "user", "content": "Again"}]
    assert (await client.responses.create(model=MODEL, input=history)).output_text == "Hi"
    assert "zebra" not in prompt(engine.submissions[0])


# The store


async def test_a_response_is_retrieved_listed_and_deleted() -> None:
    client = async_openai(application(ScriptedEngine(CALL)))
    made = await client.responses.create(model=MODEL, input="What is the weather?", tools=TOOLS, metadata={"a": "b"})
    again = await client.responses.retrieve(made.id)
    assert again == made
    items = [item async for item in await client.responses.input_items.list(made.id)]
    assert [item.type for item in items] == ["message"]
    await client.responses.delete(made.id)
    for gone in (
        client.responses.retrieve(made.id),
        client.responses.delete(made.id),
        client.responses.cancel(made.id),
        client.responses.input_items.list(made.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await gone


async def test_sealed_reasoning_is_retrieved_by_those_who_ask_for_it() -> None:
    client = async_openai(application(ScriptedEngine(CALL)))
    made = await client.responses.create(model=MODEL, input="What is the weather?", tools=TOOLS)
    shown = await client.responses.retrieve(made.id, include=["reasoning.encrypted_content"])
    seals = [item.encrypted_content for item in shown.output if item.type == "reasoning"]
    assert [len(seal or "") > 20 for seal in seals] == [True]
    hidden = await client.responses.retrieve(made.id)
    assert "encrypted_content" not in hidden.to_json()


async def test_a_kept_response_is_streamed_again() -> None:
    client = async_openai(application(ScriptedEngine(CALL)))
    made = await client.responses.create(model=MODEL, input="What is the weather?", tools=TOOLS)
    async with client.responses.stream(response_id=made.id) as stream:
        again = await stream.get_final_response()
    assert [item.type for item in again.output] == [item.type for item in made.output]
    assert again.output_text == made.output_text
    raw = await client.responses.retrieve(made.id, stream=True, starting_after=3)
    numbers = [event.sequence_number async for event in raw]
    assert numbers == list(range(4, numbers[-1] + 1))


async def test_a_response_that_is_not_in_the_background_can_not_be_cancelled() -> None:
    client = async_openai(application(ScriptedEngine(CALL)))
    made = await client.responses.create(model=MODEL, input="What is the weather?")
    with pytest.raises(openai.BadRequestError, match="background"):
        await client.responses.cancel(made.id)


# Counting and compacting


async def test_tokens_are_counted_as_the_prompt_would_have_them() -> None:
    engine = ScriptedEngine(reply("Hm.", "Hi"))
    client = async_openai(application(engine))
    first = await client.responses.create(model=MODEL, input="Hello")
    asked: Any = {
        "input": "How many tokens is this?",
        "instructions": "Be brief.",
        "tools": TOOLS,
        "previous_response_id": first.id,
        "text": {"verbosity": "low"},
    }
    counted = await client.responses.input_tokens.count(model=MODEL, **asked)
    await client.responses.create(model=MODEL, **asked)
    assert counted.input_tokens == len(engine.submissions[-1].prompt)


async def test_a_compacted_conversation_goes_on() -> None:
    engine = ScriptedEngine(reply("The zebra.", "They plan a trip to Oslo on Tuesday."))
    client = async_openai(application(engine))
    history: Any = [{"role": "user", "content": "We go to Oslo."}, {"role": "user", "content": "On Tuesday."}]
    compacted = await client.responses.compact(model=MODEL, input=history)
    assert compacted.object == "response.compaction"
    assert compacted.usage.output_tokens > 0
    assert "Oslo" not in compacted.to_json()
    assert "We go to Oslo." in prompt(engine.submissions[0])
    kept: Any = [item.to_dict() for item in compacted.output]
    await client.responses.create(model=MODEL, input=[*kept, {"role": "user", "content": "When?"}])
    assert "They plan a trip to Oslo on Tuesday." in prompt(engine.submissions[1])
    assert "We go to Oslo." not in prompt(engine.submissions[1])
    assert "zebra" not in prompt(engine.submissions[1])


# Errors


@pytest.mark.parametrize(
    ("asked", "error", "param"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model"),
        ({"temperature": 9}, openai.BadRequestError, "temperature"),
        ({"background": True}, openai.BadRequestError, "background"),
        ({"conversation": "conv_1"}, openai.BadRequestError, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, openai.BadRequestError, "prompt"),
        ({"previous_response_id": "resp_1"}, openai.BadRequestError, "previous_response_id"),
        ({"input": openai.omit}, openai.BadRequestError, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, openai.NotFoundError, "input"),
        ({"input": "word " * 5000}, openai.BadRequestError, "input"),
        ({"tool_choice": "required"}, openai.BadRequestError, "tool_choice"),
    ],
)
async def test_errors_are_the_sdks_own(asked: Any, error: type[openai.APIStatusError], param: str) -> None:
    client = async_openai(application(ScriptedEngine(reply("Hm.", "Hi"))))
    for stream in (False, True):
        with pytest.raises(error) as refused:
            await client.responses.create(**{"model": MODEL, "input": "Hello", **asked}, stream=stream)
        assert refused.value.param == param


async def test_a_prompt_that_is_too_long_has_the_code_that_codex_reads() -> None:
    client = async_openai(application(ScriptedEngine(reply("Hm.", "Hi"))))
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(model=MODEL, input="word " * 5000)
    assert refused.value.code == "context_length_exceeded"


async def test_a_full_queue_and_a_lost_engine_may_be_tried_again() -> None:
    full = async_openai(application(ScriptedEngine(refusal=Overloaded("Full.", retry_after=2))))
    with pytest.raises(openai.RateLimitError) as refused:
        await full.responses.create(model=MODEL, input="Hello")
    assert (refused.value.response.headers["x-should-retry"], refused.value.response.headers["retry-after"]) == (
        "true",
        "2",
    )
    lost = async_openai(application(ScriptedEngine([*reply("Hm.", "Hi")[:4], Fail(EngineUnavailable("It died."))])))
    with pytest.raises(openai.InternalServerError):
        await lost.responses.create(model=MODEL, input="Hello")
    events = [event async for event in await lost.responses.create(model=MODEL, input="Hello", stream=True)]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert events[-1].response.error.message == "It died."
