"""Canonical events to Messages wire JSON, whole and streamed, and that the two never disagree."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_server.api.anthropic.response import ReasoningBlocks, Reply, message, new_message_id, stream
from llm_server.events import BlockDelta, BlockStart, BlockStop, Event, Finish, FinishReason, Usage, fold

Wire = dict[str, Any]

REPLY = Reply("msg_1", "claude-opus-5-5", 10)
USAGE = Usage(prompt=10, cached=4, completion=7, reasoning=3)


async def streamed(events: Iterable[Event], reasoning: ReasoningBlocks = "none") -> list[Wire]:
    async def source() -> AsyncIterator[Event]:
        for event in events:
            yield event

    return [event async for event in stream(replace(REPLY, reasoning=reasoning), source())]


def whole(events: Iterable[Event], reasoning: ReasoningBlocks = "none") -> Wire:
    return message(replace(REPLY, reasoning=reasoning), fold(events))


def fold_wire(events: Sequence[Wire]) -> Wire:
    """What a client makes of a stream: the API's documented way to accumulate it."""
    folded: Wire = dict(events[0]["message"])
    content: list[Wire] = []
    arguments = ""
    for event in events[1:]:
        match event:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert index == len(content), "indices have no gap"
                content.append(dict(block))
                arguments = ""
            case {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}:
                assert index == len(content) - 1
                content[index]["text"] += text
            case {"type": "content_block_delta", "index": index, "delta": {"signature": signature}}:
                assert index == len(content) - 1
                content[index]["signature"] = signature
            case {"type": "content_block_delta", "index": index, "delta": {"partial_json": part}}:
                assert index == len(content) - 1
                arguments += part
            case {"type": "content_block_stop", "index": index}:
                assert index == len(content) - 1
                if content[index]["type"] == "tool_use":
                    content[index]["input"] = json.loads(arguments)
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                folded |= delta
                folded["usage"] = folded["usage"] | usage
    return {**folded, "content": content}


def block(index: int, kind: Any, *texts: str, complete: bool = True, **fields: Any) -> list[Event]:
    deltas = [BlockDelta(index, text) for text in texts]
    return [BlockStart(index, kind, **fields), *deltas, BlockStop(index, 3, complete)]


def thought(index: int, seal: str = "sealed") -> list[Event]:
    return [BlockStart(index, "reasoning"), BlockStop(index, 3, seal=seal)]


def call(index: int, *arguments: str, complete: bool = True) -> list[Event]:
    return block(index, "tool_call", *arguments, complete=complete, call_id=f"call_{index}", tool_name="Read")


def types(events: Iterable[Wire]) -> list[str]:
    return [event["type"] for event in events]


THOUGHT_AND_ANSWER = [*block(0, "reasoning"), *block(1, "text", "He", "llo"), Finish("stop", USAGE)]
PREAMBLE_AND_CALL = [
    *block(0, "reasoning"),
    *block(1, "text", "I look.", preamble=True),
    *block(2, "reasoning"),
    *call(3, '{"path"', ': "a', '"}'),
    Finish("tool_calls", USAGE),
]


async def test_the_events_of_an_answer_are_in_the_apis_order() -> None:
    assert await streamed(THOUGHT_AND_ANSWER) == [
        {"type": "message_start", "message": (await streamed(THOUGHT_AND_ANSWER))[0]["message"]},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "He"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 6,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 4,
                "output_tokens": 7,
                "output_tokens_details": {"thinking_tokens": 3},
            },
        },
        {"type": "message_stop"},
    ]


async def test_the_start_says_what_is_known_before_the_first_token() -> None:
    start = (await streamed(THOUGHT_AND_ANSWER))[0]["message"]
    assert start["id"] == "msg_1"
    assert start["model"] == "claude-opus-5-5"
    assert start["content"] == []
    assert start["stop_reason"] is None
    assert start["usage"]["input_tokens"] == 10
    assert start["usage"]["output_tokens"] == 0


async def test_start_and_ping_wait_for_no_event() -> None:
    async def silent() -> AsyncIterator[Event]:
        raise AssertionError("no event was to be awaited")
        yield

    events = stream(REPLY, silent())
    assert [(await anext(events))["type"], (await anext(events))["type"]] == ["message_start", "ping"]
    await events.aclose()


