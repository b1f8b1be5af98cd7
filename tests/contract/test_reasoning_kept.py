"""The model sees its own reasoning again between the calls of a turn, though no client ever does.

The official SDKs are the clients: what they return to us is what they would return to the real APIs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic, beta_async_tool
from anthropic.types import Message, RedactedThinkingBlock, ThinkingBlock, ToolUseBlock
from openai import AsyncOpenAI

from clients import application, async_anthropic, async_openai
from fakes import ScriptedEngine, message, next_message, reply, text_tokens, tool_call
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, START

FIRST = tool_call("get_weather", '{"city": "Oslo", "days": 2}', analysis="Zebra one.", preamble="I look it up.")
SECOND = tool_call("get_weather", '{ "days":1, "city":"Rome" }', analysis="Zebra two.")
ANSWER = reply("Zebra three.", "Both are sunny.")
BOTH = [
    *message("analysis", "Zebra both.", END),
    *next_message(),
    *message("commentary", '{"city": "Oslo"}', END, "functions.get_weather"),
    *next_message(),
    *message("commentary", '{"city": "Rome"}', CALL, "functions.get_weather"),
]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
CHAT: Any = {
    "model": "gpt-oss-20b",
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}],
}
MESSAGES: Any = {
    "model": "claude-opus-5-5",
    "max_tokens": 200,
    "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
}
QUESTION: Any = {"role": "user", "content": "What is the weather?"}
FORMS: list[Any] = [
    {},
    {"thinking": {"type": "adaptive"}},
    {"thinking": {"type": "adaptive", "display": "omitted"}},
    {"thinking": {"type": "enabled", "budget_tokens": 1024}},
]
SEALED = FORMS[1:3]


def engine(*turns: list[int]) -> ScriptedEngine:
    script = iter(turns)

    def next_turn(_: Submit) -> list[int]:
        return next(script)

    return ScriptedEngine(next_turn)


def result(text: str) -> list[int]:
    header = [START, *text_tokens("functions.get_weather to=assistant"), CHANNEL, *text_tokens("commentary")]
    return [*header, MESSAGE, *text_tokens(text), END]


def prompts(engine: ScriptedEngine) -> list[list[int]]:
    return [submission.prompt for submission in engine.submissions]


def goes_on(engine: ScriptedEngine, turn: int, generated: Sequence[int], *results: str) -> bool:
    """Whether the prompt after `turn` is that of `turn`, what was generated, and the results: token for token."""
    answers = [token for text in results for token in result(text)]
    return prompts(engine)[turn + 1] == [*prompts(engine)[turn], *generated, *answers, *next_message()]


def has(prompt: Sequence[int], words: str) -> bool:
    wanted = text_tokens(words)
    return any(list(prompt[at : at + len(wanted)]) == wanted for at in range(len(prompt)))


async def chat(sdk: AsyncOpenAI, history: list[Any], stream: bool) -> Any:
    if not stream:
        return (await sdk.chat.completions.create(**CHAT, messages=history)).choices[0].message
    async with sdk.chat.completions.stream(**CHAT, messages=history) as events:
        return (await events.get_final_completion()).choices[0].message


async def say(sdk: AsyncAnthropic, history: list[Any], form: Any, stream: bool = False) -> Message:
    if not stream:
        whole: Message = await sdk.messages.create(**MESSAGES, **form, messages=history)
        return whole
    async with sdk.messages.stream(**MESSAGES, **form, messages=history) as events:
        return await events.get_final_message()


def retold(answer: Message) -> Any:
    return {"role": "assistant", "content": answer.content}


def uses(answer: Message) -> list[ToolUseBlock]:
    return [block for block in answer.content if isinstance(block, ToolUseBlock)]


def results(answer: Message, *texts: str) -> Any:
    blocks = [
        {"type": "tool_result", "tool_use_id": use.id, "content": text}
        for use, text in zip(uses(answer), texts, strict=True)
    ]
    return {"role": "user", "content": blocks}


def tool_messages(answer: Any, *texts: str) -> list[Any]:
    calls = zip(answer.tool_calls, texts, strict=True)
    return [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text in calls]


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_goes_on_from_what_was_generated(stream: bool) -> None:
    scripted = engine(FIRST, SECOND, ANSWER, ANSWER)
    sdk = async_openai(application(scripted))
    history: list[Any] = [QUESTION]
    for number in range(2):
        answer = await chat(sdk, history, stream)
        history += [answer.to_dict(exclude_none=True), *tool_messages(answer, f"sunny {number}")]
    final = await chat(sdk, history, stream)
    assert final.content == "Both are sunny."
    assert goes_on(scripted, 0, FIRST, "sunny 0")
    assert goes_on(scripted, 1, SECOND, "sunny 1")
    await chat(sdk, [*history, {"role": "assistant", "content": final.content}, QUESTION], stream)
    assert not has(prompts(scripted)[3], "Zebra")
    assert has(prompts(scripted)[3], "sunny 1")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", [False, True])
async def test_messages_go_on_from_what_was_generated(form: Any, stream: bool) -> None:
    scripted = engine(FIRST, SECOND, ANSWER, ANSWER)
    sdk = async_anthropic(application(scripted))
    history: list[Any] = [QUESTION]
    for number in range(2):
        answer = await say(sdk, history, form, stream)
        history += [retold(answer), results(answer, f"sunny {number}")]
    final = await say(sdk, history, form, stream)
    assert goes_on(scripted, 0, FIRST, "sunny 0")
    assert goes_on(scripted, 1, SECOND, "sunny 1")
    await say(sdk, [*history, retold(final), QUESTION], form, stream)
    assert not has(prompts(scripted)[3], "Zebra")


async def test_the_tool_runner_goes_on_from_what_was_generated() -> None:
    @beta_async_tool
    async def get_weather(city: str, days: int) -> str:
        """The weather of a city."""
        return f"sunny in {city} for {days}"

    scripted = engine(FIRST, SECOND, ANSWER)
    runner = async_anthropic(application(scripted)).beta.messages.tool_runner(
        model="claude-opus-5-5", max_tokens=200, messages=[QUESTION], tools=[get_weather], thinking={"type": "adaptive"}
    )
    answer = await runner.until_done()
    assert "Both are sunny." in str(answer.content)
    assert goes_on(scripted, 0, FIRST, "sunny in Oslo for 2")
    assert goes_on(scripted, 1, SECOND, "sunny in Rome for 1")


@pytest.mark.parametrize("backwards", [False, True])
async def test_two_calls_of_one_turn(backwards: bool) -> None:
    """Results have no id in Harmony, so they stand in the order of their calls, whatever order they come in."""
    scripted = engine(BOTH, ANSWER, BOTH, ANSWER)
    app = application(scripted)
    spoken = await chat(async_openai(app), [QUESTION], False)
    results_of_chat = tool_messages(spoken, "cold", "warm")[:: -1 if backwards else 1]
    await chat(async_openai(app), [QUESTION, spoken.to_dict(exclude_none=True), *results_of_chat], False)
    answer = await say(async_anthropic(app), [QUESTION], {})
    outcome = results(answer, "cold", "warm")
    outcome["content"] = outcome["content"][:: -1 if backwards else 1]
    await say(async_anthropic(app), [QUESTION, retold(answer), outcome], {})
    assert goes_on(scripted, 0, BOTH, "cold", "warm")
    assert goes_on(scripted, 2, BOTH, "cold", "warm")


async def test_a_user_who_speaks_in_between_ends_no_turn() -> None:
    scripted = engine(FIRST, ANSWER)
    sdk = async_anthropic(application(scripted))
    answer = await say(sdk, [QUESTION], {})
    outcome = results(answer, "sunny")
    outcome["content"].append({"type": "text", "text": "Hurry!"})
    await say(sdk, [QUESTION, retold(answer), outcome], {})
    said = [START, *text_tokens("user"), MESSAGE, *text_tokens("Hurry!"), END]
    first, second = prompts(scripted)
    assert second == [*first, *FIRST, *result("sunny"), *said, *next_message()]


async def test_changed_arguments_are_the_clients_own() -> None:
    scripted = engine(FIRST, ANSWER)
    sdk = async_anthropic(application(scripted))
    answer = await say(sdk, [QUESTION], {})
    [use] = uses(answer)
    use.input["city"] = "Bergen"
    await say(sdk, [QUESTION, retold(answer), results(answer, "sunny")], {})
    assert has(prompts(scripted)[1], "Bergen")
    assert not has(prompts(scripted)[1], "Zebra")


# Sealed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [FIRST, ANSWER, BOTH])
async def test_reasoning_is_a_sealed_block_when_thinking_was_asked_for(script: list[int], stream: bool) -> None:
    redacted = await say(async_anthropic(application(engine(script))), [QUESTION], SEALED[0], stream)
    assert isinstance(redacted.content[0], RedactedThinkingBlock)
    assert len(redacted.content[0].data) > 20
    omitted = await say(async_anthropic(application(engine(script))), [QUESTION], SEALED[1], stream)
    assert isinstance(omitted.content[0], ThinkingBlock)
    assert omitted.content[0].thinking == ""
    assert len(omitted.content[0].signature) > 20
    plain = await say(async_anthropic(application(engine(script))), [QUESTION], {}, stream)
    rest = [block.type for block in plain.content]
    assert [block.type for block in redacted.content] == ["redacted_thinking", *rest]
    assert [block.type for block in omitted.content] == ["thinking", *rest]
    disabled = await say(async_anthropic(application(engine(script))), [QUESTION], {"thinking": {"type": "disabled"}})
    assert [block.type for block in disabled.content] == rest


def as_rendered(generated: str) -> list[int]:
    """What the first turn looks like when it is known from its seal and its calls alone."""
    call = [START, *text_tokens("assistant to=functions.get_weather"), CHANNEL, *text_tokens("commentary ")]
    return [
        *message("analysis", "Zebra one.", END),
        *next_message(),
        *message("commentary", "I look it up.", END),
        *[*call, CONSTRAIN, *text_tokens("json"), MESSAGE, *text_tokens(generated), CALL],
    ]


@pytest.mark.parametrize("form", SEALED)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_seal_outlives_a_restart(form: Any, stream: bool, tmp_path: Path) -> None:
    """Another process with the same state folder, which remembers no turn."""
    state: Any = {"seal_key": None, "state_dir": tmp_path}
    before, after = engine(FIRST), engine(ANSWER)
    answer = await say(async_anthropic(application(before, **state)), [QUESTION], form, stream)
    history = [QUESTION, retold(answer), results(answer, "sunny")]
    await say(async_anthropic(application(after, **state)), history, form, stream)
    turn = as_rendered('{"city":"Oslo","days":2}')
    assert prompts(after) == [[*prompts(before)[0], *turn, *result("sunny"), *next_message()]]


@pytest.mark.parametrize("form", SEALED)
async def test_a_foreign_seal_is_ignored_and_counted(form: Any) -> None:
    before, after = engine(FIRST), engine(ANSWER)
    answer = await say(async_anthropic(application(before, seal_key="one")), [QUESTION], form)
    app = application(after, seal_key="another")
    final = await say(async_anthropic(app), [QUESTION, retold(answer), results(answer, "sunny")], form)
    assert final.stop_reason == "end_turn"
    assert has(prompts(after)[0], "I look it up.")
    assert not has(prompts(after)[0], "Zebra")
    assert app.state.services.generator.memory.sealer.rejected == 1


@pytest.mark.parametrize(
    "block",
    [
        {
            "type": "redacted_thinking",
            "data": "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpPkNRj2Yf",
        },
        {"type": "thinking", "thinking": "They want the weather.", "signature": "c3R1Yg=="},
        {"type": "thinking", "thinking": "They want the weather.", "signature": ""},
        {"type": "thinking", "thinking": "They want the weather."},
        {"type": "redacted_thinking", "data": None},
        {"type": "redacted_thinking", "data": "ö" * 100},
        {"type": "redacted_thinking", "data": "A" * 600_000},
    ],
)
async def test_what_another_server_said_of_its_reasoning_is_no_error(block: Any) -> None:
    scripted = engine(ANSWER)
    use = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
    outcome = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}
    history = [QUESTION, {"role": "assistant", "content": [block, use]}, {"role": "user", "content": [outcome]}]
    answer = await say(async_anthropic(application(scripted)), history, SEALED[0])
    assert answer.stop_reason == "end_turn"
    assert not has(prompts(scripted)[0], "They want the weather")


async def test_counted_tokens_include_the_reasoning_that_is_seen_again() -> None:
    scripted = engine(FIRST, ANSWER)
    sdk = async_anthropic(application(scripted))
    answer = await say(sdk, [QUESTION], {})
    history: Any = [QUESTION, retold(answer), results(answer, "sunny")]
    counted = await sdk.messages.count_tokens(model="claude-test", tools=MESSAGES["tools"], messages=history)
    await say(sdk, history, {})
    assert counted.input_tokens == len(prompts(scripted)[1])
