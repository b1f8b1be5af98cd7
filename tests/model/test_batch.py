"""Continuous batching: what a request gets does not depend on who else is in the batch, joins it or leaves it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from llm_server.conversation import Sampling
from llm_server.engine.batch import Batch
from llm_server.engine.decoder import Decoded
from llm_server.engine.types import Submit
from random_model import VOCABULARY, WINDOW, RandomModel

GREEDY = Sampling(temperature=0.0)
CHUNK = 48

LENGTHS = [1, 2, 5, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 2, 100, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2, 200, 300]
"""Prompts of every relation to a chunk and to the sliding window."""


def prompt(length: int, seed: int = 0) -> list[int]:
    return random.Random(1000 * seed + length).choices(range(VOCABULARY), k=length)


def submission(length: int, max_tokens: int, sampling: Sampling = GREEDY, *, seed: int = 0) -> Submit:
    return Submit(f"{length}/{seed}", prompt(length, seed), max_tokens, [], sampling)


def new_batch(model: Any, max_concurrency: int = 32) -> Batch:
    return Batch(model, max_concurrency=max_concurrency, prefill_step_size=CHUNK)


class Run:
    """A batch, the submissions that were put into it, and the tokens that each got."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.decoded: dict[int, list[Decoded]] = {}

    def insert(self, submission: Submit) -> int:
        sequence = self.batch.insert(submission).sequence
        self.decoded[sequence] = []
        return sequence

    def step(self) -> int:
        """Returns the prompt tokens that were read."""
        step = self.batch.step()
        for decoded in step.decoded:
            self.decoded[decoded.sequence].append(decoded)
        return step.prefill_tokens

    def finish(self) -> None:
        while len(self.batch):
            self.step()

    def tokens(self, sequence: int) -> list[int]:
        return [decoded.token for decoded in self.decoded[sequence]]


def alone(model: Any, submission: Submit) -> list[int]:
    run = Run(new_batch(model))
    sequence = run.insert(submission)
    run.finish()
    return run.tokens(sequence)


def together(model: Any, submissions: Iterable[Submit]) -> list[list[int]]:
    run = Run(new_batch(model))
    sequences = [run.insert(submission) for submission in submissions]
    run.finish()
    return [run.tokens(sequence) for sequence in sequences]


@pytest.mark.parametrize("length", LENGTHS)
def test_alone_it_says_what_the_model_says_without_any_cache(random_model: RandomModel, length: int) -> None:
    expected = random_model.greedy(prompt(length), 30)
    assert alone(random_model.model, submission(length, 30)) == expected


def test_the_test_model_depends_on_what_lies_behind_the_window(random_model: RandomModel) -> None:
    """Else the other tests would pass with a cache that loses it."""
    changed = prompt(300)
    changed[3] = (changed[3] + 1) % VOCABULARY
    assert not np.allclose(random_model.logits(changed), random_model.logits(prompt(300)), atol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_greedy_answers_are_the_same_whoever_joins_and_leaves(random_model: RandomModel, seed: int) -> None:
    """Prompts and answers of many lengths, joining and aborted at random steps."""
    chance = random.Random(seed)
    submissions = [submission(length, chance.choice([1, 7, 40, 140]), seed=seed) for length in LENGTHS]
    expected = [alone(random_model.model, each) for each in submissions]
    run = Run(new_batch(random_model.model, max_concurrency=8))
    joined: dict[int, int] = {}
    aborted: set[int] = set()
    todo = chance.sample(range(len(submissions)), k=len(submissions))
    while todo or len(run.batch):
        if todo and chance.random() < 0.3:
            place = todo.pop()
            joined[run.insert(submissions[place])] = place
        if chance.random() < 0.02:
            leaver = chance.choice(list(joined))
            run.batch.remove(leaver)
            aborted.add(leaver)
        run.step()
    assert len(joined) == len(submissions)
    for sequence, place in joined.items():
        tokens = run.tokens(sequence)
        assert tokens == expected[place][: len(tokens)]
        assert sequence in aborted or len(tokens) == len(expected[place])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(seed=1),
        Sampling(seed=2, temperature=0.7, top_p=0.9),
        Sampling(seed=3, top_k=20, min_p=0.01, repetition_penalty=1.2),
        Sampling(seed=4, presence_penalty=1.0, frequency_penalty=0.5, logit_bias={5: 3.0}),
        Sampling(temperature=0.0, frequency_penalty=1.0, top_logprobs=5),
    ],
)
def test_a_seed_gives_the_same_answer_alone_and_in_any_batch(random_model: RandomModel, sampling: Sampling) -> None:
    seeded = submission(60, 90, sampling)
    expected = alone(random_model.model, seeded)
    others = [
        submission(130, 60, Sampling(seed=8, temperature=1.5)),
        submission(7, 100, Sampling()),
        submission(200, 20, Sampling(logit_bias={1: -100.0})),
    ]
    for place in range(4):
        assert together(random_model.model, [*others[:place], seeded, *others[place:]])[place] == expected
    assert len(set(expected)) > 10


