"""What is known of a prompt changes how long it takes to read it, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from llm_server.conversation import Sampling
from llm_server.engine.batch import Batch
from llm_server.engine.decoder import Inserted
from llm_server.engine.key_values import KeyValues
from llm_server.engine.memory import MemoryPlan
from llm_server.engine.types import PrefixCacheStatistics, Submit
from random_model import VOCABULARY, WINDOW, RandomModel

GREEDY = Sampling(temperature=0.0)
CHUNK = 48
PLENTY = 10**9
LENGTHS = [2, 5, CHUNK, CHUNK + 1, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2, 2 * WINDOW, 300]


def tokens(count: int, seed: int = 0) -> list[int]:
    return random.Random(1000 * seed + count).choices(range(VOCABULARY), k=count)


def submission(prompt: list[int], max_tokens: int = 12, resumed: Iterable[int] = ()) -> Submit:
    """Ends at any of `resumed`, and says that its answer will then come back."""
    return Submit("", prompt, max_tokens, list(resumed), GREEDY, resumed_tokens=list(resumed))


@dataclass
class Run:
    """A batch, what became of the submissions that were put into it, and the prompt tokens that it has read."""

    batch: Batch
    inserted: list[Inserted] = field(default_factory=list)
    tokens: dict[int, list[int]] = field(default_factory=dict)
    read: int = 0

    def insert(self, submission: Submit) -> Inserted:
        inserted = self.batch.insert(submission)
        self.inserted.append(inserted)
        self.tokens[inserted.sequence] = []
        return inserted

    def step(self) -> None:
        step = self.batch.step()
        self.read += step.prefill_tokens
        for decoded in step.decoded:
            self.tokens[decoded.sequence].append(decoded.token)

    def finish(self) -> None:
        while len(self.batch):
            self.step()

    def answers(self, *submissions: Submit) -> list[list[int]]:
        """The submissions run together, each inserted as soon as it is ready, as the engine's loop does."""
        waiting = list(submissions)
        mine: list[int] = []
        while waiting or len(self.batch):
            while waiting and self.batch.ready(waiting[0]):
                mine.append(self.insert(waiting.pop(0)).sequence)
            self.step()
        return [self.tokens[sequence] for sequence in mine]


def limited_run(model: Any, kv_tokens: int, prefix_cache_bytes: int) -> Run:
    memory = MemoryPlan(kv_tokens, prefix_cache_bytes)
    return Run(Batch(model, max_concurrency=8, prefill_step_size=CHUNK, memory=memory))


def new_run(model: Any, prefix_cache_bytes: int = PLENTY, chunk: int = CHUNK) -> Run:
    return Run(
        Batch(
            model, max_concurrency=8, prefill_step_size=chunk, memory=MemoryPlan(prefix_cache_bytes=prefix_cache_bytes)
        )
    )


def statistics(run: Run) -> PrefixCacheStatistics:
    return run.batch.statistics().prefix_cache


@pytest.mark.parametrize("length", LENGTHS)
def test_a_second_turn_reads_what_is_new_and_says_the_same(random_model: RandomModel, length: int) -> None:
    second = submission([*tokens(length), *tokens(30, seed=1)], max_tokens=WINDOW + 20)
    [expected] = new_run(random_model.model, prefix_cache_bytes=0).answers(second)
    run = new_run(random_model.model)
    run.answers(submission(tokens(length)))
    run.read = 0
    assert run.answers(second) == [expected]
    assert run.inserted[-1].cached_tokens == length - 1
    assert run.inserted[-1].diverged_at == -1
    assert run.read == 31


def test_penalties_and_later_turns_see_all_tokens_also_those_that_were_known(random_model: RandomModel) -> None:
    sampling = Sampling(temperature=0.0, frequency_penalty=1.5, repetition_penalty=1.3)
    turns = [Submit("", tokens(330)[:length], 40, [], sampling) for length in (150, 240, 330)]
    run, plain = new_run(random_model.model), new_run(random_model.model, prefix_cache_bytes=0)
    for turn in turns:
        assert run.answers(turn) == plain.answers(turn)
    assert [each.cached_tokens for each in run.inserted] == [0, 149, 239]


