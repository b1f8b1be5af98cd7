"""The guard by itself: what a row may choose next, when it is given up, and that no row's trouble is another's."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import cycle, pairwise
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from llguidance import LLTokenizer, TokenizerWrapper

from fakes import message, next_message, text_tokens
from llm_server.conversation import Conversation, GenerationRequest, Sampling, Tool, ToolChoice, UserText
from llm_server.engine.batch import Batch
from llm_server.engine.guard import Grammars, Guard, masked
from llm_server.engine.masks import Bits
from llm_server.engine.types import Submit
from llm_server.harmony.encoding import CALL, CHANNEL, END, MESSAGE, RETURN, START, VOCABULARY_SIZE
from llm_server.harmony.grammar import HEADERS, SHORT_CALL, turn_grammar
from llm_server.harmony.guard import guard_tokenizer
from random_model import RandomModel

ANYTHING = -1
"""Before the first token there is the prompt's last one, whatever it is."""

WEATHER = Tool("get_weather")
CLOCK = Tool("get_time", parameters={"type": "object", "properties": {}, "additionalProperties": False})
ASKED = GenerationRequest(Conversation((UserText("Hello"),), (WEATHER, CLOCK)))
WORD = text_tokens(" word")


class Bytes:
    """A vocabulary of the 256 bytes and a token that ends the text: grammars over it take no time."""

    eos_token_id, bos_token_id, special_token_ids = 256, None, (256,)
    tokens = (*(bytes([byte]) for byte in range(256)), b"<|end|>")

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


BYTES = 257
PROMPT = [7, 8, 9]


@cache
def harmony() -> Grammars:
    return Grammars(guard_tokenizer, VOCABULARY_SIZE)


def bytes_grammars() -> Grammars:
    return Grammars(lambda: LLTokenizer(TokenizerWrapper(Bytes())), BYTES)


def lark(rule: str) -> str:
    return f"%llguidance {{}}\nstart: {rule} <|end|>"


def allowed(guard: Guard, last: int) -> set[int] | None:
    """The tokens that may follow `last`; None for any."""
    bits = guard.allowed(last)
    return None if bits is None else set(np.flatnonzero(flags(bits)).tolist())


def flags(bits: Bits) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.unpackbits(bits.view(np.uint8), bitorder="little")


def follow(guard: Guard, tokens: Iterable[int]) -> int:
    """Take the grammar's first tokens, each where it stands, and return the last of them."""
    last = ANYTHING
    for token in tokens:
        bits = guard.allowed(last)
        assert bits is not None
        assert flags(bits)[token], f"{token} is not allowed after {last}"
        last = token
    return last


def after(guard: Guard, tokens: Iterable[int]) -> set[int] | None:
    """What may follow the grammar's first tokens."""
    return allowed(guard, follow(guard, tokens))


def written(guard: Guard, wanted: Iterator[int], limit: int) -> list[int]:
    """What a model writes that wants these tokens, each as soon as it may, and the first allowed one until then."""
    tokens: list[int] = []
    last, desire = ANYTHING, next(wanted)
    while len(tokens) < limit and (bits := guard.allowed(last)) is not None:
        if flags(bits)[desire]:
            last, desire = desire, next(wanted)
        else:
            last = int(flags(bits).argmax())
        tokens.append(last)
    return tokens


# Budgets


def test_thoughts_are_closed_when_their_budget_is_used_up_and_the_answer_begins() -> None:
    """A model that would think for ever: where it may not, it has no choice but to end the message and to answer."""
    asked = replace(ASKED, reasoning_budget=7, conversation=replace(ASKED.conversation, tools=()))
    guard = harmony().guard(turn_grammar(asked))
    header = [CHANNEL, *text_tokens("analysis"), MESSAGE]
    assert after(guard, [*header, *WORD * 7]) == {END}
    for token, following in ((END, START), (START, *text_tokens("assistant")), (*text_tokens("assistant"), CHANNEL)):
        assert allowed(guard, token) == {following}
    assert set(text_tokens("final")) <= (allowed(guard, CHANNEL) or set())
    assert allowed(guard, *text_tokens("final")) == {MESSAGE}


def test_within_their_budget_thoughts_are_free_and_may_end_at_any_time() -> None:
    guard = harmony().guard(turn_grammar(replace(ASKED, reasoning_budget=7)))
    following = after(guard, [CHANNEL, *text_tokens("analysis"), MESSAGE, *WORD * 6]) or set()
    assert END in following
    assert {START, CALL, RETURN, MESSAGE}.isdisjoint(following)
    assert len(following) > 199_000


