"""Several calls in one turn: allowed by the grammar unless the caller forbids it, and told apart by both SDKs."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from anthropic.types import ToolUseBlock
from llguidance import LLMatcher, LLTokenizer

from clients import application, async_anthropic, async_openai
from fakes import ScriptedEngine, message, next_message
from llm_server.harmony.encoding import CALL, END
from llm_server.harmony.guard import guard_tokenizer

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CITIES = ("Oslo", "Rome", "Bern")
QUESTION: Any = [{"role": "user", "content": "What is the weather in Oslo, Rome and Bern?"}]
CHAT: Any = {
    "model": "gpt-oss-20b",
    "messages": QUESTION,
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}],
}
MESSAGES: Any = {
    "model": "claude-opus-5-5",
    "max_tokens": 500,
    "messages": QUESTION,
    "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
}
ONE = message("commentary", '{"city": "Oslo"}', CALL, "functions.get_weather")


def turn() -> list[int]:
    """A thought, what is said first, and three calls, of which the last one ends the turn."""
    calls = [
        [*next_message(), *message("commentary", f'{{"city": "{city}"}}', end, "functions.get_weather")]
        for city, end in zip(CITIES, (END, END, CALL), strict=True)
    ]
    said = [*message("analysis", "Zebra.", END), *next_message(), *message("commentary", "I look.", END)]
    return [*said, *(token for call in calls for token in call)]


@cache
def tokenizer() -> LLTokenizer:
    return guard_tokenizer()


def is_legal(engine: ScriptedEngine, tokens: list[int]) -> bool:
    """Whether the grammar that the engine was given takes the tokens as a whole turn."""
    grammar = LLMatcher.grammar_from_lark(engine.submissions[-1].grammar)
    matcher = LLMatcher(tokenizer(), grammar, log_level=0)
    return all(matcher.consume_token(token) for token in tokens) and matcher.is_stopped()


async def test_chat_completions_hold_all_of_them() -> None:
    engine = ScriptedEngine(turn())
    answer = (await async_openai(application(engine)).chat.completions.create(**CHAT)).choices[0]
    calls = answer.message.tool_calls or []
    assert [call.function.arguments for call in calls if call.type == "function"] == [
        f'{{"city": "{city}"}}' for city in CITIES
    ]
    assert len({call.id for call in calls}) == len(CITIES)
    assert answer.message.content == "I look."
    assert answer.finish_reason == "tool_calls"
    assert is_legal(engine, turn())


async def test_streamed_chat_completions_number_them() -> None:
    stream = await async_openai(application(ScriptedEngine(turn()))).chat.completions.create(**CHAT, stream=True)
    arguments: dict[int, str] = {}
    names: list[tuple[int, str | None]] = []
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            assert call.function is not None
            if call.id is not None:
                names.append((call.index, call.function.name))
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    assert names == [(index, "get_weather") for index in range(len(CITIES))]
    assert list(arguments.values()) == [f'{{"city": "{city}"}}' for city in CITIES]


async def test_messages_hold_a_block_for_each() -> None:
    engine = ScriptedEngine(turn())
    client = async_anthropic(application(engine))
    whole = await client.messages.create(**MESSAGES)
    async with client.messages.stream(**MESSAGES) as streaming:
        streamed = await streaming.get_final_message()
    for answer in (whole, streamed):
        blocks = [block for block in answer.content if isinstance(block, ToolUseBlock)]
        assert [block.input for block in blocks] == [{"city": city} for city in CITIES]
        assert len({block.id for block in blocks}) == len(CITIES)
        assert answer.stop_reason == "tool_use"
    assert is_legal(engine, turn())


@pytest.mark.parametrize("api", ["chat", "messages"])
async def test_one_at_a_time_if_the_caller_says_so(api: str) -> None:
    engine = ScriptedEngine(ONE)
    if api == "chat":
        await async_openai(application(engine)).chat.completions.create(**CHAT, parallel_tool_calls=False)
    else:
        choice: Any = {"type": "auto", "disable_parallel_tool_use": True}
        await async_anthropic(application(engine)).messages.create(**MESSAGES, tool_choice=choice)
    assert is_legal(engine, ONE)
    assert not is_legal(engine, turn())
