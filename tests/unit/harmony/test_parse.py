"""The events of a stream as they come: what is shown when, what is counted, what is held back."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import FrozenInstanceError
from itertools import count

import pytest

from llm_server.events import Alternative, BlockDelta, BlockStart, BlockStop, Event, TokenLogprob
from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE, RETURN, VOCABULARY_SIZE, token_bytes
from llm_server.harmony.parse import HarmonyParser
from llm_server.harmony.recorded import encode_segments

CALL_HEADER = "<|channel|>commentary to=functions.plant <|constrain|>json<|message|>"
THOUGHT = "<|channel|>analysis<|message|>They want a rowan.<|end|><|start|>assistant"


def parser(*tools: str) -> HarmonyParser:
    numbers = count(1)
    return HarmonyParser(tools, new_call_id=lambda: f"call_{next(numbers)}")


def encode(raw: str) -> list[int]:
    return encode_segments([("special", raw)])


def feed(reader: HarmonyParser, tokens: Iterable[int]) -> list[list[Event]]:
    """The events of each token."""
    return [reader.feed(token) for token in tokens]


def flat(events: Iterable[Sequence[Event]]) -> list[Event]:
    return [event for some in events for event in some]


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, BlockDelta))


# What is shown, and when


def test_each_token_of_an_answer_is_shown_at_once() -> None:
    reader = parser()
    feed(reader, encode("<|channel|>final<|message|>"))
    tokens = encode("The <|channel> of analysis: assistant <|end, assistantfinal, {json} and ```code``` .")
    assert [text_of(events) for events in feed(reader, tokens)] == [token_bytes(token).decode() for token in tokens]


@pytest.mark.parametrize("channel", ["anaylsis", "analyis", "anlysis", "analisys", "Analyss", "analyysis"])
def test_a_misspelt_analysis_is_hidden(channel: str) -> None:
    reader = parser()
    events = [
        event for token in encode(f"<|channel|>{channel}<|message|>They want a tree.") for event in reader.feed(token)
    ]
    assert text_of([*events, *reader.finish(truncated=True)]) == ""


def test_a_block_of_text_begins_with_its_first_text() -> None:
    reader = parser()
    header, (first, second, *_) = encode("<|channel|>final<|message|>"), encode("One two")
    assert flat(feed(reader, header)) == []
    assert reader.feed(first) == [BlockStart(0, "text"), BlockDelta(0, "One")]
    assert reader.feed(second) == [BlockDelta(0, " two")]


def test_a_preamble_is_marked_as_one() -> None:
    reader = parser()
    events = flat(feed(reader, encode("<|channel|>commentary<|message|>Let me look.")))
    assert events[0] == BlockStart(0, "text", preamble=True)


def test_thoughts_are_a_block_with_a_size_and_nothing_else() -> None:
    reader = parser()
    tokens = encode("<|channel|>analysis<|message|>They want a rowan.<|end|>")
    assert flat(feed(reader, tokens)) == [BlockStart(0, "reasoning"), BlockStop(0, tokens=len(tokens))]


def test_arguments_are_shown_token_by_token() -> None:
    reader = parser("plant")
    feed(reader, encode(CALL_HEADER))
    arguments = '{"tree": "rowan", "rows": [1, 2, 3], "deep": {"soil": "wet"}}'
    deltas = [text_of(events) for events in feed(reader, encode(arguments))]
    assert "".join(deltas) == arguments
    assert sum(map(bool, deltas)) >= len(deltas) - 1


def test_a_call_names_its_tool_and_has_an_id() -> None:
    reader = parser("plant")
    events = flat(feed(reader, encode(CALL_HEADER + '{"row":1}<|call|>')))
    assert events[0] == BlockStart(0, "tool_call", call_id="call_1", tool_name="plant")
    assert isinstance(events[-1], BlockStop)
    assert events[-1].complete


def test_nothing_of_a_call_is_shown_before_its_tool_is_known_to_be_declared() -> None:
    reader = parser("plant")
    assert flat(feed(reader, encode("<|channel|>commentary to=functions.fell <|constrain|>json<|message|>{}"))) == []


def test_json_that_may_be_arguments_without_a_recipient_is_held_back_until_its_end() -> None:
    reader = parser("plant")
    held = feed(reader, encode('<|channel|>commentary<|message|>{"row":1}'))
    assert flat(held) == []
    assert text_of(reader.feed(END)) == '{"row":1}'


def test_blocks_are_numbered_and_do_not_overlap() -> None:
    reader = parser("plant")
    raw = THOUGHT + "<|channel|>commentary<|message|>I plant.<|end|><|start|>assistant" + CALL_HEADER + "{}<|call|>"
    events = flat(feed(reader, encode(raw)))
    starts = [(event.index, event.kind) for event in events if isinstance(event, BlockStart)]
    stops = [event.index for event in events if isinstance(event, BlockStop)]
    assert starts == [(0, "reasoning"), (1, "text"), (2, "tool_call")]
    assert stops == [0, 1, 2]


# Characters


def test_a_character_that_is_cut_by_tokens_is_held_back() -> None:
    reader = parser()
    feed(reader, encode("<|channel|>final<|message|>"))
    events = feed(reader, encode("👩🏽‍🌾🌳"))
    assert text_of(flat(events)) == "👩🏽‍🌾🌳"
    assert any(not some for some in events)


@pytest.mark.parametrize("truncated", [True, False])
def test_half_a_character_at_the_end_becomes_a_replacement_character(truncated: bool) -> None:
    reader = parser()
    half = encode("🌳")[:-1]
    events = flat(feed(reader, [*encode("<|channel|>final<|message|>Tree"), *half]))
    events += reader.finish(truncated=truncated)
    assert text_of(events) == "Tree\N{REPLACEMENT CHARACTER}"


def test_half_a_character_before_a_marker_becomes_a_replacement_character() -> None:
    reader = parser()
    half = encode("🌳")[:-1]
    events = flat(feed(reader, [*encode("<|channel|>final<|message|>Tree"), *half, RETURN]))
    assert text_of(events) == "Tree\N{REPLACEMENT CHARACTER}"


def test_half_a_character_in_a_thought_does_not_reach_the_answer() -> None:
    reader = parser()
    half = encode("🌳")[:-1]
    thought = [*encode("<|channel|>analysis<|message|>Hm"), *half]
    events = flat(feed(reader, [*thought, END, *encode("<|start|>assistant<|channel|>final<|message|>Elm.<|return|>")]))
    assert text_of(events) == "Elm."


# Tokens that mean nothing


@pytest.mark.parametrize("token", [-1, -(10**12), VOCABULARY_SIZE, 10**12, 200_001, 200_018, 199_998])
def test_a_token_that_means_nothing_is_ignored(token: int) -> None:
    reader = parser()
    events = flat(
        feed(reader, [token, *encode("<|channel|>final<|message|>El"), token, *encode("m.<|return|>"), token])
    )
    assert text_of(events) == "Elm."
    assert {repair.kind for repair in reader.repairs} == {"stray_token"}


def test_nothing_comes_after_the_end() -> None:
    reader = parser("plant")
    feed(reader, encode("<|channel|>final<|message|>Elm."))
    assert reader.finish(truncated=False)
    assert reader.finish(truncated=True) == []
    assert flat(feed(reader, encode(" More.<|start|>assistant<|channel|>final<|message|>More."))) == []
    assert reader.finish_reason == "stop"


# How it ended


@pytest.mark.parametrize(
    ("raw", "ended"),
    [
        ("<|channel|>final<|message|>Elm.<|return|>", True),
        ("<|channel|>final<|message|>Elm.<|endoftext|>", True),
        (CALL_HEADER + "{}<|call|>", True),
        ("<|channel|>final<|message|>Elm.<|end|>", False),
        ("<|channel|>final<|message|>Elm.", False),
    ],
)
def test_whether_the_turn_has_ended(raw: str, ended: bool) -> None:
    reader = parser("plant")
    feed(reader, encode(raw))
    assert reader.ended is ended


@pytest.mark.parametrize(
    ("raw", "complete", "reason"),
    [
        ("<|channel|>final<|message|>An elm is", False, "length"),
        ("<|channel|>analysis<|message|>An elm is", False, "length"),
        (CALL_HEADER + '{"tree":"el', False, "length"),
        (CALL_HEADER + '{"tree":"elm"', False, "length"),
        (CALL_HEADER + '{"tree":{"name":"elm"}', False, "length"),
        (CALL_HEADER + "an el", False, "length"),
        (CALL_HEADER + '{"tree":"elm"}', True, "tool_calls"),
    ],
)
def test_what_the_token_limit_cut_off_is_not_complete(raw: str, complete: bool, reason: str) -> None:
    reader = parser("plant")
    events = flat(feed(reader, encode(raw))) + reader.finish(truncated=True)
    assert isinstance(events[-1], BlockStop)
    assert events[-1].complete is complete
    assert reader.finish_reason == reason


@pytest.mark.parametrize("raw", ["", "<|channel|>", "<|channel|>comm", CALL_HEADER, CALL_HEADER + "\n", THOUGHT])
def test_an_answer_that_never_began_is_cut_off_without_a_trace(raw: str) -> None:
    reader = parser("plant")
    events = flat(feed(reader, encode(raw))) + reader.finish(truncated=True)
    assert all(isinstance(event, BlockStart | BlockStop) for event in events)
    assert [event for event in events if isinstance(event, BlockStart) and event.kind != "reasoning"] == []
    assert reader.finish_reason == "length"


def test_the_model_may_stop_on_the_last_token_it_is_allowed() -> None:
    reader = parser()
    feed(reader, encode("<|channel|>final<|message|>Elm.<|return|>"))
    assert reader.finish(truncated=True) == []
    assert reader.finish_reason == "stop"


# Counts


def test_tokens_are_counted_by_message_headers_and_ends_included() -> None:
    reader = parser("plant")
    thought = encode("<|channel|>analysis<|message|>They want a rowan.<|end|>")
    said = encode("<|start|>assistant<|channel|>commentary<|message|>I plant.<|end|>")
    called = encode("<|start|>assistant" + CALL_HEADER + '{"row":1}<|call|>')
    events = flat(feed(reader, [*thought, *said, *called]))
    assert [event.tokens for event in events if isinstance(event, BlockStop)] == [len(thought), len(said), len(called)]
    assert reader.reasoning_tokens == len(thought)
    reader.finish(truncated=False)
    assert reader.channel_tokens == {"analysis": len(thought), "commentary": len(said) + len(called)}


def test_what_the_user_does_not_see_counts_as_reasoning() -> None:
    reader = parser()
    hidden = encode("<|channel|>commentary to=python<|message|>import this<|end|>")
    answer = encode("<|start|>assistant<|channel|>final<|message|>Beautiful.<|return|>")
    feed(reader, [*hidden, *answer])
    assert reader.reasoning_tokens == len(hidden)


def test_an_answer_without_a_channel_does_not_count_as_reasoning() -> None:
    reader = parser()
    feed(reader, encode("<|message|>Elm.<|end|>"))
    assert reader.reasoning_tokens > 0
    assert text_of(reader.finish(truncated=False)) == "Elm."
    assert reader.reasoning_tokens == 0
    assert set(reader.channel_tokens) == {"unknown"}


def test_no_token_is_counted_twice_when_a_marker_finds_markers_lost_before_it() -> None:
    reader = parser("plant")
    tokens = encode("assistantfinalElm.assistantcommentary to=functions.plant json<|start|>assistant")
    events = flat(feed(reader, tokens)) + reader.finish(truncated=True)
    assert all(event.tokens >= 0 for event in events if isinstance(event, BlockStop))
    assert reader.reasoning_tokens >= 0
    assert sum(reader.channel_tokens.values()) == len(tokens)


# Log probabilities


def logprob(number: int) -> TokenLogprob:
    return TokenLogprob(Alternative(str(number), b"", -1.0))


def feed_with_logprobs(reader: HarmonyParser, tokens: Sequence[int]) -> list[Event]:
    return flat([reader.feed(token, logprob(place)) for place, token in enumerate(tokens)])


def attached(events: Iterable[Event]) -> list[int]:
    """The places of the tokens whose log probabilities are attached to deltas."""
    return [int(entry.chosen.token) for event in events if isinstance(event, BlockDelta) for entry in event.logprobs]


def test_logprobs_come_with_the_text_of_their_tokens_and_no_others_do() -> None:
    reader = parser("plant")
    hidden = encode(THOUGHT + "<|channel|>commentary<|message|>")
    shown = encode("I plant it.")
    call = encode("<|end|><|start|>assistant" + CALL_HEADER + '{"row":1}<|call|>')
    events = feed_with_logprobs(reader, [*hidden, *shown, *call])
    assert attached(events) == list(range(len(hidden), len(hidden) + len(shown)))
    assert all(len(event.logprobs) == 1 for event in events if isinstance(event, BlockDelta) and event.index == 1)


def test_logprobs_of_tokens_that_are_held_back_come_with_the_next_text() -> None:
    reader = parser()
    header, tree = encode("<|channel|>final<|message|>"), encode("🌳")
    assert len(tree) > 1
    events = feed_with_logprobs(reader, [*header, *tree])
    assert [len(event.logprobs) for event in events if isinstance(event, BlockDelta)] == [len(tree)]


def test_logprobs_of_text_that_lacked_its_header_come_with_it() -> None:
    reader = parser()
    tokens = encode("An elm 🌳 -> {tall}, I think: a>b.")
    events = feed_with_logprobs(reader, tokens) + reader.finish(truncated=False)
    assert attached(events) == list(range(len(tokens)))


def test_logprobs_of_a_stripped_thought_do_not_come_with_the_answer() -> None:
    reader = parser()
    tokens = encode("analysisThey want a tree.assistantfinalElm.")
    events = feed_with_logprobs(reader, tokens) + reader.finish(truncated=False)
    assert text_of(events) == "Elm."
    assert attached(events) == [len(tokens) - 2, len(tokens) - 1] or attached(events) == [len(tokens) - 1]


# What was put right


def test_repairs_say_what_and_where_and_never_what_was_said() -> None:
    reader = parser("plant")
    raw = "<|channel|>analysis<|message|>secret<|channel|>commentary to=plant<|message|>secret {}<|call|>"
    tokens = encode(raw)
    feed(reader, tokens)
    assert [(repair.kind, repair.position) for repair in reader.repairs] == [
        ("unclosed_message", tokens.index(CHANNEL, 1)),
        ("missing_start", tokens.index(MESSAGE, 3)),
        ("tool_name", tokens.index(MESSAGE, 3)),
        ("arguments_not_json", tokens.index(CALL)),
    ]
    assert "secret" not in repr(reader.repairs)
    with pytest.raises(FrozenInstanceError):
        reader.repairs[0].position = 0  # type: ignore[misc]


def test_a_clean_stream_needs_no_repairs() -> None:
    reader = parser("plant")
    feed(reader, encode(THOUGHT + "<|channel|>commentary<|message|>I plant.<|end|><|start|>assistant" + CALL_HEADER))
    feed(reader, encode('{"row":1}<|call|>'))
    reader.finish(truncated=False)
    assert reader.repairs == ()


def test_an_undeclared_call_is_noted_by_a_name_that_is_fit_for_a_prompt() -> None:
    reader = parser("plant")
    name = "fell;<b>" + "e" * 300
    feed(reader, encode(f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{{}}<|call|>"))
    (noted,) = reader.undeclared_calls
    assert len(noted) <= 128
    assert set(noted) <= set("abcdefghijklmnopqrstuvwxyz._-")


# Hostile output


def test_memory_is_bounded_whatever_a_header_holds() -> None:
    reader = parser("plant")
    words = encode(" branch" * 1_000)
    feed(reader, words)
    tracemalloc.start()
    try:
        for _ in range(40):
            feed(reader, [CHANNEL, *words, CHANNEL, CHANNEL, MESSAGE, 200_001, END, END])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 4_000_000


@pytest.mark.parametrize(
    "piece",
    [
        " ",
        "|",
        ": ",
        "{",
        ">",
        "<|",
        "assistant",
        "assistant ",
        "to=",
        "recipient=to=",
        "functions.a",
        '{"name":"plant",',
    ],
)
@pytest.mark.parametrize("beginning", ["", "<|channel|>", "<|channel|>commentary to=plant ", CALL_HEADER])
def test_no_repetition_stalls_the_parser(beginning: str, piece: str) -> None:
    reader = parser("plant")
    feed(reader, encode(beginning + piece * 3_000 + "x<|call|>"))
    assert reader.finish(truncated=False) == []


@pytest.mark.parametrize("piece", ["to=", "recipient=to=", "to=a ", "functions.a", "assistant", "json "])
def test_no_header_takes_long_to_be_found_none(piece: str) -> None:
    reader = parser("plant")
    feed(reader, encode(piece * (480 // len(piece)) + '"<<|message|>x<|call|>'))
    assert reader.finish(truncated=False) == []
