"""How the next token of every row is chosen: penalties, biases, temperature, truncation, seeds, log probabilities.

One call serves the whole batch and only builds graph: nothing here waits for the device or reads a value from it. The
vocabulary is 201,088 wide, so whatever sorts or exponentiates it is done for the rows that need it and no others.
Knows no requests and no sockets. Randomness comes from the host, one number per row and token: the same seed draws
the same numbers whatever else is in the batch, on any device.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, cast

import mlx.core as mx

from llm_server.conversation import GenerationDefaults, Sampling
from llm_server.engine.guard import Guard
from llm_server.engine.types import Logprobs

LogitsProcessor: TypeAlias = Callable[[mx.array, mx.array], mx.array]
"""(tokens so far (length,), logits (1, vocabulary)) → logits (1, vocabulary)."""

Report: TypeAlias = tuple[mx.array, mx.array, mx.array]
"""Log probability of the chosen token (), ids (n,) and log probabilities (n,) of the likeliest ones."""

_COLDEST: Final = 1e-4
"""Below this temperature float32 has nothing left but the likeliest token."""

_NEVER: Final = -40.0
"""Relative log weight of what is never sampled: all of a vocabulary at this level is far below float32's resolution."""

_SEARCH_STEPS: Final = 18
"""Halvings of the range `_NEVER`..0: levels are exact to 2e-4, so only as good as equal tokens are kept together."""

_LAST_UNIFORM: Final = 1.0 - 2.0**-22
"""Still below 1 after rounding to float32 and multiplying, so a draw never falls behind the last possible token."""

_BLOCK: Final = 128


class RowSampler:
    """The sampling parameters, the random numbers and the guard of one request."""

    def __init__(self, sampling: Sampling, guard: Guard | None = None) -> None:
        self.guard = guard
        settled = sampling.settled(GenerationDefaults())
        self.greedy = settled.temperature < _COLDEST
        self.temperature = max(settled.temperature, _COLDEST)
        self.top_p = max(settled.top_p, 1e-6)
        self.top_k = settled.top_k
        self.min_p = settled.min_p
        self.top_logprobs = sampling.top_logprobs
        self._random = random.Random(sampling.seed)

    def draw(self) -> float:
        """The next number in [0, 1) of this request's own sequence."""
        return min(self._random.random(), _LAST_UNIFORM)


def choose(logits: mx.array, samplers: Sequence[RowSampler]) -> mx.array:
    """The next token of each row (rows,), uint32, for logits (rows, vocabulary)."""
    drawn = [row for row, sampler in enumerate(samplers) if not sampler.greedy]
    if len(drawn) == len(samplers):
        return _sample(logits, samplers)
    tokens = mx.argmax(logits, axis=-1)
    if drawn:
        rows = mx.array(drawn)
        tokens[rows] = _sample(logits[rows], [samplers[row] for row in drawn])
    return tokens


def reports(logits: mx.array, tokens: mx.array, samplers: Sequence[RowSampler]) -> list[Report | None]:
    """Log probabilities for the rows that asked for them, of the whole distribution at temperature 1."""
    return [
        None if sampler.top_logprobs is None else _report(logits[row], tokens[row], sampler.top_logprobs)
        for row, sampler in enumerate(samplers)
    ]


def read_report(report: Report) -> Logprobs:
    """The numbers of a report that the device has computed. Tokens that can not occur have none."""
    chosen, ids, logprobs = (array.tolist() for array in report)
    top = zip(cast(list[int], ids), cast(list[float], logprobs), strict=True)
    return Logprobs(cast(float, chosen), [(token, logprob) for token, logprob in top if math.isfinite(logprob)])


def processors(sampling: Sampling, prompt: Sequence[int]) -> tuple[LogitsProcessor, ...]:
    """What changes a request's logits before it samples, in order. Empty for a request without penalties and biases."""
    chain: list[LogitsProcessor] = []
    repetition_penalty = sampling.settled(GenerationDefaults()).repetition_penalty
    if repetition_penalty != 1.0:
        chain.append(_repetition_penalty(repetition_penalty, prompt))
    if sampling.frequency_penalty or sampling.presence_penalty:
        chain.append(_occurrence_penalties(sampling.frequency_penalty, sampling.presence_penalty, len(prompt)))
    if sampling.logit_bias:
        chain.append(_logit_bias(sampling))
    return tuple(chain)


def _repetition_penalty(penalty: float, prompt: Sequence[int]) -> LogitsProcessor:
    """CTRL (arXiv:1909.05858): every token of the prompt and the answer becomes less likely, however often it came."""
    in_prompt = mx.array(sorted(set(prompt)), dtype=mx.int32)

    def process(tokens: mx.array, logits: mx.array) -> mx.array:
        seen = mx.concatenate([in_prompt, tokens[len(prompt) :]])
        scores = logits[:, seen]
        logits[:, seen] = mx.where(scores < 0, scores * penalty, scores / penalty)
        return logits

    return process


def _occurrence_penalties(frequency: float, presence: float, prompt_length: int) -> LogitsProcessor:
    """OpenAI's: subtract `frequency` for each time, `presence` once, that the token came in the answer so far."""

    def process(tokens: mx.array, logits: mx.array) -> mx.array:
        generated = tokens[prompt_length:]
        if generated.size == 0:
            return logits
        logits = logits.at[:, generated].subtract(frequency)
        logits[:, generated] = logits[:, generated] - presence
        return logits

    return process


def _logit_bias(sampling: Sampling) -> LogitsProcessor:
    ids = mx.array(list(sampling.logit_bias), dtype=mx.int32)
    biases = mx.array(list(sampling.logit_bias.values()), dtype=mx.float32)
    return lambda _, logits: logits.at[:, ids].add(biases)


