"""gpt-oss's attention as a CPU computes it fastest: in tiles that stay in a core's cache, and on several cores at once.

MLX computes all scores of a chunk at once and, but for matrix products, on one core. Here queries are taken in blocks
and keys in tiles, with a softmax that is kept as it goes (FlashAttention, arXiv:2205.14135), so that tiles which a
block can not see cost nothing; and each group of heads is computed in a stream of its own, which is a thread. Knows
nothing of caches but what they return, and changes no result but by rounding.
"""

# mypy: allow-untyped-calls
# (most of mlx_lm has no annotations)

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import mlx.core as mx
from mlx.nn.layers.base import Module

FEW_TOKENS: Final = 32
"""Up to so many, what MLX does is as fast."""

BLOCK: Final = 128
"""Queries that are taken together."""

SCORES: Final = 512 * BLOCK
"""Scores that are computed together for each head: those of a block, for as many keys as it has room for."""


class Attention(Module):
    """An `AttentionBlock` of mlx_lm's gpt_oss that computes many tokens in tiles.

    `window` is how many keys a query sees, itself included, or None for all before it.
    """

    def __init__(self, attention: Any, window: int | None) -> None:
        super().__init__()
        self.attention = attention
        self.window = window
        self._streams = _streams(attention.num_key_value_heads)

    def __call__(self, x: mx.array, mask: Any, cache: Any = None) -> mx.array:
        if x.shape[1] <= FEW_TOKENS:
            return self.attention(x, mask, cache)  # type: ignore[no-any-return]
        block = self.attention
        queries, keys, values = (
            project(x).reshape(*x.shape[:2], -1, block.head_dim).swapaxes(1, 2)
            for project in (block.q_proj, block.k_proj, block.v_proj)
        )
        offset = cache.offset if cache is not None else 0
        queries, keys = block.rope(queries, offset=offset), block.rope(keys, offset=offset)
        if cache is not None:
            keys, values = cache.update_and_fetch(keys, values)
        seen = attended(queries * block.sm_scale, keys, values, block.sinks, mask, self.window, self._streams)
        return block.o_proj(seen.swapaxes(1, 2).reshape(*x.shape[:2], -1))  # type: ignore[no-any-return]


@cache
def _streams(heads: int) -> tuple[mx.Stream, ...]:
    """As many as there are cores, if the heads can be parted so. All layers share them, since each has a thread."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = next(count for count in range(min(cores, heads), 0, -1) if heads % count == 0)
    return tuple(mx.new_stream(mx.cpu) for _ in range(count))


def attended(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    sinks: mx.array,
    mask: Any,
    window: int | None,
    streams: Sequence[mx.Stream],
) -> mx.array:
    """What each query (batch, heads, tokens, dim) sees, in the same shape.

    Queries are scaled; keys and values (batch, key heads, all tokens, dim) end in those of the queries themselves.
    `mask` is "causal" or says which keys (…, tokens, all tokens) each query may see, at most those in its window.
    """
    batch, heads, tokens, dim = queries.shape
    groups = keys.shape[1]
    queries = queries.reshape(batch, groups, heads // groups, tokens, dim)
    sinks = sinks.reshape(1, groups, -1, 1, 1)
    share = groups // len(streams)
    parts: list[mx.array] = []
    for number, stream in enumerate(streams):
        own = slice(number * share, (number + 1) * share)
        with mx.stream(stream):
            part = _Part(queries[:, own], keys[:, own].swapaxes(-1, -2), values[:, own], sinks[:, own], mask, window)
            parts.append(mx.concatenate([part.block(first) for first in range(0, tokens, BLOCK)], axis=3))
    return mx.concatenate(parts, axis=1).reshape(batch, heads, tokens, dim)


@dataclass(frozen=True)
class _Part:
    """Some groups of heads: queries (batch, groups, heads of each, tokens, dim), keys with their dimension first."""

    queries: mx.array
    keys: mx.array
    values: mx.array
    sinks: mx.array
    mask: Any
    window: int | None

    def block(self, first: int) -> mx.array:
        """What the queries from `first` on see (batch, groups, heads of each, BLOCK or fewer, dim)."""
        queries = self.queries[..., first : first + BLOCK, :]
        shape = queries.shape
        queries = queries.flatten(2, 3)
        place = self.keys.shape[-1] - self.queries.shape[-2] + first
        lowest = 0 if self.window is None else max(0, place - self.window + 1)
        end = place + shape[3]
        # The sink is a key with a value of zero: the first that each query sees.
        highest = mx.broadcast_to(self.sinks, (*shape[:4], 1)).flatten(2, 3)
        total, seen = mx.ones_like(highest), mx.zeros_like(queries)
        room = SCORES // shape[3]
        for start in range(lowest, end, room):
            tile = slice(start, min(start + room, end))
            scores = self._masked(queries @ self.keys[..., tile], first, place, tile, shape)
            before, highest = highest, mx.maximum(highest, scores.max(axis=-1, keepdims=True))
            weights, kept = mx.exp(scores - highest), mx.exp(before - highest)
            total = total * kept + weights.sum(axis=-1, keepdims=True)
            seen = seen * kept + weights @ self.values[:, :, tile]
        return (seen / total).reshape(shape)

    def _masked(self, scores: mx.array, first: int, place: int, tile: slice, shape: tuple[int, ...]) -> mx.array:
        """Scores (batch, groups, heads of each * queries, keys of the tile), -inf where a query may not look."""
        if isinstance(self.mask, mx.array):
            allowed = self.mask[..., first : first + shape[3], tile]
            allowed = allowed[:, :, None] if allowed.ndim == 4 else allowed
        elif tile.stop > place + 1 or self.window is not None:
            behind = mx.arange(place, place + shape[3])[:, None] - mx.arange(tile.start, tile.stop)
            allowed = behind >= 0 if self.window is None else (behind >= 0) & (behind < self.window)
        else:
            return scores
        masked: mx.array = mx.where(allowed, scores.reshape(*shape[:4], -1), -mx.inf)
        return masked.flatten(2, 3)
