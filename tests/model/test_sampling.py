"""Penalties, biases, truncation, draws and log probabilities, against NumPy written from their definitions."""

from __future__ import annotations

import random
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from llm_server.conversation import Sampling
from llm_server.engine.sampling import RowSampler, choose, processors, read_report, reports

Numbers = npt.NDArray[Any]
WIDTHS = [300, 1571 * 128]


def logits_of(width: int, *, rows: int = 1, spread: float = 3.0, seed: int = 0) -> Numbers:
    return np.random.default_rng(seed).normal(0.0, spread, (rows, width)).astype(np.float32)


def softmax(logits: Numbers) -> Numbers:
    weights: Numbers = np.exp(logits.astype(np.float64) - logits.max())
    weights /= weights.sum()
    return weights


def kept(probabilities: Numbers, *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> set[int]:
    """The ids that min-p, then top-k, then top-p leave over."""
    floor = min_p * probabilities.max()
    order = [int(i) for i in np.argsort(-probabilities) if probabilities[i] >= floor][: top_k or None]
    total = probabilities[order].sum()
    mass = np.cumsum(probabilities[order]) / total
    return set(order[: int(np.searchsorted(mass, top_p - 1e-9)) + 1])


def numbers(tokens: mx.array) -> list[int]:
    return [int(token) for token in np.array(tokens)]


def draws(logits: Numbers, sampling: Sampling, count: int) -> list[int]:
    """`count` tokens that one request would draw from the same logits, one after the other."""
    sampler = RowSampler(sampling)
    return [numbers(choose(mx.array(logits), [sampler]))[0] for _ in range(count)]


def processed(sampling: Sampling, prompt: list[int], generated: list[int], logits: Numbers) -> Numbers:
    row = mx.array(logits)
    for process in processors(sampling, prompt):
        row = process(mx.array(prompt + generated, dtype=mx.int32), row)
    return np.array(row)


@pytest.mark.parametrize("width", WIDTHS)
def test_temperature_zero_takes_the_likeliest(width: int) -> None:
    logits = logits_of(width, rows=3)
    tokens = choose(mx.array(logits), [RowSampler(Sampling(temperature=0.0)) for _ in range(3)])
    assert tokens.tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "limits",
    [
        {"top_k": 1},
        {"top_k": 7},
        {"top_k": 150},
        {"top_p": 0.0},
        {"top_p": 0.3},
        {"top_p": 0.95},
        {"min_p": 0.2},
        {"top_k": 40, "top_p": 0.5},
        {"top_k": 40, "min_p": 0.1, "top_p": 0.9},
    ],
)
def test_truncation_draws_only_what_the_definitions_keep(width: int, limits: dict[str, Any]) -> None:
    logits = logits_of(width)
    allowed = kept(softmax(logits[0]), **limits)
    drawn = set(draws(logits, Sampling(seed=1, **limits), 200 if width == 300 else 15))
    assert drawn <= allowed
    # A set that is too narrow, or nothing at all, would show in how few different tokens come.
    assert len(drawn) >= min(len(allowed), 3)


def test_top_p_keeps_the_token_that_crosses_the_limit() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], dtype=np.float32))
    assert set(draws(logits, Sampling(seed=3, top_p=0.79), 200)) == {0, 1}
    assert set(draws(logits, Sampling(seed=3, top_p=0.81), 200)) == {0, 1, 2}


def test_limits_wider_than_the_vocabulary_keep_everything() -> None:
    logits = np.zeros((1, 5), dtype=np.float32)
    assert set(draws(logits, Sampling(seed=2, top_k=1000), 100)) == set(range(5))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    logits = logits_of(200, spread=1.5)
    expected = softmax(logits[0] / temperature)
    count = 20_000
    rows = mx.broadcast_to(mx.array(logits), (count, 200))
    samplers = [RowSampler(Sampling(temperature=temperature, seed=seed)) for seed in range(count)]
    tokens = np.array(choose(rows, samplers))
    frequencies = np.bincount(tokens, minlength=200) / count
    deviations = (frequencies - expected) / np.sqrt(expected * (1 - expected) / count)
    deviations = deviations[expected * count > 10]
    assert np.abs(deviations).max() < 4.5
    assert np.square(deviations).mean() < 1.5


def test_tokens_of_no_weight_are_never_drawn_even_at_the_ends_of_the_range() -> None:
    logits = np.full((1, 640), -np.inf, dtype=np.float32)
    logits[0, [130, 500]] = 0.0

    class Ends(RowSampler):
        def draw(self) -> float:
            return self.uniform

        uniform = 0.0

    sampler = Ends(Sampling())
    drawn = []
    for uniform in (0.0, 0.25, 0.4999, 0.5, 0.75, 1.0 - 2.0**-22):
        sampler.uniform = uniform
        drawn += numbers(choose(mx.array(logits), [sampler]))
    assert drawn == [130, 130, 130, 500, 500, 500]


def test_a_seed_gives_the_same_draws_alone_and_among_others() -> None:
    logits = logits_of(300, rows=40, spread=0.5)
    seeded = Sampling(seed=42, top_p=0.9)
    alone = RowSampler(seeded)
    expected = [numbers(choose(mx.array(logits[i : i + 1]), [alone]))[0] for i in range(40)]
    among = RowSampler(seeded)
    others = [RowSampler(Sampling(temperature=0.0)), RowSampler(Sampling(seed=7, top_k=3)), RowSampler(Sampling())]
    actual = []
    for i in range(40):
        place = i % 4
        batch = [*others[:place], among, *others[place:]]
        rows = np.insert(logits_of(300, rows=3, seed=i), place, logits[i], axis=0)
        actual.append(numbers(choose(mx.array(rows), batch))[place])
    assert actual == expected
    assert len(set(expected)) > 20


