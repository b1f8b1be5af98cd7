"""Who runs, who waits, who is refused. Pure decisions: no MLX, no sockets, and no clock but the times it is told."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_FIRST_GUESS: Final = 5.0
"""Seconds a request is taken to run before any has."""

_WEIGHT_OF_LATEST: Final = 0.1
_SOONEST, _LATEST = 1.0, 60.0


@dataclass(slots=True)
class _Running:
    since: float
    tokens: int


class Scheduler(Generic[Key]):
    """First come, first served, up to `max_running` at once with `max_waiting` more behind them.

    In a batch every request takes as much memory as the longest one, so those who run are as many as `max_tokens`, the
    number of them times the tokens of the longest, allows; one alone always may. None: memory is no limit.
    """

    def __init__(self, *, max_running: int, max_waiting: int, max_tokens: int | None = None) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._max_tokens = max_tokens
        self._waiting: dict[Key, int] = {}
        self._running: dict[Key, _Running] = {}
        self._mean_seconds = _FIRST_GUESS

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether one more may join. A free slot counts as room even when nobody may wait."""
        return len(self._waiting) < self._max_waiting + self._max_running - len(self._running)

    @property
    def retry_after(self) -> float:
        """Seconds until those who wait now have probably started, at the pace of the latest requests."""
        seconds = self._mean_seconds * (len(self._waiting) + 1) / self._max_running
        return min(max(seconds, _SOONEST), _LATEST)

    def join(self, key: Key, tokens: int = 0) -> None:
        """Put a new request, which will probably have so many tokens, at the end of the queue.

        The caller has seen that there is room.
        """
        assert self.has_room, "the queue is full"
        assert key not in self._waiting, "a request joins once"
        assert key not in self._running, "a request joins once"
        self._waiting[key] = tokens

    def start(self, now: float) -> list[Key]:
        """Those whose turn has come, in order; they run from now on. Nobody overtakes one who is too long for now."""
        started = []
        for key, tokens in list(self._waiting.items()):
            if not self._fits(tokens):
                break
            del self._waiting[key]
            self._running[key] = _Running(now, tokens)
            started.append(key)
        return started

    def grow(self, key: Key, tokens: int) -> None:
        """A request that runs turns out to be longer than it was thought to become."""
        self._running[key].tokens = tokens

    def leave(self, key: Key, now: float) -> None:
        """A request has ended, or nobody wants it any more, wherever it is. An unknown one is no error."""
        self._waiting.pop(key, None)
        ended = self._running.pop(key, None)
        if ended is not None:
            self._mean_seconds += _WEIGHT_OF_LATEST * (now - ended.since - self._mean_seconds)

    def _fits(self, tokens: int) -> bool:
        if len(self._running) >= self._max_running:
            return False
        if self._max_tokens is None or not self._running:
            return True
        longest = max(tokens, *(running.tokens for running in self._running.values()))
        return longest * (len(self._running) + 1) <= self._max_tokens
