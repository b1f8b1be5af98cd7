"""One request and its answer as they are observed, and the generations that it led to.

It is an HTTP request, or a turn on a WebSocket, which has no `method`. A generation may go on when its request has been
answered: then the exchange is `over`, and whoever ends last writes it down.

Moments are seconds of this process's monotonic clock; spans get them as Unix time by one anchor, the arrival.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opentelemetry.trace import INVALID_SPAN, Span

from llm_server.observability.records import Cause

if TYPE_CHECKING:
    from llm_server.observability.watch import GenerationWatch


@dataclass(slots=True)
class Connection:
    """A WebSocket on which turns come one after another."""

    left: bool = False


@dataclass(slots=True)
class Exchange:
    """`route`, `method` and `dialect` are from bounded sets; `error` is the code of a refusal.

    `complete` says that the whole answer was sent, `stalled` for how many seconds that waited for the client to read.
    A turn has the `connection` that it came on.
    """

    route: str = ""
    method: str = ""
    dialect: str = "none"
    request_id: str = ""
    span: Span = INVALID_SPAN
    arrived: float = field(default_factory=time.monotonic)
    arrived_ns: int = field(default_factory=time.time_ns)
    status: int = 0
    error: str = ""
    streaming: bool = False
    complete: bool = False
    stalled: float = 0.0
    disconnected: bool = False
    unread: bool = False
    over: bool = False
    connection: Connection | None = None
    generations: list[GenerationWatch] = field(default_factory=list)

    def unix_ns(self, moment: float) -> int:
        return self.arrived_ns + int((moment - self.arrived) * 1e9)

    @property
    def client_left(self) -> bool:
        return self.disconnected or (self.connection is not None and self.connection.left)

    @property
    def cause(self) -> Cause:
        """Why a generation of this exchange is given up now."""
        if self.client_left:
            return "disconnect"
        if self.unread:
            return "timeout"
        task = asyncio.current_task()
        return "shutdown" if task is not None and task.cancelling() else "api"


current_exchange: ContextVar[Exchange | None] = ContextVar("current_exchange", default=None)
current_connection: ContextVar[Connection | None] = ContextVar("current_connection", default=None)