@pytest.mark.parametrize("length", [5, WINDOW - 3, WINDOW + 40])
@pytest.mark.parametrize("answered", [3, WINDOW + 60])
def test_an_answer_that_comes_back_is_not_read_either(random_model: RandomModel, length: int, answered: int) -> None:
    plain, run = new_run(random_model.model, prefix_cache_bytes=0), new_run(random_model.model)
    [answer] = plain.answers(submission(tokens(length), max_tokens=answered))
    stop = answer[-1]
    said = answer[: answer.index(stop) + 1]
    assert run.answers(submission(tokens(length), max_tokens=answered, resumed=[stop])) == [said]
    following = submission([*tokens(length), *said, *tokens(20, seed=2)])
    assert run.answers(following) == plain.answers(following)
    assert run.inserted[-1].cached_tokens == length + len(said)


@pytest.mark.parametrize("seed", range(6))
def test_whoever_comes_with_whatever_prompt_gets_what_it_would_alone(random_model: RandomModel, seed: int) -> None:
    """Prompts that share beginnings of all lengths, in batches, some given up, with room for all or for little."""
    chance = random.Random(seed)
    chunk = chance.choice([7, CHUNK, 200])
    budget = [PLENTY, 300_000, 60_000][seed % 3]
    run = new_run(random_model.model, budget, chunk)
    plain = new_run(random_model.model, 0, 512)
    trunk = tokens(700)
    for _ in range(8):
        group = [_branch(chance, trunk) for _ in range(chance.choice([1, 2, 5]))]
        expected = plain.answers(*group)
        victim = run.insert(_branch(chance, trunk))
        for _ in range(chance.choice([0, 2, 9])):
            run.step()
        run.batch.remove(victim.sequence)
        assert run.answers(*group) == expected
        assert statistics(run).bytes <= budget
    share = statistics(run).hits_tokens / statistics(run).queries_tokens
    assert share > (0.3 if budget == PLENTY else 0)
    assert bool(statistics(run).evictions) == (budget != PLENTY)


def _branch(chance: random.Random, trunk: list[int]) -> Submit:
    length = chance.choice([0, 3, 100, WINDOW - 1, WINDOW, WINDOW + 1, 300, chance.randrange(len(trunk))])
    tail = chance.choices(range(VOCABULARY), k=chance.choice([1, 2, 50, 200]))
    return submission(trunk[:length] + tail, chance.choice([1, 5, 30]), resumed=range(0, VOCABULARY, 9))


def test_what_prompts_have_in_common_is_read_once_also_when_they_come_together(random_model: RandomModel) -> None:
    frame = tokens(400)
    group = [submission([*frame, place, *tokens(20, seed=place)]) for place in range(6)]
    expected = new_run(random_model.model, prefix_cache_bytes=0).answers(*group)
    run = new_run(random_model.model)
    assert run.answers(*group) == expected
    assert run.read < 421 + 5 * (21 + WINDOW)


def test_prompts_that_are_read_together_are_all_kept(random_model: RandomModel) -> None:
    """Of lengths that pad each other, in chunks smaller than the window."""
    prompts = [tokens(length, seed=3) for length in (30, 129, 131, 260, 300)]
    run = new_run(random_model.model)
    run.answers(*map(submission, prompts))
    seconds = [submission([*prompt, 1, 2, 3]) for prompt in prompts]
    expected = new_run(random_model.model, prefix_cache_bytes=0).answers(*seconds)
    assert run.answers(*seconds) == expected
    assert [each.cached_tokens for each in run.inserted[5:]] == [len(prompt) - 1 for prompt in prompts]


def test_a_prompt_that_was_given_up_is_read_on_where_that_was(random_model: RandomModel) -> None:
    run = new_run(random_model.model)
    victim = run.insert(submission(tokens(2000)))
    for _ in range(8):
        run.step()
    run.batch.remove(victim.sequence)
    assert len(run.batch) == 0
    again = run.insert(submission(tokens(2000)))
    assert 8 * CHUNK - WINDOW < again.cached_tokens <= 8 * CHUNK
    run.finish()
    assert [run.tokens[again.sequence]] == new_run(random_model.model, 0).answers(submission(tokens(2000)))


def test_who_waits_for_a_prompt_that_is_given_up_goes_on_by_itself(random_model: RandomModel) -> None:
    run = new_run(random_model.model)
    victim = run.insert(submission(tokens(1000)))
    follower = submission([*tokens(1000)[:900], 5, 6])
    run.step()
    assert not run.batch.ready(follower)
    run.batch.remove(victim.sequence)
    assert run.batch.ready(follower)
    assert run.answers(follower) == new_run(random_model.model, 0).answers(follower)


