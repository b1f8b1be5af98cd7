"""Turns are remembered under the ids of their calls, in bounded memory, as they were generated or as understood."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from fakes import message, next_message, reply, text_tokens, tool_call
from llm_server.events import BlockStop, Event
from llm_server.harmony.encoding import CALL, CONSTRAIN, END, MESSAGE, RETURN, START, encode
from llm_server.harmony.parse import HarmonyParser
from llm_server.harmony.seal import Sealer
from llm_server.harmony.transcript import MOST_TOKENS, Call, Transcripts, Turn, TurnRecorder

SEALER = Sealer(b"secret")


def turn(*call_ids: str, tokens: int = 100) -> Turn:
    return Turn(tuple(Call(call_id, "f", "{}") for call_id in call_ids), "", [1] * tokens)


# The store


def test_a_turn_is_found_under_each_of_its_calls() -> None:
    transcripts = Transcripts()
    remembered = turn("a", "b")
    transcripts.remember(remembered)
    assert transcripts.find("a") is transcripts.find("b") is remembered
    assert transcripts.find("c") is None


def test_the_turn_that_was_used_the_longest_ago_goes_first() -> None:
    transcripts = Transcripts(3 * turn("a").size)
    for call_id in "abc":
        transcripts.remember(turn(call_id))
    transcripts.find("a")
    transcripts.remember(turn("d"))
    assert [call_id for call_id in "abcd" if transcripts.find(call_id)] == ["a", "c", "d"]


def test_a_turn_goes_with_all_of_its_calls() -> None:
    transcripts = Transcripts(turn("a", "b").size)
    transcripts.remember(turn("a", "b"))
    transcripts.remember(turn("c"))
    assert [call_id for call_id in "abc" if transcripts.find(call_id)] == ["c"]


def test_a_large_turn_displaces_many_and_one_that_is_too_large_none() -> None:
    transcripts = Transcripts(10 * turn("a").size)
    for number in range(10):
        transcripts.remember(turn(str(number)))
    transcripts.remember(turn("too large", tokens=10_000))
    assert len(transcripts) == 10
    transcripts.remember(turn("large", tokens=5 * turn("a").size))
    assert transcripts.find("large")
    assert len(transcripts) == 5


def test_small_turns_are_bounded_too() -> None:
    transcripts = Transcripts(100_000)
    for number in range(5_000):
        transcripts.remember(turn(str(number), tokens=1))
    assert 100 < len(transcripts) < 400


def test_the_bound_holds_some_hundred_turns_of_the_longest_kind() -> None:
    assert MOST_TOKENS // turn("a", tokens=20_000).size >= 100


def test_threads_may_look_while_turns_come_and_go() -> None:
    transcripts = Transcripts(20 * turn("0").size)

    def look() -> None:
        for number in range(3_000):
            transcripts.find(str(number))

    with ThreadPoolExecutor(3) as threads:
        looks = [threads.submit(look) for _ in range(3)]
        for number in range(3_000):
            transcripts.remember(turn(str(number)))
    assert [each.exception() for each in looks] == [None, None, None]
    assert len(transcripts) == 20


def test_nothing_of_a_turn_has_a_representation() -> None:
    shown = repr(Turn((Call("call_1", "f", '{"city": "zebra"}'),), "zebra", [4711]))
    assert "zebra" not in shown
    assert "4711" not in shown


# The recorder


def record(tokens: list[int], *, truncated: bool = False) -> tuple[Turn | None, list[Event]]:
    parser = HarmonyParser(["get_weather"], new_call_id=lambda: "call_1")
    recorder = TurnRecorder(SEALER)
    events: list[Event] = []
    for token in tokens:
        recorder.take(token)
        events += map(recorder.read, parser.feed(token))
    events += map(recorder.read, parser.finish(truncated=truncated))
    return recorder.turn(parser.repairs), events


def recorded(tokens: list[int]) -> Turn:
    remembered, _ = record(tokens)
    assert remembered is not None
    return remembered


def seals(events: list[Event]) -> list[tuple[int, ...] | None]:
    return [SEALER.open(event.seal) for event in events if isinstance(event, BlockStop) and event.seal]


START_OF_TURN = next_message()
CALL_OF_TOOL = tool_call("get_weather", '{"city": "Oslo"}', analysis="Zebra.", preamble="I look.")


@pytest.mark.parametrize(
    "tokens",
    [
        CALL_OF_TOOL,
        tool_call("get_weather", "{}"),
        [*message("analysis", '{"city": "Oslo"}', CALL, "functions.get_weather")],
        [
            *encode(" to=functions.get_weather"),
            *message("commentary", '{"city": "Oslo"}', CALL)[:-1],
            CALL,
        ],
        [
            *message("commentary", '{"city": "Oslo"}', END, "functions.get_weather"),
            *START_OF_TURN,
            *message("commentary", '{"city": "Rome"}', CALL, "functions.get_weather"),
        ],
    ],
    ids=["preamble", "no preamble", "on analysis", "recipient in the role", "two calls"],
)
def test_a_sound_turn_is_kept_token_for_token(tokens: list[int]) -> None:
    assert list(recorded(tokens).tokens) == [*START_OF_TURN, *tokens]


def test_calls_and_text_are_what_the_client_was_told() -> None:
    remembered = recorded(CALL_OF_TOOL)
    assert remembered.calls == (Call("call_1", "get_weather", '{"city": "Oslo"}'),)
    assert remembered.said == "I look."


@pytest.mark.parametrize("tokens", [reply("Zebra.", "Hello."), message("analysis", "Zebra.", END), []])
def test_a_turn_without_a_call_is_not_kept(tokens: list[int]) -> None:
    assert record(tokens)[0] is None


AS_TRAINED = [
    *[*START_OF_TURN, *message("analysis", "Zebra.", END)],
    *[*START_OF_TURN, *message("commentary", "I look.", END)],
    *[START, *text_tokens("assistant to=functions.get_weather"), *message("commentary ", "", END)[:-2]],
    *[CONSTRAIN, *text_tokens("json"), MESSAGE, *text_tokens('{"city": "Oslo"}'), CALL],
]


@pytest.mark.parametrize(
    "broken",
    [
        [*CALL_OF_TOOL[:-1], RETURN],
        [*CALL_OF_TOOL[:-1], END],
        [START, *text_tokens("user"), MESSAGE, *text_tokens("Obey!"), END, *START_OF_TURN, *CALL_OF_TOOL],
        [*message("analysis", "Zebra.", END)[:-1], START, *CALL_OF_TOOL[len(message("analysis", "Zebra.", END)) :][1:]],
    ],
    ids=["ended as an answer", "not ended", "spoke as the user", "thought not ended"],
)
def test_a_malformed_turn_is_kept_as_it_was_understood(broken: list[int]) -> None:
    """So that a prompt holds no message that the model made up for others, and teaches it no mistakes."""
    tokens = list(recorded(broken).tokens)
    assert tokens[: len(AS_TRAINED)] == AS_TRAINED
    assert len(tokens) == len(AS_TRAINED)


def test_each_message_of_a_malformed_turn_is_kept_once() -> None:
    two_calls = [*CALL_OF_TOOL[:-1], END, *START_OF_TURN, *message("commentary", "{}", RETURN, "functions.get_weather")]
    tokens = list(recorded(two_calls).tokens)
    assert tokens[: len(AS_TRAINED)] == AS_TRAINED
    assert tokens.count(CALL) == 2
    assert tokens.count(END) == AS_TRAINED.count(END)


def test_a_call_that_was_cut_off_is_not_kept() -> None:
    cut = [*CALL_OF_TOOL[:-1], END, *START_OF_TURN, *message("commentary", '{"ci', END, "functions.get_weather")[:-1]]
    remembered, _ = record(cut, truncated=True)
    assert remembered is not None
    assert len(remembered.calls) == 1
    assert list(remembered.tokens) == AS_TRAINED


def test_what_follows_the_last_call_is_not_kept() -> None:
    cut = [*CALL_OF_TOOL[:-1], END, *START_OF_TURN, *message("analysis", "Quokka.", END)[:-1]]
    remembered, events = record(cut, truncated=True)
    assert remembered is not None
    assert list(remembered.tokens) == AS_TRAINED
    assert len(seals(events)) == 2


@pytest.mark.parametrize(
    "tokens",
    [
        reply("Zebra.", "Hello."),
        CALL_OF_TOOL,
        message("analysis", "Zebra.", END)[:-1],
        [*message("analysis", "Zebra.", END)[:-1], *START_OF_TURN, *message("final", "Hello.", RETURN)],
        [*message("analysis", "Zebra.", END)[:-1], *message("final", "Hello.", RETURN)],
        [*message("analysis", "Zebra", END)[:-1], CONSTRAIN, *text_tokens("."), END, *START_OF_TURN],
        [*message("analysis to=functions.get_weather", "Zebra.", END), *START_OF_TURN],
    ],
    ids=["answer", "call", "cut", "not ended", "not even begun anew", "stray token", "to a tool, but no call"],
)
def test_a_seal_holds_the_words_of_the_thought_and_no_marker(tokens: list[int]) -> None:
    _, events = record(tokens, truncated=True)
    assert seals(events) == [tuple(text_tokens("Zebra."))]


def test_each_thought_has_a_seal_of_its_own() -> None:
    one, two = message("analysis", "One.", END), message("analysis", "Two.", END)
    _, events = record([*one, *START_OF_TURN, *two, *START_OF_TURN, *message("final", "Three.", RETURN)])
    assert seals(events) == [tuple(text_tokens("One.")), tuple(text_tokens("Two."))]


def test_events_are_passed_on_otherwise_unchanged() -> None:
    parser = HarmonyParser(["get_weather"], new_call_id=lambda: "call_1")
    plain = [event for token in CALL_OF_TOOL for event in parser.feed(token)]
    _, events = record(CALL_OF_TOOL)
    bare = [
        BlockStop(event.index, event.tokens, event.complete) if isinstance(event, BlockStop) else event
        for event in events
    ]
    assert bare == plain
