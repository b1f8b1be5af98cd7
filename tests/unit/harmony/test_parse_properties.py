"""What holds for any tokens whatever, legal or not.

`HARMONY_EXAMPLES=100000 pytest tests/unit/harmony/test_parse_properties.py` searches longer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import count, groupby

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_server.events import BlockDelta, BlockStart, BlockStop, Event
from llm_server.harmony.encoding import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    END_OF_TEXT,
    MESSAGE,
    RETURN,
    START,
    VOCABULARY_SIZE,
    harmony_encoding,
)
from llm_server.harmony.parse import HarmonyParser
from llm_server.harmony.recorded import parse_tokens

EXAMPLES = int(os.environ.get("HARMONY_EXAMPLES", "500"))
ANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TOOLS = ("plant", "get_weather", "mcp__fs__read-text.file")
SECRET = "xylophone"

MARKERS = (START, END, MESSAGE, CHANNEL, CONSTRAIN, CALL, RETURN, END_OF_TEXT)
HEADER_TEXTS = (
    "assistant",
    "analysis",
    "commentary",
    "final",
    " to=functions.plant",
    " to=plant ",
    "commentary to=functions.get_weather ",
    "analysis to=functions.plant code",
    "commentary to=functions.unknown",
    "commentary to=tool.run code",
    " to=user",
    " to=assistant",
    "json",
    " code",
    "user",
    "functions.plant",
    "commentary?commentary?",
    "commentary plant",
    "commentary to=assistant plant code",
    "commentary I look first.",
    "commentary to=functions.pl",
    "ant ",
    "functions.unknown to=assistant",
    "to=to=<functions.plant>",
    "\n",
)
BODY_TEXTS = (
    "Hello there. ",
    '{"seed": "oak", "row": 3}',
    '{"a": {"b": [1, 2',
    '}]}"',
    '{"name": "plant", "arguments": {"row": 1}}',
    '"{\\"seed\\": \\"oak\\"}"',
    '{"row": [3}, "seed": "oak"]}',
    "*** Begin Patch\n",
    "Here is the call: ",
    "```json\n",
    "café 🌳👩🏽‍🌾 ",
    "assistantfinal",
    "assistantcommentary to=functions.plant json",
    "analysisWe think",
    "AnalysisWe think",
    "AssistantFinal",
    "  \n",
)
SPELLED_TEXTS = ("<|channel|>", "<|message|>", "<|start|>assistant", "<|end|>", "<|call|>", "<|", "|>")
ALL_TEXTS = (*HEADER_TEXTS, *BODY_TEXTS, *SPELLED_TEXTS)


def encoded(text: str) -> list[int]:
    return list(harmony_encoding().encode(text, disallowed_special=()))


def joined(parts: Iterable[list[int]]) -> list[int]:
    return [token for part in parts for token in part]


def texts(*choices: str) -> st.SearchStrategy[list[int]]:
    return st.sampled_from(choices).map(encoded)


def message(header: st.SearchStrategy[list[int]], body: st.SearchStrategy[list[int]]) -> st.SearchStrategy[list[int]]:
    ends = st.sampled_from([[END, START, *encoded("assistant")], [END], [CALL], [RETURN], []])
    return st.tuples(header, body, ends).map(lambda parts: [CHANNEL, *parts[0], MESSAGE, *parts[1], *parts[2]])


MARKER = st.sampled_from(MARKERS).map(lambda marker: [marker])
BODY = st.lists(texts(*BODY_TEXTS), max_size=4).map(joined)
LEGAL = message(texts("final", "commentary", "commentary to=functions.plant", "analysis to=plant code"), BODY)
SECRETS = st.integers(0, 3).map(lambda times: encoded(f"I think {SECRET} " * times))
THOUGHT = message(texts("analysis"), SECRETS).map(lambda tokens: [START, *encoded("assistant"), *tokens])
LOOSE_THOUGHT = SECRETS.map(lambda tokens: [CHANNEL, *encoded("analysis"), MESSAGE, *tokens, END])
"""Without `<|start|>` what came before may be its header, too, and address it to a tool."""

BROKEN_THOUGHT = st.tuples(MARKER, MARKER, st.booleans(), SECRETS).map(
    lambda parts: [
        *(START, *encoded("assistant")),
        *(parts[0] if parts[2] else [CHANNEL]),
        *encoded("analysis"),
        *([MESSAGE] if parts[2] else parts[1]),
        *parts[3],
        END,
    ]
)
"""One marker of its header is another one."""

NOISE = st.one_of(MARKER, MARKER, texts(*HEADER_TEXTS), texts(*BODY_TEXTS), LEGAL, THOUGHT, LOOSE_THOUGHT)
UNKNOWN = st.integers(-5, VOCABULARY_SIZE + 100_000).map(lambda token: [token])


def streams(*parts: st.SearchStrategy[list[int]]) -> st.SearchStrategy[list[int]]:
    return st.lists(st.one_of(*parts), max_size=14).map(joined)


def events_of(tokens: Sequence[int], truncated: bool | None) -> tuple[HarmonyParser, list[Event]]:
    numbers = count()
    parser = HarmonyParser(TOOLS, new_call_id=lambda: f"call_{next(numbers)}")
    events = [event for token in tokens for event in parser.feed(token)]
    return parser, [*events, *parser.finish(truncated=truncated)]


@ANY
@given(streams(NOISE, texts(*SPELLED_TEXTS), UNKNOWN), st.sampled_from([True, False, None]))
def test_blocks_are_well_nested_and_never_empty(tokens: list[int], truncated: bool | None) -> None:
    open_block: BlockStart | None = None
    blocks = 0
    for event in events_of(tokens, truncated)[1]:
        match event:
            case BlockStart(index, kind, _, call_id, tool_name):
                assert open_block is None
                assert index == blocks
                assert (kind == "tool_call") == bool(call_id) == bool(tool_name)
                assert tool_name in ("", *TOOLS)
                open_block, blocks = event, blocks + 1
            case BlockDelta(index, text):
                assert open_block is not None
                assert index == open_block.index
                assert open_block.kind != "reasoning"
                assert text
            case BlockStop(index):
                assert open_block is not None
                assert index == open_block.index
                open_block = None
            case _:
                raise AssertionError(event)
    assert open_block is None


@ANY
@given(streams(NOISE, BROKEN_THOUGHT, UNKNOWN), st.sampled_from([True, False, None]))
def test_neither_thoughts_nor_special_tokens_come_out(tokens: list[int], truncated: bool | None) -> None:
    parser, events = events_of(tokens, truncated)
    shown = repr((events, parser.repairs, parser.undeclared_calls, parser.channel_tokens, parser))
    assert SECRET not in shown
    assert "<|" not in shown


@ANY
@given(streams(NOISE, texts(*SPELLED_TEXTS), UNKNOWN), st.sampled_from([True, False, None]))
def test_the_sums_are_right(tokens: list[int], truncated: bool | None) -> None:
    parser, events = events_of(tokens, truncated)
    calls = [event for event in events if isinstance(event, BlockStart) and event.kind == "tool_call"]
    whole = {event.index for event in events if isinstance(event, BlockStop) and event.complete}
    assert sum(parser.channel_tokens.values()) == len(tokens)
    assert 0 <= parser.reasoning_tokens <= len(tokens)
    assert sum(event.tokens for event in events if isinstance(event, BlockStop)) <= len(tokens)
    assert (parser.finish_reason == "tool_calls") <= any(call.index in whole for call in calls)
    assert (parser.finish_reason == "stop") <= all(call.index not in whole for call in calls)
    assert len({call.call_id for call in calls}) == len(calls)


@ANY
@given(st.lists(st.one_of(st.sampled_from(MARKERS), st.sampled_from(ALL_TEXTS)), max_size=20), st.data())
def test_how_text_falls_into_tokens_makes_no_difference(parts: list[int | str], data: st.DataObject) -> None:
    whole: list[int] = []
    cut: list[int] = []
    for is_marker, group in groupby(parts, lambda part: isinstance(part, int)):
        if is_marker:
            markers = [part for part in group if isinstance(part, int)]
            whole += markers
            cut += markers
        else:
            text = "".join(str(part) for part in group)
            place = data.draw(st.integers(0, len(text)))
            whole += encoded(text)
            cut += encoded(text[:place]) + encoded(text[place:])
    assert meaning(whole) == meaning(cut)


def meaning(tokens: Sequence[int]) -> object:
    recording = parse_tokens(tokens, TOOLS)
    blocks = [(block.kind, block.preamble, block.tool_name, block.text, block.complete) for block in recording.blocks]
    return blocks, recording.finish_reason, recording.undeclared_calls, [repair.kind for repair in recording.repairs]