def test_requests_without_a_seed_differ(random_model: RandomModel) -> None:
    first, second = together(random_model.model, [submission(20, 30, Sampling(temperature=2.0))] * 2)
    assert first != second


@pytest.mark.parametrize(
    "penalties", [{"presence_penalty": 1.5}, {"frequency_penalty": 0.8}, {"repetition_penalty": 1.5}]
)
def test_penalties_see_every_token_up_to_the_last(random_model: RandomModel, penalties: dict[str, Any]) -> None:
    """A request that is decoded step by step, with the device one token ahead, against the definitions."""
    tokens = prompt(20)
    for _ in range(60):
        logits = np.array(random_model.logits(tokens))
        answer = tokens[20:]
        for token in set(answer):
            logits[token] -= penalties.get("presence_penalty", 0.0)
            logits[token] -= penalties.get("frequency_penalty", 0.0) * answer.count(token)
        for token in set(tokens):
            penalty = penalties.get("repetition_penalty", 1.0)
            logits[token] = logits[token] * penalty if logits[token] < 0 else logits[token] / penalty
        tokens.append(int(logits.argmax()))
    sampling = Sampling(temperature=0.0, **penalties)
    assert together(random_model.model, [submission(20, 60, sampling), submission(9, 30)])[0] == tokens[20:]


def test_log_probabilities_belong_to_the_token_they_come_with(random_model: RandomModel) -> None:
    run = Run(new_batch(random_model.model))
    wanted = run.insert(submission(40, 20, Sampling(seed=1, temperature=1.3, top_k=5, top_logprobs=4)))
    other = run.insert(submission(90, 30))
    run.finish()
    assert {decoded.logprobs for decoded in run.decoded[other]} == {None}
    tokens = prompt(40)
    for decoded in run.decoded[wanted]:
        logits = np.array(random_model.logits(tokens), dtype=np.float64)
        expected = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        assert decoded.logprobs is not None
        assert decoded.logprobs.chosen == pytest.approx(expected[decoded.token], abs=1e-3)
        assert [token for token, _ in decoded.logprobs.top] == np.argsort(-expected)[:4].tolist()
        tokens.append(decoded.token)


def in_queue(run: Run, victim: Callable[[], int]) -> int:
    """More prompts than are read at once, so that the last one has not been touched."""
    for number in range(8):
        run.insert(submission(200, 3, seed=50 + number))
    sequence = victim()
    run.step()
    assert len(run.batch) == 9 + 2
    return sequence


def in_prefill(run: Run, victim: Callable[[], int]) -> int:
    sequence = victim()
    assert run.step() == CHUNK
    return sequence


def in_decode(run: Run, victim: Callable[[], int]) -> int:
    sequence = victim()
    while not run.decoded[sequence]:
        run.step()
    return sequence


@pytest.mark.parametrize("state", [in_queue, in_prefill, in_decode])
def test_an_abort_frees_the_sequence_and_changes_nobody_elses_tokens(
    random_model: RandomModel, state: Callable[[Run, Callable[[], int]], int]
) -> None:
    submissions = [submission(150, 60), submission(20, 80)]
    expected = [alone(random_model.model, each) for each in submissions]
    run = Run(new_batch(random_model.model))
    others = [run.insert(each) for each in submissions]
    while not all(run.decoded.values()):
        run.step()
    victim = state(run, lambda: run.insert(submission(300, 60)))
    got = len(run.decoded[victim])
    size = len(run.batch)
    run.batch.remove(victim)
    assert len(run.batch) == size - 1
    run.finish()
    assert len(run.decoded[victim]) == got
    assert [run.tokens(sequence) for sequence in others] == expected


def test_removing_what_has_finished_or_never_was_is_no_error(random_model: RandomModel) -> None:
    run = Run(new_batch(random_model.model))
    done = run.insert(submission(5, 1))
    run.finish()
    stays = run.insert(submission(5, 2))
    run.batch.remove(done)
    run.batch.remove(12345)
    run.finish()
    assert len(run.tokens(stays)) == 2


