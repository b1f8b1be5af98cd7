"""A stop string ends the answer where it begins, however the text is cut, and nothing else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_server.events import Alternative, BlockDelta, BlockStart, BlockStop, Event, TokenLogprob
from llm_server.stop_strings import StopStrings


def logprob(token: str) -> TokenLogprob:
    return TokenLogprob(Alternative(token, token.encode(), -0.5))


def text_block(pieces: list[str], *, preamble: bool = False) -> list[Event]:
    deltas: list[Event] = [BlockDelta(0, piece, (logprob(piece),)) for piece in pieces]
    return [BlockStart(0, "text", preamble), *deltas, BlockStop(0)]


def shown(strings: list[str], events: list[Event]) -> tuple[str, str | None]:
    stop = StopStrings(strings)
    passed = [event for given in events for event in stop.feed(given)]
    return "".join(event.text for event in passed if isinstance(event, BlockDelta)), stop.matched


@pytest.mark.parametrize(
    ("strings", "text", "expected", "matched"),
    [
        (["END"], "one END two", "one ", "END"),
        (["END"], "one EN", "one EN", None),
        (["END"], "ENDED", "", "END"),
        (["\n\n"], "a\n\nb", "a", "\n\n"),
        (["ab", "abc"], "xabc", "x", "ab"),
        (["two", "one"], "one two", "", "one"),
        (["abcd", "bc"], "xabcd", "xa", "bc"),
        (["bc", "abc"], "xabcd", "x", "abc"),
        (["aab"], "aaab", "a", "aab"),
        (["é"], "caf\u00e9", "caf", "é"),
        ([""], "text", "text", None),
        ([], "text", "text", None),
    ],
)
def test_every_way_to_cut_the_text_gives_the_same_answer(
    strings: list[str], text: str, expected: str, matched: str | None
) -> None:
    for places in itertools.product([False, True], repeat=len(text) - 1):
        cuts = [0, *(number + 1 for number, cut in enumerate(places) if cut), len(text)]
        pieces = [text[start:end] for start, end in itertools.pairwise(cuts)]
        assert shown(strings, text_block(pieces)) == (expected, matched)


@given(
    st.text("abc", min_size=3, max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=4),
    st.data(),
)
def test_the_answer_ends_at_the_stop_string_that_is_whole_first(
    text: str, strings: list[str], data: st.DataObject
) -> None:
    cuts = [0, *sorted(data.draw(st.sets(st.integers(0, len(text))))), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(cuts) if start < end]
    places = [(place + len(string), place) for string in strings if string and (place := text.find(string)) >= 0]
    _, place = min(places, default=(0, len(text)))
    assert shown(strings, text_block(pieces))[0] == text[:place]


def test_a_match_closes_the_block_and_swallows_the_rest() -> None:
    stop = StopStrings(["END"])
    events = text_block(["a", "END", "b"])
    passed = [event for given in events for event in stop.feed(given)]
    assert passed == [BlockStart(0, "text"), BlockDelta(0, "a", (logprob("a"),)), BlockStop(0)]


@pytest.mark.parametrize(
    "start", [BlockStart(0, "text", preamble=True), BlockStart(0, "tool_call", call_id="call_1", tool_name="END")]
)
def test_preambles_and_arguments_are_not_watched(start: BlockStart) -> None:
    stop = StopStrings(["END"])
    events: list[Event] = [start, BlockDelta(0, "the END"), BlockStop(0)]
    assert [event for given in events for event in stop.feed(given)] == events
    assert stop.matched is None


def test_logprobs_of_held_back_text_come_with_it() -> None:
    stop = StopStrings(["abc"])
    passed = [event for given in text_block(["a", "b", "x"]) for event in stop.feed(given)]
    assert passed[1] == BlockDelta(0, "abx", (logprob("a"), logprob("b"), logprob("x")))
