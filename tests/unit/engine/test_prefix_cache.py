"""The tree of known prompts, with states that remember which tokens they are of: what is found is right, and fits."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from llm_server.engine.prefix_cache import Match, PrefixCache

WINDOW = 8
TOKEN = 40 + 10
"""Bytes of a token without its window, which are ten more."""


@dataclass(frozen=True)
class TokenState:
    """The state of a run is the run itself."""

    tokens: tuple[int, ...]
    window: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return 10 * len(self.tokens) + 10 * len(self.window)

    @property
    def windowed(self) -> int:
        return len(self.window)

    def without_window(self) -> TokenState:
        return TokenState(self.tokens, ())

    def split(self, at: int) -> tuple[TokenState, TokenState]:
        before = len(self.tokens) - len(self.window)
        above = TokenState(self.tokens[:at], self.window[: max(0, at - before)])
        return above, TokenState(self.tokens[at:], self.window[max(0, at - before) :])


class Reader:
    """Reads sequences as a batch does: in chunks, while the windowed layers hold no more than a window and a chunk."""

    def __init__(self, budget: int = 10**9, chunk: int = 5) -> None:
        self.cache = PrefixCache[TokenState](budget=budget, window=WINDOW)
        self.chunk = chunk

    def read(self, prompt: list[int], answer: list[int] | None = None) -> Match[TokenState]:
        """Match a prompt, read the rest of it but for its last token, and decode an answer if there is one."""
        match = self.cache.match(prompt)
        position, kept = match.position, True
        while kept and position < len(prompt) - 1:
            since, position = position, min(position + self.chunk, len(prompt) - 1)
            kept = self.keep(prompt[:position], since, len(prompt), position == len(prompt) - 1, match.shared)
        if kept and answer:
            self.keep(prompt + answer, len(prompt) - 1, len(prompt), complete=True, chunk=1)
        return match

    def keep(
        self,
        tokens: list[int],
        since: int,
        asked: int,
        complete: bool,
        parted: int = 0,
        chunk: int | None = None,
    ) -> bool:
        held = WINDOW - 1 + (chunk or len(tokens) - since)

        def read(start: int, stop: int) -> TokenState:
            first = max(start, len(tokens) - held)
            return TokenState(tuple(tokens[start:stop]), tuple(tokens[first:stop]))

        anchors = [parted, len(tokens)] if complete else [parted]
        return self.cache.store(tokens, read, since=since, asked=asked, complete=complete, anchors=anchors)


def assert_right(match: Match[TokenState], prompt: list[int]) -> None:
    """The states are those of the prompt's beginning, and have the window from which it can be read on."""
    assert match.position < len(prompt)
    tokens = [token for state in match.states for token in state.tokens]
    assert tokens[: match.position] == prompt[: match.position]
    known = [known for state in match.states for known in _with_window(state)][: match.position]
    assert all(known[-min(WINDOW, match.position) :])


def _with_window(state: TokenState) -> list[bool]:
    without = len(state.tokens) - len(state.window)
    return [False] * without + [True] * len(state.window)


def tokens(count: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(1000), k=count)


@pytest.mark.parametrize("length", [2, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2, 3 * WINDOW, 50])
def test_a_prompt_that_goes_on_where_another_ended_is_read_from_there(length: int) -> None:
    reader = Reader()
    first = tokens(length)
    assert reader.read(first) == Match(0, 0, -1, [])
    second = reader.read([*first, *tokens(20, seed=1)])
    assert_right(second, [*first, *tokens(20, seed=1)])
    assert (second.position, second.shared, second.diverged_at) == (length - 1, length - 1, -1)


def test_the_last_token_is_always_read_because_the_answer_begins_with_it() -> None:
    reader = Reader()
    reader.read(tokens(50), answer=tokens(20, seed=2))
    again = reader.read(tokens(50))
    assert (again.position, again.diverged_at) == (49, -1)


