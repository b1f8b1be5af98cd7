"""Keys and values of runs of tokens: read from a batch's caches, kept as immutable arrays, made into caches again.

What is read is copied, and what is made of it is copied into the batch's own buffers, so nobody can write into what
another request reads. Knows mlx-lm's caches, and no requests and no policy.
"""

# mypy: allow-untyped-calls
# (most of mlx_lm has no annotations)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import mlx.core as mx
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache

from llm_server.engine.memory import TokenBytes

Caches: TypeAlias = Sequence[Any]
"""One cache of mlx-lm for each layer."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyValues:
    """`full` (2 * full layers, heads, tokens, head size): a layer's keys, then its values.

    `window` has those of the windowed layers for the last `windowed` tokens; None for none.
    """

    full: mx.array
    window: mx.array | None

    @property
    def arrays(self) -> list[mx.array]:
        return [self.full] if self.window is None else [self.full, self.window]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)

    @property
    def windowed(self) -> int:
        return 0 if self.window is None else self.window.shape[2]

    def without_window(self) -> KeyValues:
        return KeyValues(self.full, None)

    def split(self, at: int) -> tuple[KeyValues, KeyValues]:
        """See `prefix_cache.State`."""
        before_window = self.full.shape[2] - self.windowed
        above = KeyValues(self.full[:, :, :at], self._window(0, at - before_window))
        below = KeyValues(self.full[:, :, at:], self._window(max(0, at - before_window), self.windowed))
        return above.copied(), below.copied()

    def _window(self, start: int, stop: int) -> mx.array | None:
        return None if self.window is None or stop <= start else self.window[:, :, start:stop]

    def copied(self) -> KeyValues:
        """In memory of its own: a slice keeps all of what it is a part of."""
        copy = KeyValues(mx.contiguous(self.full), None if self.window is None else mx.contiguous(self.window))
        mx.eval(copy.arrays)
        return copy


class Layers:
    """Which layers of a model see everything and which a window of `window` tokens, and what their tokens take.

    Raises:
        ValueError: the model has no layers of one of the two kinds, or others besides.
    """

    def __init__(self, model: Any) -> None:
        caches = make_prompt_cache(model)
        self._full = [place for place, cache in enumerate(caches) if isinstance(cache, KVCache)]
        self._windowed = [place for place, cache in enumerate(caches) if isinstance(cache, RotatingKVCache)]
        if not self._full or not self._windowed or len(self._full) + len(self._windowed) != len(caches):
            raise ValueError("The model's layers are not those of gpt-oss.")
        self._count = len(caches)
        self.window: int = caches[self._windowed[0]].max_size
        model(mx.array([[0]]), cache=caches)
        self.token_bytes = TokenBytes(*(_token_bytes(caches, layers) for layers in (self._full, self._windowed)))

    def read(self, caches: Caches, row: int, length: int, start: int, stop: int) -> KeyValues:
        """Tokens `start` to `stop` of a row that has `length` tokens in the caches of a batch. To be evaluated soon:
        until then it refers to the batch's buffers, and keeps them from being written in place."""
        full = [_row(array, row, cache._idx - length, start, stop) for cache, array in _both(caches, self._full)]
        first = max(start, length - self._held(caches, row))
        if first >= stop:
            return KeyValues(mx.stack(full), None)
        window = [
            _windowed_row(cache, array, row, length, first, stop) for cache, array in _both(caches, self._windowed)
        ]
        return KeyValues(mx.stack(full), mx.stack(window))

    def restore(self, states: Sequence[KeyValues], position: int) -> list[Any]:
        """Caches of one sequence as they are after `position` tokens, of which `states` are the keys and values."""
        full = mx.concatenate([state.full for state in states], axis=2)[:, :, :position]
        window = self._window_before(states, position)
        caches: list[Any] = [None] * self._count
        for place, layer in enumerate(self._full):
            caches[layer] = KVCache()
            caches[layer].state = full[2 * place][None], full[2 * place + 1][None], position
        for place, layer in enumerate(self._windowed):
            caches[layer] = RotatingKVCache(max_size=self.window)
            keys, values = window[2 * place][None], window[2 * place + 1][None]
            caches[layer].state = keys, values, position, 0, self.window, keys.shape[2]
        return caches

    def _window_before(self, states: Sequence[KeyValues], position: int) -> mx.array:
        """Keys and values of the windowed layers for the window that ends at `position`."""
        missing = min(self.window, position)
        beyond = sum(state.full.shape[2] for state in states) - position
        parts: list[mx.array] = []
        for state in reversed(states):
            assert state.window is not None, "a match ends where there is a window"
            stop = state.windowed - beyond
            parts.insert(0, state.window[:, :, max(0, stop - missing) : stop])
            missing -= parts[0].shape[2]
            beyond = 0
            if not missing:
                break
        return mx.concatenate(parts, axis=2)

    def _held(self, caches: Caches, row: int) -> int:
        """How many of a row's last tokens the windowed layers still have."""
        cache = caches[self._windowed[0]]
        end = cache.keys.shape[2] if cache.rotated else cache._idx
        padding: list[int] = cache.left_padding.tolist()
        return int(end - max(0, padding[row]))


def _both(caches: Caches, layers: list[int]) -> list[tuple[Any, mx.array]]:
    """Keys and values of some layers, one after the other, with the cache that they are of."""
    return [(caches[layer], array) for layer in layers for array in (caches[layer].keys, caches[layer].values)]


def _token_bytes(caches: Caches, layers: list[int]) -> int:
    return sum(array.nbytes // array.shape[2] for _, array in _both(caches, layers))


def _row(array: mx.array, row: int, origin: int, start: int, stop: int) -> mx.array:
    """(heads, stop - start, head size) of a batch's buffer in which the row's first token is at `origin`."""
    return array[row, :, origin + start : origin + stop]


def _windowed_row(cache: Any, array: mx.array, row: int, length: int, start: int, stop: int) -> mx.array:
    """As `_row`; a buffer that has come full circle begins with the token that `_idx` points at."""
    if not cache.rotated:
        return _row(array, row, cache._idx - length, start, stop)
    ordered = mx.roll(array[row], -cache._idx, 1)
    origin = ordered.shape[1] - length
    return ordered[:, origin + start : origin + stop]