def test_unseeded_requests_draw_differently() -> None:
    logits = logits_of(300, spread=0.1)
    assert draws(logits, Sampling(), 12) != draws(logits, Sampling(), 12)


def test_a_tiny_temperature_is_greedy_and_finite() -> None:
    logits = logits_of(300)
    assert draws(logits, Sampling(temperature=1e-30), 5) == [int(logits.argmax())] * 5


def test_half_precision_logits_are_sampled_in_single_precision() -> None:
    logits = mx.array(logits_of(300)).astype(mx.bfloat16)
    sampler = RowSampler(Sampling(seed=1))
    exact = RowSampler(Sampling(seed=1))
    for _ in range(50):
        assert choose(logits, [sampler]).item() == choose(logits.astype(mx.float32), [exact]).item()


def test_occurrence_penalties_count_the_answer_and_not_the_prompt() -> None:
    logits = logits_of(20)
    sampling = Sampling(frequency_penalty=0.7, presence_penalty=0.4)
    expected = logits.copy()
    expected[0, 3] -= 3 * 0.7 + 0.4
    expected[0, 9] -= 0.7 + 0.4
    actual = processed(sampling, prompt=[3, 4, 5, 5], generated=[3, 9, 3, 3], logits=logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("sampling", "loss"), [(Sampling(frequency_penalty=1.0), 2.0), (Sampling(presence_penalty=1.0), 1.0)]
)
def test_each_occurrence_penalty_reaches_back_to_the_first_token(sampling: Sampling, loss: float) -> None:
    logits = logits_of(300)
    generated = list(range(250)) * 2
    expected = logits.copy()
    expected[0, :250] -= loss
    actual = processed(sampling, prompt=[299], generated=generated, logits=logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_negative_penalties_encourage() -> None:
    logits = np.zeros((1, 4), dtype=np.float32)
    actual = processed(Sampling(presence_penalty=-1.5), prompt=[0], generated=[2], logits=logits)
    assert actual.tolist() == [[0.0, 0.0, 1.5, 0.0]]


def test_repetition_penalty_divides_gains_and_multiplies_losses_once_each() -> None:
    logits = np.array([[2.0, -2.0, 4.0, -4.0, 1.0, -1.0]], dtype=np.float32)
    actual = processed(Sampling(repetition_penalty=2.0), prompt=[0, 1, 0], generated=[1, 2, 2], logits=logits)
    assert actual.tolist() == [[1.0, -4.0, 2.0, -4.0, 1.0, -1.0]]


def test_logit_bias_is_added_last_and_can_force_or_ban() -> None:
    logits = logits_of(50)
    banned = int(logits.argmax())
    sampling = Sampling(logit_bias={banned: -100.0, 7: 100.0}, repetition_penalty=2.0)
    expected = processed(Sampling(repetition_penalty=2.0), [banned, 7], [], logits)
    expected[0, banned] -= 100
    expected[0, 7] += 100
    np.testing.assert_allclose(processed(sampling, [banned, 7], [], logits), expected, rtol=1e-5)


def test_without_penalties_and_biases_nothing_is_processed() -> None:
    assert processors(Sampling(temperature=0.3, top_p=0.5, seed=1, top_logprobs=3), [1, 2]) == ()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_log_probabilities_are_those_of_the_whole_distribution(width: int, count: int) -> None:
    logits = logits_of(width, rows=2, seed=4)
    sampling = Sampling(temperature=0.2, top_k=2, seed=1, top_logprobs=count)
    samplers = [RowSampler(Sampling()), RowSampler(sampling)]
    tokens = mx.array([3, 5])
    nothing, report = reports(mx.array(logits), tokens, samplers)
    assert nothing is None
    assert report is not None
    expected = np.log(softmax(logits[1]))
    actual = read_report(report)
    assert actual.chosen == pytest.approx(expected[5], abs=1e-4)
    order = np.argsort(-expected)[:count]
    assert [token for token, _ in actual.top] == order.tolist()
    assert [logprob for _, logprob in actual.top] == pytest.approx(expected[order].tolist(), abs=1e-4)


def test_tokens_that_can_not_occur_are_no_alternatives() -> None:
    logits = np.full((1, 300), -np.inf, dtype=np.float32)
    logits[0, [4, 290]] = [1.0, 1.0]
    (report,) = reports(mx.array(logits), mx.array([4]), [RowSampler(Sampling(top_logprobs=20))])
    assert report is not None
    actual = read_report(report)
    assert sorted(token for token, _ in actual.top) == [4, 290]
    assert actual.chosen == pytest.approx(np.log(0.5), abs=1e-5)


def test_randomness_is_left_to_the_request() -> None:
    """The global generators decide nothing: other code may seed or use them."""
    logits = logits_of(300, spread=0.1)
    random.seed(1)
    mx.random.seed(1)
    first = draws(logits, Sampling(seed=5), 10)
    random.seed(2)
    mx.random.seed(2)
    assert draws(logits, Sampling(seed=5), 10) == first
