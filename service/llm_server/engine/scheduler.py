"""Who runs, who waits, who is refused. Pure decisions: no MLX, no sockets, and no clock but the times it is told."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_FIRST_GUESS: Final = 5.0
"""Seconds a request is taken to run before any has."""

_WEIGHT_OF_LATEST: Final = 0.1
_SOONEST, _LATEST = 1.0, 60.0


class Scheduler(Generic[Key]):
    """First come, first served, up to `max_running` at once with `max_waiting` more behind them."""

    def __init__(self, *, max_running: int, max_waiting: int) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._waiting: dict[Key, None] = {}
        self._running: dict[Key, float] = {}
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

    def join(self, key: Key) -> None:
        """Put a new request at the end of the queue. The caller has seen that there is room."""
        assert self.has_room, "the queue is full"
        assert key not in self._waiting, "a request joins once"
        assert key not in self._running, "a request joins once"
        self._waiting[key] = None

    def start(self, now: float) -> list[Key]:
        """Those whose turn has come, in order; they run from now on."""
        free = self._max_running - len(self._running)
        started = [key for key, _ in zip(self._waiting, range(free), strict=False)]
        for key in started:
            del self._waiting[key]
            self._running[key] = now
        return started

    def leave(self, key: Key, now: float) -> None:
        """A request has ended, or nobody wants it any more, wherever it is. An unknown one is no error."""
        self._waiting.pop(key, None)
        started = self._running.pop(key, None)
        if started is not None:
            self._mean_seconds += _WEIGHT_OF_LATEST * (now - started - self._mean_seconds)