def test_an_answer_that_comes_back_is_not_read_again() -> None:
    reader = Reader()
    prompt, answer = tokens(50), tokens(20, seed=2)
    reader.read(prompt, answer)
    following = [*prompt, *answer, *tokens(9, seed=3)]
    match = reader.read(following)
    assert match.position == 70
    assert_right(match, following)


def test_an_answer_that_does_not_come_back_costs_nothing_of_the_prompt() -> None:
    """The analysis of a finished turn is dropped: the next prompt leaves the known tokens right after the old one."""
    reader = Reader()
    prompt, answer = tokens(50), tokens(20, seed=2)
    reader.read(prompt, answer)
    following = [*prompt, answer[0], *tokens(9, seed=3)]
    match = reader.read(following)
    assert (match.position, match.shared) == (49, 51)
    assert_right(match, following)
    assert match.diverged_at == -1  # nothing that was asked before has changed


def test_the_first_token_that_differs_is_told() -> None:
    reader = Reader()
    reader.read(tokens(100))
    changed = tokens(100)
    changed[37] += 1
    match = reader.read(changed)
    assert (match.shared, match.diverged_at) == (37, 37)
    assert 37 - reader.chunk <= match.position <= 37
    assert_right(match, changed)
    assert reader.cache.match([5000, *tokens(9)]).diverged_at == 0


def test_a_place_where_prompts_part_serves_the_next_ones_exactly() -> None:
    reader = Reader()
    frame = tokens(83)
    for seed in range(1, 6):
        match = reader.read([*frame, 2000 + seed, *tokens(30, seed=seed)])
        assert_right(match, [*frame, 2000 + seed, *tokens(30, seed=seed)])
    assert match.position == match.diverged_at == len(frame)


