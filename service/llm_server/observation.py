"""What may be seen of a generation while it runs: counts, moments and names of parts. Never a token, never a text.

`generation.py` tells a `Watch`; what becomes of it is the business of `observability/`, and of nobody if there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from llm_server.conversation import GenerationRequest
from llm_server.engine.types import Finished, Started
from llm_server.events import BlockDelta, BlockKind, BlockStart, BlockStop, Event, FinishReason, Usage


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a generation came to. `finish_reason` is None if it failed, or was given up before its end.

    `channel_tokens` by Harmony channel, `repairs` by kind, both over all attempts; `tool_calls` that are whole.
    `diverged_at` and `diverged_in` say where the prompt left the cached ones ("" if nothing is known of that).
    """

    finish_reason: FinishReason | None
    usage: Usage
    channel_tokens: Mapping[str, int]
    repairs: Sequence[str]
    corrections: int
    tool_calls: int
    diverged_at: int
    diverged_in: str


class Watch(Protocol):
    """Is told of one generation as it goes on, in this order. No call waits, and none raises."""

    def rendered(self, prompt_tokens: int) -> None:
        """The prompt is written."""

    def guarded(self) -> None:
        """The grammar is written and valid, or none is wanted."""

    def refused(self, error: BaseException) -> None:
        """It does not come to a generation. The last call."""

    def admitted(self, max_tokens: int) -> None:
        """It waits in the engine's queue from now on, or has started already."""

    def started(self, started: Started) -> None:
        """The engine reads the prompt from now on. Again for each correction."""

    def decoded(self, tokens: int) -> None:
        """So many tokens have come."""

    def shown(self) -> None:
        """The first text or call that the client gets to see has come."""

    def left_engine(self, finished: Finished) -> None:
        """The engine is through with it. Again for each correction."""

    def ended(self, outcome: Outcome, error: Exception | None) -> None:
        """Nothing more comes: it is whole, it failed with `error`, or nobody waits for it. The last call."""


Observer: TypeAlias = Callable[[GenerationRequest], Watch]
"""Finds somebody who watches this request from now on."""


class Account:
    """What the events of a generation tell its watch. They are read for their kind alone. `calls` are those made."""

    def __init__(self, watch: Watch) -> None:
        self.calls = 0
        self._watch = watch
        self._kind: BlockKind = "text"
        self._is_shown = False
        self._is_over = False

    def see(self, event: Event) -> None:
        match event:
            case BlockStart(kind=kind):
                self._kind = kind
            case BlockDelta() if not self._is_shown:
                self._is_shown = True
                self._watch.shown()
            case BlockStop(complete=True) if self._kind == "tool_call":
                self.calls += 1

    def end(self, outcome: Outcome, error: Exception | None) -> None:
        """Nothing more comes. Only the first call counts."""
        if not self._is_over:
            self._is_over = True
            self._watch.ended(outcome, error)


class Unwatched:
    """Looks away."""

    def rendered(self, prompt_tokens: int) -> None:
        pass

    def guarded(self) -> None:
        pass

    def refused(self, error: BaseException) -> None:
        pass

    def admitted(self, max_tokens: int) -> None:
        pass

    def started(self, started: Started) -> None:
        pass

    def decoded(self, tokens: int) -> None:
        pass

    def shown(self) -> None:
        pass

    def left_engine(self, finished: Finished) -> None:
        pass

    def ended(self, outcome: Outcome, error: Exception | None) -> None:
        pass


def unobserved(_: GenerationRequest) -> Watch:
    return Unwatched()