def _sample(logits: mx.array, samplers: Sequence[RowSampler]) -> mx.array:
    """Temperature, then min-p, top-k and top-p, each on what the one before has left, then a draw."""
    scaled = logits / _column([sampler.temperature for sampler in samplers])  # in float32, like the column
    levels = scaled - mx.max(scaled, axis=-1, keepdims=True)
    weights = mx.exp(levels)
    if any(sampler.min_p > 0 for sampler in samplers):
        weights = mx.where(weights >= _column([sampler.min_p for sampler in samplers]), weights, 0)
    if any(0 < sampler.top_k < logits.shape[-1] for sampler in samplers):
        weights = mx.where(levels >= _top_k_level(levels, samplers), weights, 0)
    if any(sampler.top_p < 1 for sampler in samplers):
        top_p = _column([sampler.top_p for sampler in samplers])
        weights = mx.where(levels >= _nucleus_level(levels, weights, top_p), weights, 0)
    return _draw(weights, _column([sampler.draw() for sampler in samplers]))


def _top_k_level(levels: mx.array, samplers: Sequence[RowSampler]) -> mx.array:
    """The level (rows, 1) of each row's k-th likeliest token, minus infinity for a row without a limit."""
    width = levels.shape[-1]
    limits = [sampler.top_k if 0 < sampler.top_k < width else 0 for sampler in samplers]
    best, _ = _largest(levels, max(limits))
    kth = mx.take_along_axis(best, mx.array([[max(limit - 1, 0)] for limit in limits]), axis=-1)
    return mx.where(mx.array([[limit > 0] for limit in limits]), kth, -mx.inf)


def _nucleus_level(levels: mx.array, weights: mx.array, top_p: mx.array) -> mx.array:
    """The highest level (rows, 1) at or above which there is at least `top_p` of the weight, found by halving.

    Sorting 201,088 numbers takes several times as long, on a CPU and on a GPU.
    """
    wanted = top_p * mx.sum(weights, axis=-1, keepdims=True)
    low = mx.full(wanted.shape, _NEVER)
    high = mx.full(wanted.shape, 1.0)
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        enough = mx.sum(mx.where(levels >= middle, weights, 0), axis=-1, keepdims=True) >= wanted
        low, high = mx.where(enough, middle, low), mx.where(enough, high, middle)
    return low


def _draw(weights: mx.array, uniforms: mx.array) -> mx.array:
    """The token (rows,) at which the cumulated weight passes `uniforms` (rows, 1) of its total.

    First the block is found and then the token in it: shorter sums are more exact, and parallel on a GPU. A token of
    weight 0 is never drawn, because the sum does not rise on it.
    """
    blocks = _in_blocks(weights, 0.0)
    sums = mx.sum(blocks, axis=-1)
    passed = mx.cumsum(sums, axis=-1)
    target = uniforms * passed[:, -1:]
    block = _first_above(passed, target)
    weight = mx.take_along_axis(sums, block, axis=-1)
    rest = (target - (mx.take_along_axis(passed, block, axis=-1) - weight)) / weight
    inner = mx.cumsum(mx.take_along_axis(blocks, block[..., None], axis=1)[:, 0], axis=-1)
    token = _first_above(inner, mx.clip(rest, 0.0, _LAST_UNIFORM) * inner[:, -1:])
    return (block * _BLOCK + token)[:, 0].astype(mx.uint32)


def _first_above(rising: mx.array, target: mx.array) -> mx.array:
    """Index (rows, 1) of the first element of each row of `rising` that is above `target` (rows, 1)."""
    return mx.sum(rising <= target, axis=-1, keepdims=True)


def _report(logits: mx.array, token: mx.array, count: int) -> Report:
    """See `Report`. The sum is taken in two stages, because one of 201,088 float32 numbers is off by a few 1e-4."""
    scores = logits.astype(mx.float32)
    best = mx.max(scores)
    total = mx.sum(mx.sum(_in_blocks(mx.exp(scores - best)[None], 0.0), axis=-1))
    logprobs = scores - (best + mx.log(total))
    if count == 0:
        return logprobs[token], mx.array([], dtype=mx.uint32), mx.array([])
    top, ids = _largest(logprobs[None], min(count, logits.size))
    return logprobs[token], ids[0], top[0]


def _largest(values: mx.array, count: int) -> tuple[mx.array, mx.array]:
    """The `count` largest of each row and their indices, both (rows, count), largest first.

    They lie in the `count` blocks with the largest maxima, so only that many blocks are sorted.
    """
    blocks = _in_blocks(values, -mx.inf)
    maxima = mx.max(blocks, axis=-1)
    few = min(count, maxima.shape[-1])
    chosen = mx.argpartition(-maxima, kth=few - 1, axis=-1)[:, :few, None]
    candidates = mx.take_along_axis(blocks, chosen, axis=1).reshape(values.shape[0], -1)
    indices = (chosen * _BLOCK + mx.arange(_BLOCK)).reshape(values.shape[0], -1)
    order = mx.argsort(-candidates, axis=-1)[:, :count]
    return mx.take_along_axis(candidates, order, axis=-1), mx.take_along_axis(indices, order, axis=-1)


def _in_blocks(values: mx.array, filler: float) -> mx.array:
    """(rows, width) as (rows, blocks, 128), the last block filled up."""
    missing = -values.shape[-1] % _BLOCK
    if missing:
        values = mx.pad(values, [(0, 0), (0, missing)], constant_values=filler)
    return values.reshape(values.shape[0], -1, _BLOCK)


def _column(numbers: list[float]) -> mx.array:
    return mx.array(numbers, dtype=mx.float32)[:, None]
