"""The prefix cache on MLX: state is read from a batch's caches into it, and given back as caches of a new sequence."""

# mypy: allow-untyped-calls
# (mx.eval has no annotations)

from __future__ import annotations

from typing import Any

import mlx.core as mx

from llm_server.engine.key_values import Caches, KeyValues, Layers
from llm_server.engine.prefix_cache import Match, PrefixCache
from llm_server.engine.types import PrefixCacheStatistics


class PromptStates:
    """Up to `budget` bytes of keys and values of prompts. With a budget of 0 nothing is known and nothing is kept."""

    def __init__(self, layers: Layers, budget: int) -> None:
        self._layers = layers
        self._cache = PrefixCache[KeyValues](budget=budget, window=self.window)
        self._fresh: list[mx.array] = []
        self.is_on = budget > 0

    @property
    def window(self) -> int:
        return self._layers.window

    @property
    def statistics(self) -> PrefixCacheStatistics:
        return self._cache.statistics

    def match(self, prompt: list[int]) -> tuple[Match[KeyValues], list[Any] | None]:
        """What is known of a prompt, and the caches to go on with; None to begin with empty ones."""
        if not self.is_on:
            return Match(0, 0, -1, []), None
        match = self._cache.match(prompt)
        return match, self._layers.restore(match.states, match.position) if match.position else None

    def keep(
        self, caches: Caches, row: int, tokens: list[int], *, since: int, asked: int, complete: bool, parted: int = 0
    ) -> bool:
        """Keep the state of a row of a batch, all of whose `tokens` are in its caches; see `PrefixCache.store`.

        Others of the known prompts went on differently after `parted` tokens. `settle` must follow before the batch's
        next step.
        """

        def read(start: int, stop: int) -> KeyValues:
            state = self._layers.read(caches, row, len(tokens), start, stop)
            self._fresh += state.arrays
            return state

        anchors = [parted, len(tokens)] if complete else [parted]
        return self._cache.store(tokens, read, since=since, asked=asked, complete=complete, anchors=anchors)

    def settle(self) -> None:
        """Compute what was kept, which until then refers to the batch's buffers."""
        if self._fresh:
            mx.eval(self._fresh)
            self._fresh.clear()

    def lend(self, nbytes: int) -> None:
        """Do without so much of the budget for now."""
        self._cache.lend(nbytes)

    def clear(self) -> None:
        self._fresh.clear()
        self._cache.clear()