def test_a_step_reads_no_more_than_a_chunk_while_everyone_else_gets_a_token(random_model: RandomModel) -> None:
    """However many long prompts come in, the next token of a running stream is one chunk away."""
    run = Run(new_batch(random_model.model))
    running = [run.insert(submission(length, 200)) for length in (1, 2)]
    while not all(run.decoded.values()):
        run.step()
    for number in range(12):
        run.insert(submission(300, 1, seed=number))
    while len(run.batch) > 2:
        before = [len(run.tokens(sequence)) for sequence in running]
        assert run.step() <= CHUNK + 8  # the last token of each prompt is read as a decode step
        assert [len(run.tokens(sequence)) for sequence in running] == [count + 1 for count in before]


def test_every_prompt_token_is_counted_once(random_model: RandomModel) -> None:
    run = Run(new_batch(random_model.model))
    lengths = [1, CHUNK, 200]
    for length in lengths:
        run.insert(submission(length, 2))
    read = 0
    while len(run.batch):
        read += run.step()
    assert read == sum(lengths)


def test_a_request_ends_with_its_stop_token_or_at_its_limit(random_model: RandomModel) -> None:
    answer = alone(random_model.model, submission(100, 30))
    place = next(i for i, token in enumerate(answer) if token not in answer[:i] and i > 2)
    stopping = Submit("s", prompt(100), 30, [VOCABULARY - 1, answer[place]], GREEDY)
    run = Run(new_batch(random_model.model))
    stopped, limited = run.insert(stopping), run.insert(submission(100, place + 1))
    run.finish()
    assert run.tokens(stopped) == run.tokens(limited) == answer[: place + 1]
    assert [decoded.finish for decoded in run.decoded[stopped]] == [None] * place + ["stop"]
    assert [decoded.finish for decoded in run.decoded[limited]] == [None] * place + ["length"]


@pytest.mark.parametrize(
    "unusable",
    [
        Submit("empty", [], 5, [], GREEDY),
        Submit("no room", [1], 0, [], GREEDY),
        Submit("beyond", [1, VOCABULARY], 5, [], GREEDY),
        Submit("negative", [1, -1], 5, [], GREEDY),
        Submit("bias beyond", [1], 5, [], Sampling(logit_bias={VOCABULARY: 1.0})),
        Submit("bias negative", [1], 5, [], Sampling(logit_bias={-1: 1.0})),
    ],
    ids=lambda submission: submission.request_id,
)
def test_what_can_not_be_run_is_refused_and_leaves_no_trace(random_model: RandomModel, unusable: Submit) -> None:
    run = Run(new_batch(random_model.model))
    good = run.insert(submission(30, 10))
    with pytest.raises(ValueError, match=r"vocabulary|room"):
        run.batch.insert(unusable)
    run.finish()
    assert run.tokens(good) == alone(random_model.model, submission(30, 10))


def test_finished_sequences_give_their_memory_back(random_model: RandomModel) -> None:
    batch = new_batch(random_model.model)
    batch.warm_up()
    mx.synchronize()
    before = mx.get_active_memory()
    run = Run(batch)
    for length in (300, 200, 5):
        run.insert(submission(length, 40))
    aborted = run.insert(submission(280, 400))
    for _ in range(20):
        run.step()
    assert mx.get_active_memory() > before + 500_000
    run.batch.remove(aborted)
    run.finish()
    mx.synchronize()
    assert mx.get_active_memory() < before + 50_000


class FailingModel:
    """The model, until `failures` is set: then so many calls raise, as a failed command buffer or a full memory do."""

    def __init__(self, model: Any) -> None:
        self.args = model.args
        self.layers = model.layers
        self.failures = 0
        self.calls = 0
        self._model = model

    def make_cache(self) -> Any:
        return self._model.make_cache()

    def __call__(self, inputs: mx.array, cache: Any = None) -> mx.array:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")
        logits: mx.array = self._model(inputs, cache=cache)
        return logits


@pytest.mark.parametrize("steps", [0, 1, 6], ids=["first chunk", "between chunks", "decoding"])
def test_after_a_failed_step_a_reset_batch_is_as_good_as_new(random_model: RandomModel, steps: int) -> None:
    model = FailingModel(random_model.model)
    run = Run(new_batch(model))
    run.insert(submission(100, 40))
    run.insert(submission(60, 40))
    for _ in range(steps):
        run.step()
    model.failures = 1
    with pytest.raises(RuntimeError, match="Insufficient"):
        run.step()
    calls = model.calls
    run.batch.reset()
    assert len(run.batch) == 0
    assert model.calls - calls < 10  # enough to see that the device computes; the failed sequences go no further
    survivor = run.insert(submission(200, 20))
    run.finish()
    assert run.tokens(survivor) == alone(random_model.model, submission(200, 20))


def test_a_reset_on_a_lost_device_raises(random_model: RandomModel) -> None:
    model = FailingModel(random_model.model)
    batch = new_batch(model)
    model.failures = 1_000
    with pytest.raises(RuntimeError, match="Insufficient"):
        batch.reset()
