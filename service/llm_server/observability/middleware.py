"""A pure ASGI layer that takes down each HTTP request: a record, a span, a line in the log, and `Server-Timing`.

Of a WebSocket it only takes down whether its client has left. Its turns take themselves down.

Stands right inside the layer that gives a request its id, so that it sees every answer, refusals included. Reads the
method, the path and the trace headers of a request, and nothing else of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from opentelemetry.trace import StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_server.observability.exchange import Connection, Exchange, current_connection, current_exchange
from llm_server.observability.records import HttpDone
from llm_server.observability.routes import QUIET, dialect, known_method
from llm_server.observability.summary import log_fields, server_timing
from llm_server.observability.telemetry import Telemetry
from llm_server.observability.tracing import exported_trace_id, start_server_span

CLIENT_LEFT: Final = 499
SERVICE_RESTART: Final = 1012
"""The code of a WebSocket that the server itself has ended (RFC 6455's registry)."""

_SERVER_ERROR: Final = 500

logger = logging.getLogger("llm_server.requests")


class Observed:
    """A stream that is given up after it has waited for its reader for `unread_seconds` is given up for that."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, unread_seconds: float = 30.0) -> None:
        self._app = app
        self._telemetry = telemetry
        self._unread_seconds = unread_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            connection = Connection()
            current_connection.set(connection)
            await self._app(scope, _listening(connection, receive), send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = self._begin(scope)
        inflight = (exchange.route, exchange.dialect)
        self._telemetry.inflight[inflight] += 1
        token = current_exchange.set(exchange)
        try:
            await self._app(scope, _receiving(exchange, receive), _sending(exchange, send, self._unread_seconds))
        finally:
            current_exchange.reset(token)
            self._telemetry.inflight[inflight] -= 1
            exchange.error = scope["state"].get("error_code", "")
            self._end(exchange)
            exchange.over = True

    def _begin(self, scope: Scope) -> Exchange:
        route = self._telemetry.routes.template(scope["path"])
        exchange = Exchange(route, known_method(scope["method"]), dialect(route), scope["state"].get("request_id", ""))
        if route not in QUIET:
            name = f"{exchange.method} {route}"
            exchange.span = start_server_span(self._telemetry.tracer, name, Headers(scope=scope), exchange.arrived_ns)
        return exchange

    def _end(self, exchange: Exchange) -> None:
        seconds = time.monotonic() - exchange.arrived
        exchange.status = exchange.status or CLIENT_LEFT
        self._telemetry.sink(_record(exchange, seconds))
        if exchange.route not in QUIET:
            _end_span(exchange, seconds)
            title = f"{exchange.method} {exchange.route} {exchange.status}"
            logger.log(_level(exchange), title, extra=log_fields(exchange))


def _receiving(exchange: Exchange, receive: Receive) -> Receive:
    async def received() -> Message:
        message = await receive()
        if message["type"] == "http.disconnect" and not exchange.complete:
            exchange.disconnected = True
        return message

    return received


def _listening(connection: Connection, receive: Receive) -> Receive:
    async def received() -> Message:
        message = await receive()
        if message["type"] == "websocket.disconnect" and message.get("code") != SERVICE_RESTART:
            connection.left = True
        return message

    return received


def _sending(exchange: Exchange, send: Send, unread_seconds: float) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] != "http.response.body":
            if message["type"] == "http.response.start":
                _note_start(exchange, message)
            await send(message)
            return
        last = not message.get("more_body")
        if last and exchange.streaming:
            message = _with_timing(exchange, message)
        began = time.monotonic()
        try:
            await send(message)
            exchange.complete = last
        except asyncio.CancelledError:
            exchange.unread |= time.monotonic() - began > unread_seconds and not exchange.disconnected
            raise
        finally:
            exchange.stalled += time.monotonic() - began

    return sent


def _note_start(exchange: Exchange, message: Message) -> None:
    exchange.status = message["status"]
    headers = MutableHeaders(scope=message)
    exchange.streaming = headers.get("content-type", "").startswith("text/event-stream")
    if timing := server_timing(exchange):
        headers["server-timing"] = timing


def _with_timing(exchange: Exchange, message: Message) -> Message:
    """A header can say little of a stream, so its whole timing follows it, as a comment that parsers of events skip."""
    if message.get("body") or not _is_whole(exchange):
        return message
    return {**message, "body": f": server-timing {server_timing(exchange)}\n\n".encode()}


def _level(exchange: Exchange) -> int:
    """A server that is busy or loading says so as it should; what it did not foresee is an error."""
    if exchange.status == _SERVER_ERROR:
        return logging.ERROR
    failed = exchange.status > _SERVER_ERROR or any(watch.error for watch in exchange.generations)
    return logging.WARNING if failed else logging.INFO


def _is_whole(exchange: Exchange) -> bool:
    outcomes = [watch.outcome for watch in exchange.generations]
    return bool(outcomes) and all(outcome is not None and outcome.finish_reason for outcome in outcomes)


def _record(exchange: Exchange, seconds: float) -> HttpDone:
    return HttpDone(
        route=exchange.route,
        method=exchange.method,
        status=exchange.status,
        dialect=exchange.dialect,
        seconds=seconds,
        error=exchange.error,
        stream_failed=exchange.streaming and any(watch.error for watch in exchange.generations),
        write_timeout=exchange.unread,
        stalled=exchange.stalled if exchange.streaming else None,
        trace_id=exported_trace_id(exchange.span),
    )


def _end_span(exchange: Exchange, seconds: float) -> None:
    span = exchange.span
    if not span.is_recording():
        return
    span.set_attributes(
        {
            "http.request.method": exchange.method,
            "http.route": exchange.route,
            "http.response.status_code": exchange.status,
            "url.scheme": "http",
            "llm_server.request_id": exchange.request_id,
        }
    )
    error = exchange.error or next((watch.error for watch in exchange.generations if watch.error), "")
    if error:
        span.set_attribute("error.type", error)
    if exchange.status >= _SERVER_ERROR or any(watch.error for watch in exchange.generations):
        span.set_status(StatusCode.ERROR)
    span.end(exchange.unix_ns(exchange.arrived + seconds))