async def test_a_preamble_and_a_call_are_numbered_without_gaps() -> None:
    events = await streamed(PREAMBLE_AND_CALL)
    starts = [event for event in events if event["type"] == "content_block_start"]
    assert [(start["index"], start["content_block"]["type"]) for start in starts] == [(0, "text"), (1, "tool_use")]
    parts = [event["delta"]["partial_json"] for event in events if "partial_json" in event.get("delta", {})]
    assert parts == ['{"path"', ': "a', '"}']


def test_the_whole_call() -> None:
    body = whole(PREAMBLE_AND_CALL)
    assert body["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "call_3", "name": "Read", "input": {"path": "a"}},
    ]
    assert body["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("stop_sequence", "stop_sequence"), ("tool_calls", "tool_use")],
)
def test_stop_reasons(reason: FinishReason, expected: str) -> None:
    sequence = "END" if reason == "stop_sequence" else None
    body = whole([Finish(reason, USAGE, sequence)])
    assert (body["stop_reason"], body["stop_sequence"]) == (expected, sequence)


def test_cached_tokens_are_no_input_tokens() -> None:
    usage = whole([Finish("stop", USAGE)])["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (6, 4, 0)
    assert usage["output_tokens"] == 7


THINKING_AND_CALL = [*thought(0, "one"), *block(1, "text", "I look."), *thought(2, "two"), *call(3, "{}")]


def test_sealed_reasoning_in_whole_blocks() -> None:
    redacted = whole([*THINKING_AND_CALL, Finish("tool_calls", USAGE)], "redacted_thinking")["content"]
    assert redacted[0] == {"type": "redacted_thinking", "data": "one"}
    assert [each["type"] for each in redacted] == ["redacted_thinking", "text", "redacted_thinking", "tool_use"]
    signed = whole([*THINKING_AND_CALL, Finish("tool_calls", USAGE)], "thinking")["content"]
    assert signed[2] == {"type": "thinking", "thinking": "", "signature": "two"}
    assert [each["type"] for each in signed] == ["thinking", "text", "thinking", "tool_use"]


async def test_sealed_reasoning_in_streamed_blocks() -> None:
    events = await streamed([*thought(0, "one"), Finish("stop", USAGE)], "redacted_thinking")
    assert events[2:4] == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "redacted_thinking", "data": "one"}},
        {"type": "content_block_stop", "index": 0},
    ]
    events = await streamed([*thought(0, "one"), Finish("stop", USAGE)], "thinking")
    empty = {"type": "thinking", "thinking": "", "signature": ""}
    assert events[2:5] == [
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "one"}},
        {"type": "content_block_stop", "index": 0},
    ]


async def test_a_client_hears_of_thinking_when_it_begins() -> None:
    events = await streamed([BlockStart(0, "reasoning")], "thinking")
    assert events[-1]["type"] == "content_block_start"


def test_reasoning_without_a_seal_is_no_sealed_block() -> None:
    events = [*thought(0, ""), *block(1, "text", "Hi"), Finish("stop", USAGE)]
    assert [each["type"] for each in whole(events, "redacted_thinking")["content"]] == ["text"]


async def test_an_answer_that_says_nothing_has_no_block() -> None:
    nothing = [*block(0, "reasoning"), *block(1, "text"), Finish("length", USAGE)]
    assert whole(nothing)["content"] == []
    assert types(await streamed(nothing)) == ["message_start", "ping", "message_delta", "message_stop"]


@pytest.mark.parametrize("arguments", [[], [" ", "\n"], ["San", " Francisco"], ["[1]"], [' "a"'], ["nul", "l"]])
async def test_arguments_that_are_no_object_are_empty_ones(arguments: list[str]) -> None:
    events = [*call(0, *arguments), Finish("tool_calls", USAGE)]
    assert whole(events)["content"][0]["input"] == {}
    assert fold_wire(await streamed(events))["content"][0]["input"] == {}


@pytest.mark.parametrize(
    "arguments", ['{"command": "rm -rf "/tmp""}', '{"a": NaN}', '{"a": 1e999}', '{"a": 1}}', '{"a":' * 5000]
)
async def test_broken_arguments_are_never_repaired(arguments: str) -> None:
    """Whole, they are empty; streamed, they stay what no JSON parser takes."""
    events = [*call(0, *arguments), Finish("tool_calls", USAGE)]
    assert whole(events)["content"][0]["input"] == {}
    parts = [
        event["delta"]["partial_json"] for event in await streamed(events) if "delta" in event and "index" in event
    ]
    assert "".join(parts) == arguments