@pytest.mark.parametrize("channel", ["analysis", "commentary"])
@pytest.mark.parametrize("limit", [30, 40, 64, 400])
def test_a_call_that_must_come_comes_although_the_model_wants_to_talk(channel: str, limit: int) -> None:
    """It wants but to write the same word over and over, so whatever else it writes is forced on it."""
    words = cycle((CHANNEL, *text_tokens(channel), MESSAGE, *WORD * limit))
    choice = ToolChoice("required", frozenset({"get_time"}), most_calls=1)
    asked = replace(ASKED, tool_choice=choice, max_tokens=limit)
    tokens = written(harmony().guard(turn_grammar(asked)), words, limit=limit)
    assert tokens[-1] == CALL


def test_words_before_a_call_that_must_come_have_half_of_what_thoughts_leave() -> None:
    words = cycle((CHANNEL, *text_tokens("commentary"), MESSAGE, *WORD * 60))
    choice = ToolChoice("required", frozenset({"get_time"}), most_calls=1)
    asked = replace(ASKED, tool_choice=choice, max_tokens=400)
    tokens = written(harmony().guard(turn_grammar(asked)), words, limit=400)
    assert tokens.count(*WORD) == (400 - 300 - HEADERS - SHORT_CALL) // 2


# Forced tokens


def test_a_token_without_alternative_is_forced_and_counted() -> None:
    grammars = bytes_grammars()
    guard = grammars.guard(lark('"ab" /[cd]/ "e"'))
    assert [allowed(guard, token) for token in (ANYTHING, *b"abce")] == [{97}, {98}, {99, 100}, {101}, {256}]
    assert grammars.forced_tokens == 4
    assert type(grammars.forced_tokens) is int, "it is sent to where nobody knows numpy"


def test_headers_are_forced_but_for_their_names() -> None:
    grammars = harmony()
    before = grammars.forced_tokens
    asked = replace(ASKED, tool_choice=ToolChoice("required", frozenset({"get_time"}), most_calls=1), max_tokens=40)
    call = message("commentary", "{}", CALL, "functions.get_time")
    follow(grammars.guard(turn_grammar(asked)), call)
    assert grammars.forced_tokens - before >= 4, (
        "<|channel|>, <|message|> and <|call|> at least, and a part of the name"
    )


# Tools


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (ToolChoice("auto"), {"get_weather", "get_time"}),
        (ToolChoice("required"), {"get_weather", "get_time"}),
        (ToolChoice("auto", frozenset({"get_time"})), {"get_time"}),
        (ToolChoice("required", frozenset({"get_weather"})), {"get_weather"}),
        (ToolChoice("none"), set()),
    ],
)
def test_only_tools_that_may_be_called_can_be_named(choice: ToolChoice, names: set[str]) -> None:
    grammar = turn_grammar(replace(ASKED, tool_choice=choice))
    assert {tool.name for tool in (WEATHER, CLOCK) if _can_be_written(grammar, _call(tool.name, CALL))} == names


@pytest.mark.parametrize(("mode", "answers"), [("auto", True), ("none", True), ("required", False)])
def test_an_answer_can_be_given_unless_a_call_must_come(mode: Any, answers: bool) -> None:
    grammar = turn_grammar(replace(ASKED, tool_choice=ToolChoice(mode)))
    assert _can_be_written(grammar, message("final", "Hello!", RETURN)) == answers


@pytest.mark.parametrize(("most", "follows"), [(None, {END, CALL}), (2, {END, CALL}), (1, {CALL})])
def test_another_call_can_follow_if_there_may_be_more(most: int | None, follows: set[int]) -> None:
    choice = ToolChoice("required", most_calls=most)
    guard = harmony().guard(turn_grammar(replace(ASKED, tool_choice=choice)))
    assert after(guard, _call("get_weather", CALL)[:-1]) == follows


def test_a_second_call_ends_as_the_first_one_may() -> None:
    guard = harmony().guard(turn_grammar(replace(ASKED, tool_choice=ToolChoice("required"))))
    first = [*_call("get_weather", END), *next_message()]
    assert after(guard, [*first, *_call("get_time", CALL)[:-1]]) == {END, CALL}


def _call(name: str, end: int) -> list[int]:
    return message("commentary", "{}", end, f"functions.{name}")


def _can_be_written(grammar: str, tokens: list[int]) -> bool:
    guard = harmony().guard(grammar)
    pairs = pairwise([ANYTHING, *tokens])
    return all((bits := guard.allowed(last)) is not None and flags(bits)[token] for last, token in pairs)


# Grammars that fail


def test_a_token_that_the_grammar_forbids_gives_up_the_guard_of_its_row_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    grammars = bytes_grammars()
    broken, sound = (grammars.guard(lark('"secret" /[ab]+/')) for _ in range(2))
    assert allowed(broken, ANYTHING) == allowed(sound, ANYTHING) == set(b"s")
    with caplog.at_level(logging.WARNING):
        assert allowed(broken, ord("x")) is None
    assert allowed(broken, ord("y")) is None, "and it stays given up"
    assert allowed(sound, ord("s")) == set(b"e")
    [record] = caplog.records
    assert "given up" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_where_a_grammar_ends_everything_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    guard = bytes_grammars().guard(lark('"a"'))
    assert [allowed(guard, token) for token in (ANYTHING, ord("a"), 256, ord("b"))] == [{97}, {256}, None, None]
    assert not caplog.records, "nothing has failed"


