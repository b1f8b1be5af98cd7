"""What one application needs to be observed: where its records go, its tracer, and how its metrics are asked for.

`own_telemetry` is for an application that owns the metrics itself, `worker_telemetry` for one of several workers of an
owner elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from opentelemetry.trace import NoOpTracer, Tracer

from llm_server.conversation import GenerationRequest
from llm_server.engine.types import Status
from llm_server.observability import buckets, machine
from llm_server.observability.exchange import Exchange, current_connection, current_exchange
from llm_server.observability.instruments import Tally, negotiated
from llm_server.observability.metrics import Metrics
from llm_server.observability.owner import scraped
from llm_server.observability.records import Counted, Introduction, Record, WorkerBeat
from llm_server.observability.routes import Routes
from llm_server.observability.sender import Sender, Sink
from llm_server.observability.summary import log_fields
from llm_server.observability.tracing import running_tracer, start_server_span
from llm_server.observability.watch import GenerationWatch
from llm_server.observation import Watch

_BEAT_SECONDS: Final = 1.0
_LAG_SECONDS: Final = 0.25

Scraper: TypeAlias = Callable[[str], Awaitable[bytes]]
"""All metrics as text of a content type. Raises OSError if nobody can be asked."""


logger = logging.getLogger("llm_server.requests")


class Telemetry:
    """`model` is the name that is served, `inflight` counts requests by route and dialect."""

    def __init__(self, model: str, routes: Routes, sink: Sink, scrape: Scraper) -> None:
        self.routes = routes
        self.sink = sink
        self.tracer: Tracer = NoOpTracer()
        self.inflight: Counter[tuple[str, str]] = Counter()
        self._model = model
        self._scrape = scrape

    def observe(self, request: GenerationRequest) -> Watch:
        """See `observation.Observer`. The generation belongs to the HTTP request that is being answered, if any."""
        exchange = current_exchange.get() or self._turn()
        return GenerationWatch(request, exchange, self.sink, self.tracer, self._model, self._write_down)

    def _turn(self) -> Exchange:
        """An exchange of a generation's own, as on a WebSocket."""
        turn = Exchange(route="websocket", over=True, connection=current_connection.get())
        turn.span = start_server_span(self.tracer, "turn", {}, turn.arrived_ns)
        return turn

    def _write_down(self, exchange: Exchange) -> None:
        """A generation has ended when nobody else would write of it any more."""
        if not exchange.method:
            exchange.span.end()
        logger.info("generation on %s", exchange.route, extra=log_fields(exchange))

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text of all metrics, and its content type, for this `Accept` header.

        Raises:
            OSError: the process that has them does not answer.
        """
        content_type = negotiated(accept)
        return await self._scrape(content_type), content_type

    @asynccontextmanager
    async def running(self, rejected_seals: Callable[[], int]) -> AsyncIterator[None]:
        """Trace, if the environment asks for it, and send beats. `rejected_seals` counts since the start."""
        with running_tracer() as self.tracer:
            beats = asyncio.create_task(self._beats(rejected_seals))
            try:
                yield
            finally:
                beats.cancel()
                await asyncio.wait({beats})
                if isinstance(self.sink, Sender):
                    self.sink.close()

    async def _beats(self, rejected_seals: Callable[[], int]) -> None:
        loop = asyncio.get_running_loop()
        lag = Tally(buckets.LAG)
        rejected = 0
        while True:
            beat_at = loop.time() + _BEAT_SECONDS
            while (before := loop.time()) < beat_at:
                await asyncio.sleep(_LAG_SECONDS)
                lag.observe(max(0.0, loop.time() - before - _LAG_SECONDS))
            earlier, rejected = rejected, rejected_seals()
            self.sink(self._beat(lag.take(), rejected - earlier))

    def _beat(self, lag: Tally, rejected_seals: int) -> WorkerBeat:
        inflight = [(route, dialect, count) for (route, dialect), count in self.inflight.items()]
        footprint = machine.physical_footprint(os.getpid()) or 0
        return WorkerBeat(inflight, Counted(lag.counts, lag.total), rejected_seals, footprint)


def own_telemetry(model: str, metrics: Metrics, routes: Routes, status: Callable[[], Status | None]) -> Telemetry:
    """For the process that has the metrics. `status` is asked for the engine's, whenever somebody looks."""
    source = object()
    metrics.take(source, Introduction("api", list(routes.served())))

    def sink(*records: Record) -> None:
        for record in records:
            metrics.take(source, record)

    async def scrape(content_type: str) -> bytes:
        metrics.engine.hear(status())
        return metrics.exposition(content_type)

    return Telemetry(model, routes, sink, scrape)


def worker_telemetry(model: str, address: str, routes: Routes) -> Telemetry:
    """For a worker whose metrics' owner listens at `address`."""

    async def scrape(content_type: str) -> bytes:
        return await scraped(address, content_type)

    return Telemetry(model, routes, Sender(address, Introduction("api", list(routes.served()))), scrape)