def test_common_beginnings_are_kept_once() -> None:
    reader = Reader()
    frame = tokens(200)
    reader.read([*frame, 2000, *tokens(20, seed=1)])
    before = reader.cache.statistics.bytes
    reader.read([*frame, 2001, *tokens(20, seed=2)])
    assert reader.cache.statistics.bytes - before == 20 * (TOKEN + 10)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_what_is_found_is_right_and_fits(seed: int) -> None:
    """Sequences that share beginnings, read in chunks side by side, with evictions in between."""
    chance = random.Random(seed)
    budget = chance.choice([0, 500, 3_000, 20_000, 10**9])
    reader = Reader(budget, chunk=chance.choice([1, 3, WINDOW, 20]))
    known: list[list[int]] = [[]]
    for _ in range(120):
        base = chance.choice(known)
        prompt = base[: chance.randint(0, len(base))] + chance.choices(range(3), k=chance.randint(1, 40))
        answer = chance.choices(range(3), k=chance.randint(1, 30)) if chance.random() < 0.4 else None
        match = reader.read(prompt, answer)
        assert_right(match, prompt)
        if budget == 10**9:
            assert match.shared == max(_common(prompt, other) for other in known)
        elif chance.random() < 0.1:
            reader.cache.lend(chance.choice([0, budget // 2, budget]))
        known.append(prompt[:-1] if answer is None else prompt + answer)
        check_tree(reader.cache, budget)


def _common(first: list[int], second: list[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def check_tree(cache: PrefixCache[TokenState], budget: int) -> None:
    """Bytes are what the nodes add up to and within the budget; each node comes before its parent in the order."""
    order = list(cache._order)
    assert cache.statistics.bytes == sum(node.nbytes for node in order) <= budget
    places = {node: place for place, node in enumerate(order)}
    for node in order:
        assert list(node.state.tokens) == node.tokens
        assert 0 <= node.asked <= len(node.tokens)
        siblings = node.parent.children if node.parent else cache._roots
        assert siblings[node.tokens[0]] is node
        if node.parent is not None:
            assert places[node] < places[node.parent]
            assert node.start == node.parent.stop
    assert set(cache._thinnable) <= set(order)


def test_what_was_used_least_recently_goes_first() -> None:
    reader = Reader(budget=3 * 60 * (TOKEN + 10))
    prompts = [tokens(60, seed=seed) for seed in range(4)]
    for prompt in prompts[:3]:
        reader.read(prompt)
    assert reader.read(prompts[0]).position == 59
    reader.read(prompts[3])
    reader.read([*prompts[3], *tokens(30, seed=9)])
    positions = [reader.cache.match(prompt).position for prompt in prompts]
    assert positions[0] == positions[3] == 59
    assert positions[1] < 59


def test_a_shared_frame_outlives_many_prompts_that_come_once() -> None:
    reader = Reader(budget=200 * (TOKEN + 10))
    frame = tokens(60)
    for seed in range(3):
        reader.read([*frame, 2000 + seed, *tokens(10, seed=seed)])
    for seed in range(6):
        reader.read(tokens(70, seed=100 + seed))
    assert reader.cache.statistics.evictions["budget"] > 20
    assert reader.cache.match([*frame, 3000]).position > len(frame) // 2


def test_windows_go_before_anything_else_but_not_where_prompts_end_or_part() -> None:
    reader = Reader(budget=10**9)
    first, frame = tokens(400), 200
    reader.read(first)
    reader.read([*first[:frame], 2000, *tokens(30, seed=1)])
    full = reader.cache.statistics.bytes
    reader.cache.lend(10**9 - full + 3_000)
    statistics = reader.cache.statistics
    assert set(statistics.evictions) == {"window"}
    assert reader.cache.match([*first, 1]).position == 399
    assert reader.cache.match([*first[:frame], 3000]).position == frame
    assert reader.cache.match([*first[:300], 3000]).position < 300 - WINDOW


def test_a_window_that_was_given_up_comes_back_where_it_was_missed() -> None:
    reader = Reader(budget=10**9)
    first = tokens(400)
    reader.read(first)
    reader.cache.lend(10**9 - reader.cache.statistics.bytes + 3_000)
    reader.cache.lend(0)
    changed = [*first[:300], 2000]
    missed = reader.read([*changed, *tokens(20, seed=1)])
    assert missed.position < 300 - WINDOW
    assert reader.read([*changed, *tokens(20, seed=2)]).position == 301
    assert reader.cache.match([*first[:300], 3000]).position == 300


def test_memory_that_is_lent_is_given_up_at_once_and_comes_back() -> None:
    reader = Reader(budget=100 * (TOKEN + 10))
    reader.read(tokens(90))
    reader.cache.lend(60 * (TOKEN + 10))
    assert reader.cache.statistics.bytes <= 40 * (TOKEN + 10)
    assert reader.cache.statistics.evictions["memory"] > 0
    reader.cache.lend(0)
    reader.read(tokens(90))
    assert reader.cache.match(tokens(90)).position == 89


def test_a_sequence_whose_beginning_was_evicted_is_not_kept_further() -> None:
    reader = Reader(budget=10**9)
    prompt = tokens(100)
    assert reader.keep(prompt[:40], 0, 100, complete=False)
    reader.cache.lend(10**9)
    reader.cache.lend(0)
    assert not reader.keep(prompt[:80], 40, 100, complete=False)
    assert reader.cache.statistics.entries == 0


def test_tokens_are_counted_as_asked_for_and_as_spared() -> None:
    reader = Reader()
    reader.read(tokens(50))
    reader.read([*tokens(50), 7])
    statistics = reader.cache.statistics
    assert (statistics.queries_tokens, statistics.hits_tokens) == (50 + 51, 49)


def test_clearing_forgets_everything_and_says_so() -> None:
    reader = Reader()
    reader.read(tokens(50))
    entries = reader.cache.statistics.entries
    reader.cache.clear()
    assert reader.cache.statistics.evictions == {"reset": entries}
    assert (reader.cache.statistics.bytes, reader.cache.statistics.entries) == (0, 0)
    assert reader.cache.match(tokens(50)).position == 0