@pytest.mark.parametrize("grammar", ["no grammar", lark("missing"), lark("/(unclosed/")])
def test_what_is_no_grammar_is_refused_without_a_word_of_it(grammar: str) -> None:
    grammars = bytes_grammars()
    with pytest.raises(ValueError, match=r"^The request's grammar can not be compiled\.$"):
        grammars.guard(grammar)
    assert allowed(grammars.guard(lark('"a"')), ANYTHING) == {97}


def test_rows_of_one_grammar_do_not_share_their_place_in_it() -> None:
    grammars = bytes_grammars()
    ahead, behind = grammars.guard(lark('"ab"')), grammars.guard(lark('"ab"'))
    assert after(ahead, b"a") == set(b"b")
    assert allowed(behind, ANYTHING) == set(b"a")


# Rows of a batch


def test_each_row_is_masked_by_its_own_grammar() -> None:
    grammars = bytes_grammars()
    guards = [grammars.guard(lark('"a"')), None, grammars.guard(lark("/[xyz]/"))]
    logits = mx.random.normal((3, BYTES), key=mx.random.key(3))
    found: Any = np.array(masked(logits, mx.array([0, 0, 0]), guards))
    expected: Any = np.array(logits)
    assert np.flatnonzero(np.isfinite(found[0])).tolist() == [97]
    assert (found[1] == expected[1]).all()
    assert np.flatnonzero(np.isfinite(found[2])).tolist() == [120, 121, 122]
    assert (found[np.isfinite(found)] == expected[np.isfinite(found)]).all()


def test_a_batch_without_guards_is_left_alone() -> None:
    logits = mx.zeros((2, BYTES))
    assert masked(logits, mx.array([0, 0]), [None, None]) is logits


def test_a_batch_whose_grammars_are_over_is_left_alone() -> None:
    guard = bytes_grammars().guard(lark('"a"'))
    follow(guard, [*b"a", 256])
    logits = mx.zeros((2, BYTES))
    assert masked(logits, mx.array([256, 0]), [guard, None]) is logits


def batch() -> Batch:
    return Batch(
        RandomModel(vocabulary=BYTES).model, max_concurrency=4, prefill_step_size=16, grammars=bytes_grammars()
    )


def submission(grammar: str, *, seed: int = 1, tokens: int = 40) -> Submit:
    return Submit("", PROMPT, tokens, [256], Sampling(temperature=1.0, seed=seed), grammar)


def decoded(batch: Batch, *sequences: int, steps: int = 1_000) -> dict[int, bytes]:
    """What these rows say within so many steps, the token that ends a text left out."""
    texts: dict[int, list[int]] = {sequence: [] for sequence in sequences}
    for _ in range(steps):
        for each in batch.step().decoded if len(batch) else ():
            texts[each.sequence] += [each.token] if each.token < 256 else []
    return {sequence: bytes(text) for sequence, text in texts.items()}


def test_rows_follow_grammars_of_their_own() -> None:
    running = batch()
    digits, letters = (running.insert(submission(lark(rule))).sequence for rule in ("/[0-9]{9}/", "/[a-z]{4}/"))
    texts = decoded(running, digits, letters, steps=50)
    assert texts[digits].isdigit()
    assert len(texts[digits]) == 9
    assert texts[letters].islower()
    assert len(texts[letters]) == 4


def test_a_row_that_is_cancelled_in_the_middle_of_its_grammar_leaves_the_others_as_they_are() -> None:
    alone = batch()
    row = alone.insert(submission(lark("/[0-9]{30}/"))).sequence
    expected = decoded(alone, row, steps=50)[row]
    running = batch()
    first, kept, last = (
        running.insert(submission(lark(rule), seed=seed)).sequence
        for seed, rule in ((5, "/[a-f]{30}/"), (1, "/[0-9]{30}/"), (6, "/[g-z]{30}/"))
    )
    before = decoded(running, first, kept, last, steps=12)
    running.remove(first)
    running.remove(last)
    added = running.insert(submission(lark("/[A-Z]{5}/"))).sequence
    behind = decoded(running, kept, added, steps=50)
    assert before[first]
    assert before[kept] + behind[kept] == expected
    assert behind[added].isupper()
    assert len(running) == 0


def test_a_request_whose_grammar_is_none_is_refused_alone() -> None:
    running = batch()
    row = running.insert(submission(lark("/[0-9]{9}/"))).sequence
    with pytest.raises(ValueError, match="can not be compiled"):
        running.insert(submission("no grammar"))
    assert decoded(running, row, steps=30)[row].isdigit()