async def test_blanks_before_the_arguments_are_nothing() -> None:
    events = [*call(0, " ", '\n {"path": "a"}'), Finish("tool_calls", USAGE)]
    assert whole(events)["content"][0]["input"] == {"path": "a"}
    assert fold_wire(await streamed(events)) == whole(events)


def test_a_call_that_was_cut_off_is_no_call() -> None:
    body = whole([*call(0, '{"path": "a', complete=False), Finish("length", USAGE)])
    assert body["content"] == []
    assert body["stop_reason"] == "max_tokens"


def test_message_ids_differ() -> None:
    first, second = new_message_id(), new_message_id()
    assert first.startswith("msg_")
    assert first != second


ALPHABET = 'ab{}[]"\\ é\n'
REASONS: list[FinishReason] = ["stop", "length", "tool_calls"]
PIECES = st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=4)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(ALPHABET, max_size=5),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.text(ALPHABET, max_size=3), values, max_size=2),
    max_leaves=5,
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Any legal stream of events whose calls have arguments in JSON."""
    events: list[Event] = []
    for index, kind in enumerate(draw(st.lists(st.sampled_from(["reasoning", "text", "tool_call"]), max_size=5))):
        match kind:
            case "text":
                events += block(index, kind, *draw(PIECES), preamble=draw(st.booleans()))
            case "tool_call":
                events += call(index, *json.dumps(draw(JSON_VALUES)))
            case _:
                events += thought(index, draw(st.sampled_from(["", "one", "two"])))
    reason = draw(st.sampled_from(REASONS))
    return [*events, Finish(reason, USAGE)]


@given(answers(), st.sampled_from(get_args(ReasoningBlocks)))
async def test_whole_equals_folded_stream(events: list[Event], reasoning: ReasoningBlocks) -> None:
    assert fold_wire(await streamed(events, reasoning)) == whole(events, reasoning)


# What was kept, edited and cut off


def finish(reason: FinishReason = "stop", **usage: int) -> list[Event]:
    return [*block(0, "text", "Hi"), Finish(reason, Usage(**usage))]


@pytest.mark.parametrize(
    ("caches", "cached", "stored", "counts"),
    [
        (False, 0, 99, (100, 0, 0)),
        (False, 60, 39, (40, 0, 60)),
        (True, 0, 99, (1, 99, 0)),
        (True, 60, 39, (1, 39, 60)),
        (True, 60, 20, (20, 20, 60)),
        (True, 99, 0, (1, 0, 99)),
        (True, 0, 0, (100, 0, 0)),
    ],
)
def test_the_three_input_counts_add_up_to_the_prompt(
    caches: bool, cached: int, stored: int, counts: tuple[int, ...]
) -> None:
    reply = replace(REPLY, prompt_tokens=100, caches=caches)
    usage = message(reply, fold(finish(prompt=100, cached=cached, completion=1, stored=stored)))["usage"]
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    assert tuple(usage[name] for name in names) == counts
    assert sum(counts) == 100


@pytest.mark.parametrize(("context_full", "told"), [(False, "max_tokens"), (True, "model_context_window_exceeded")])
def test_a_full_context_is_told_from_a_limit(context_full: bool, told: str) -> None:
    completion = fold([Finish("length", context_full=context_full)])
    assert message(REPLY, completion)["stop_reason"] == told


async def test_a_prompt_that_was_only_to_be_read_has_no_answer() -> None:
    reply = replace(REPLY, max_tokens=0)
    events = finish("length", prompt=10, completion=1)

    async def source() -> AsyncIterator[Event]:
        for event in events:
            yield event

    assert types([event async for event in stream(reply, source())]) == [
        "message_start",
        "ping",
        "message_delta",
        "message_stop",
    ]
    answer = message(reply, fold(events))
    assert (answer["content"], answer["stop_reason"]) == ([], "max_tokens")
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (10, 0)


@pytest.mark.parametrize("edits", [(), ({"type": "clear_tool_uses_20250919", "cleared_tool_uses": 2},)])
def test_edits_are_reported_if_any_were_asked_for(edits: tuple[Wire, ...]) -> None:
    events = finish(prompt=10)
    assert "context_management" not in message(REPLY, fold(events))
    told = message(replace(REPLY, applied_edits=edits), fold(events))
    assert told["context_management"] == {"applied_edits": list(edits)}
