"""Stop strings: text of the final channel in, the same text out until one of the caller's strings begins.

Sans-I/O: events in, events out. What might be the start of a stop string is held back until the next text decides.
Reasoning, preambles and tool arguments pass untouched, because a stop string is about the answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from llm_server.events import BlockDelta, BlockStart, BlockStop, Event, TokenLogprob


class StopStrings:
    """Watches one answer for `strings`. `matched` is the one that ended it; afterwards every event is swallowed."""

    def __init__(self, strings: Iterable[str]) -> None:
        self.strings = tuple(string for string in strings if string)
        self._watching = False
        self._held = ""
        self._logprobs: tuple[TokenLogprob, ...] = ()
        self.matched: str | None = None

    def feed(self, event: Event) -> list[Event]:
        """Every event of `event` that may be shown now. A match closes the open block."""
        if self.matched is not None:
            return []
        match event:
            case BlockStart(kind=kind, preamble=preamble):
                self._watching = bool(self.strings) and kind == "text" and not preamble
            case BlockDelta() if self._watching:
                return self._text(event)
            case BlockStop(index=index) if self._watching:
                return [*self._release(index, len(self._held)), event]
        return [event]

    def _text(self, delta: BlockDelta) -> list[Event]:
        self._held += delta.text
        self._logprobs += delta.logprobs
        if found := self._first():
            position, self.matched = found
            return [*self._release(delta.index, position), BlockStop(delta.index)]
        return self._release(delta.index, len(self._held) - self._possible_start())

    def _first(self) -> tuple[int, str] | None:
        """The match that is whole first, wherever others have begun: more text would not take it back."""
        matches = [(place, string) for string in self.strings if (place := self._held.find(string)) >= 0]
        return min(matches, key=lambda match: (match[0] + len(match[1]), match[0]), default=None)

    def _possible_start(self) -> int:
        """How many of the last characters might begin a stop string."""
        longest = min(len(self._held), max(map(len, self.strings)) - 1)
        for length in range(longest, 0, -1):
            if any(string.startswith(self._held[-length:]) for string in self.strings):
                return length
        return 0

    def _release(self, index: int, length: int) -> list[Event]:
        text, self._held = self._held[:length], self._held[length:]
        if not text:
            return []
        logprobs, self._logprobs = self._logprobs, ()
        return [BlockDelta(index, text, logprobs)]
