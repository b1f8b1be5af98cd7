"""The API's side of the engine's socket: submit a prompt, read its tokens, give up on it.

Knows no text and no HTTP. `Engine` and `TokenStream` are what the rest of the server depends on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from llm_server.engine.types import Finished, Status, Submit, Tokens


class TokenStream(Protocol):
    """The tokens of one admitted request: `Tokens` until `Finished`, which is always the last.

    Raises `EngineUnavailable` from the iteration when the engine dies or is stuck. `close` is a plain call, may be
    repeated, and frees the request's slot unless it has finished: whoever holds a stream must close it.
    """

    def __aiter__(self) -> AsyncIterator[Tokens | Finished]: ...

    def close(self) -> None: ...


class Engine(Protocol):
    @property
    def status(self) -> Status | None:
        """The last known state; None while no engine answers."""

    async def submit(self, submission: Submit) -> TokenStream:
        """Ask for admission.

        Raises:
            Overloaded: the queue is full; `retry_after` says when to come again.
            EngineUnavailable: no engine answers, or it is not ready.
            ContextTooLong: the prompt does not fit.
        """
