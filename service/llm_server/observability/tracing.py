"""Traces over OTLP, if the environment asks for them: one server span for a request, and under it each generation.

Spans are made by hand at the two places that are observed anyhow. Instrumentation of the framework would make a span
of every streamed chunk. Without a collector nothing is slowed down: spans wait in a bounded queue of the exporter's
own thread, and of what is lost there is one line in the log.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llm_server import __version__
from llm_server.settings import TracesProtocol, service_name, traces_protocol

_SHUTDOWN_SECONDS: Final = 2.0

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_OTHERS: Final = logging.getLogger("opentelemetry")

logger = logging.getLogger(__name__)


@contextmanager
def running_tracer() -> Iterator[Tracer]:
    """A tracer for this process, which must not fork any more. It exports if `OTEL_` variables say where to.

    Raises:
        SettingsError: they name a protocol that is not spoken.
    """
    protocol = traces_protocol()
    if protocol is None:
        yield NoOpTracer()
        return
    # What the exporters say of a collector that is away, and of every span that they drop, is said once by `_Quiet`.
    _OTHERS.setLevel(logging.CRITICAL)
    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    processor = BatchSpanProcessor(_Quiet(_exporter(protocol)))
    provider.add_span_processor(processor)
    try:
        yield provider.get_tracer("llm_server", __version__)
    finally:
        _shut_down(processor)


def parent(headers: Mapping[str, str]) -> Context | None:
    """What `traceparent` and `tracestate` among the headers say, if anything."""
    return _PROPAGATOR.extract(headers) if "traceparent" in headers else None


def trace_id(span: Span) -> str:
    """32 hexadecimal digits, or "" if the request belongs to no trace."""
    context = span.get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def exported_trace_id(span: Span) -> str:
    """The same, but only of a trace that somebody will be able to look up."""
    return trace_id(span) if span.is_recording() else ""


def start_server_span(tracer: Tracer, name: str, headers: Mapping[str, str], at: int) -> Span:
    """`at` in nanoseconds of Unix time, as all times of spans."""
    return tracer.start_span(name, parent(headers), SpanKind.SERVER, start_time=at)


def _shut_down(processor: BatchSpanProcessor) -> None:
    """Deliver what waits, if that is quick: with a collector that is away, it would take half a minute."""
    ending = threading.Thread(target=processor.shutdown, name="traces-end", daemon=True)
    ending.start()
    ending.join(_SHUTDOWN_SECONDS)


class _Quiet(SpanExporter):
    """Says once that traces can not be delivered, and once that they can again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing != self._failing:
            self._failing = failing
            text = "traces can not be delivered to the collector" if failing else "traces are delivered again"
            logger.warning(text)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _resource() -> Resource:
    own: dict[str, str | int] = {"service.name": service_name(), "process.pid": os.getpid()}
    return Resource.create({**own, "service.version": __version__})


def _exporter(protocol: TracesProtocol) -> SpanExporter:
    """Imported when wanted: gRPC alone takes longer than the rest of a worker."""
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    return HttpExporter()