def test_nobody_can_change_what_is_kept_for_others(random_model: RandomModel) -> None:
    """Every array that is kept, number by number, after others were decoded on from it."""
    run = new_run(random_model.model)
    run.answers(submission(tokens(300)))
    kept = [array for state in _states(run) for array in state.arrays]
    before = [np.array(array) for array in kept]
    others = [submission([*tokens(length), *tokens(40, seed=length)], 60) for length in (300, 200, 140, 20)]
    expected = new_run(random_model.model, prefix_cache_bytes=0).answers(*others)
    for _ in range(2):
        assert run.answers(*others) == expected
    assert all(np.array_equal(array, copy) for array, copy in zip(map(np.array, kept), before, strict=True))


def _states(run: Run) -> list[KeyValues]:
    return [node.state for node in run.batch._states._cache._order]


def test_memory_is_what_the_budget_says(random_model: RandomModel) -> None:
    run = new_run(random_model.model, 200_000)
    run.batch.warm_up()
    mx.synchronize()
    before = mx.get_active_memory()
    for seed in range(6):
        run.answers(submission(tokens(300, seed=seed), resumed=range(0, VOCABULARY, 5)))
        run.answers(submission([*tokens(300, seed=seed)[: 50 * seed], 7, *tokens(60, seed=seed)]))
    mx.synchronize()
    assert 150_000 < statistics(run).bytes <= 200_000
    assert mx.get_active_memory() - before < 250_000


class FailingModel:
    """The model, until `fails` is set: then the next call raises."""

    def __init__(self, model: Any) -> None:
        self.args = model.args
        self.layers = model.layers
        self.fails = False
        self._model = model

    def make_cache(self) -> Any:
        return self._model.make_cache()

    def __call__(self, inputs: mx.array, cache: Any = None) -> mx.array:
        if self.fails:
            self.fails = False
            raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")
        logits: mx.array = self._model(inputs, cache=cache)
        return logits


def test_after_a_failed_step_nothing_is_known_and_everything_is_right(random_model: RandomModel) -> None:
    model = FailingModel(random_model.model)
    run = new_run(model)
    run.answers(submission(tokens(300)))
    run.insert(submission([*tokens(300), *tokens(200, seed=1)]))
    run.step()
    model.fails = True
    with pytest.raises(RuntimeError, match="Insufficient"):
        run.step()
    run.batch.reset()
    assert statistics(run).bytes == 0
    assert statistics(run).evictions["reset"] > 0
    following = submission([*tokens(300), 5])
    assert run.answers(following) == new_run(random_model.model, 0).answers(following)
    assert run.inserted[-1].cached_tokens == 0


def test_answers_that_grow_take_the_memory_of_what_is_known(random_model: RandomModel) -> None:
    run = limited_run(random_model.model, kv_tokens=330, prefix_cache_bytes=200_000)
    run.answers(submission(tokens(300)))
    known = statistics(run).bytes
    group = [submission(tokens(100, seed=seed), 150) for seed in (1, 2)]
    assert run.answers(*group) == new_run(random_model.model, 0).answers(*group)
    assert statistics(run).evictions
    assert statistics(run).bytes < known
    for _ in range(3):
        run.answers(submission(tokens(300)))
    assert run.inserted[-1].cached_tokens > 200


def test_when_no_memory_is_left_the_last_one_ends_and_the_first_goes_on(random_model: RandomModel) -> None:
    run = limited_run(random_model.model, kv_tokens=300, prefix_cache_bytes=0)
    group = [submission(tokens(100, seed=seed), 200) for seed in (1, 2)]
    whole, cut = new_run(random_model.model, 0).answers(*group)
    first, last = run.answers(*group)
    assert first == whole
    assert last == cut[: len(last)]
    assert 40 < len(last) < 60


def test_without_a_budget_nothing_is_kept(random_model: RandomModel) -> None:
    run = new_run(random_model.model, prefix_cache_bytes=0)
    run.answers(submission(tokens(300)))
    run.answers(submission(tokens(300)))
    assert run.inserted[-1] == Inserted(run.inserted[-1].sequence, 0, -1)
    assert statistics(run) == PrefixCacheStatistics()
