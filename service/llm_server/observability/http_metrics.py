"""Metrics of the API workers: what was asked of them over HTTP, and how they are."""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Hashable, Iterator
from typing import Final

from llm_server.observability import buckets
from llm_server.observability.instruments import Counter, Gauge, Histogram, Instrument
from llm_server.observability.records import HttpDone, WorkerBeat
from llm_server.observability.request_metrics import ENGINE

_STATUSES: Final = ("200", "400", "401", "429", "500", "503", "504")
"""Those that alerts look for: shown at 0 from the start for the routes of model APIs."""

_REJECTIONS: Final = {
    "rate_limit_exceeded": "queue_full",
    "engine_unavailable": "engine_down",
}
"""Codes of refusals because of the server's state, by what vLLM calls the reason."""

_ROUTE_LABELS: Final = {"route": (), "method": (), "dialect": ()}


class HttpMetrics:
    """Filled from the records of API workers, each of which is a source until it ends."""

    def __init__(self, model: str) -> None:
        self._own = (model, ENGINE)
        self._beats: dict[Hashable, WorkerBeat] = {}
        self._asked: dict[tuple[str, str], None] = {}
        self.requests = Counter(
            "llm_server_http_requests",
            "Responses by route template.",
            {"route": (), "method": (), "status": (), "dialect": ()},
        )
        self.duration = Histogram(
            "llm_server_http_request_duration_seconds", "From arrival to the last byte.", buckets.HTTP, _ROUTE_LABELS
        )
        self.stream_errors = Counter(
            "llm_server_stream_errors",
            "Streams that began with 200 and ended with an error.",
            {"route": (), "dialect": ()},
        )
        self.inflight = Gauge("llm_server_http_inflight", "Requests being answered.", {"route": (), "dialect": ()})
        self.rejections = Counter(
            "vllm:admission_rejections",
            "Requests that were refused because of the server's state.",
            {"model_name": [model], "engine": [ENGINE], "reason": list(_REJECTIONS.values())},
        )
        self.stall = Histogram(
            "llm_server_sse_write_stall_seconds", "Time a stream waited for its reader.", buckets.STALL, {}
        )
        self.lag = Histogram(
            "llm_server_event_loop_lag_seconds", "How late the workers' event loops are.", buckets.LAG, {}
        )
        self.seals = Counter(
            "llm_server_sealed_reasoning_failures", "Sealed reasoning that was handed in and could not be opened."
        )

    def instruments(self) -> Iterator[Instrument]:
        self.inflight.clear()
        sums = Sums[tuple[str, str]](dict.fromkeys(self._asked, 0))
        for beat in self._beats.values():
            for route, dialect, count in beat.inflight:
                sums[route, dialect] += count
        for (route, dialect), count in sums.items():
            self.inflight.set(route, dialect, to=count)
        return (each for each in vars(self).values() if isinstance(each, Counter | Gauge | Histogram))

    @property
    def footprint(self) -> int | None:
        """Bytes of all living workers together; None if there is none."""
        return sum(beat.footprint for beat in self._beats.values()) if self._beats else None

    def expect(self, routes: list[tuple[str, str, str]]) -> None:
        """Show these routes (method, template, dialect) from now on."""
        for method, route, dialect in routes:
            answers = method == "POST" and dialect != "none"
            if answers:
                self._asked[route, dialect] = None
                self.stream_errors.expect(route, dialect)
            for status in _STATUSES if answers else ("200",):
                self.requests.expect(route, method, status, dialect)

    def done(self, record: HttpDone) -> None:
        labels = (record.route, record.method, record.dialect)
        self.requests.add(record.route, record.method, str(record.status), record.dialect)
        self.duration.observe(*labels, value=record.seconds, trace_id=record.trace_id)
        if record.stream_failed:
            self.stream_errors.add(record.route, record.dialect)
        if record.error in _REJECTIONS:
            self.rejections.add(*self._own, _REJECTIONS[record.error])
        if record.stalled is not None:
            self.stall.observe(value=record.stalled)

    def beat(self, source: Hashable, record: WorkerBeat) -> None:
        self._beats[source] = record
        self.seals.add(by=record.rejected_seals)
        if record.lag.counts:
            self.lag.merge(counts=record.lag.counts, total=record.lag.total)

    def forget(self, source: Hashable) -> None:
        self._beats.pop(source, None)
