"""What every API's routes stand on: how a failure is worded, how events are streamed, how a leaving client is noticed.

Knows HTTP; knows no API's wire format and no token. A failure before the first byte becomes a response in
`failures.py`, one after it becomes the API's own error event here.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from llm_server.api.models import ServedModel
from llm_server.errors import EngineUnavailable, ServerError
from llm_server.events import Completion, Event, collect

JSON: TypeAlias = dict[str, Any]
T = TypeVar("T")

WRITE_TIMEOUT: Final = 60.0
"""Seconds for which a client may read nothing before its stream is given up."""

PING_INTERVAL: Final = 5.0
"""Seconds of silence after which a stream shows that it is alive, unless a setting says otherwise."""

COMMENT: Final = b": keep-alive\n\n"
"""A server-sent comment, which every parser of events skips."""

STREAM_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""`x-accel-buffering` tells nginx and its kin to pass each event on at once."""

log = logging.getLogger("llm_server.api")


class Dialect(Protocol):
    """How one API words failures and models. Each API's folder has one, named `dialect`.

    A request belongs to the dialect that lists its path's prefix, else to the one whose `version_header` it carries,
    else to the last dialect of the application.
    """

    name: str
    prefixes: tuple[str, ...]
    version_header: str | None

    def status(self, error: ServerError) -> int:
        """The HTTP status, for most errors `error.status`."""

    def error(self, error: ServerError, request_id: str) -> JSON:
        """The body of a failed response."""

    def stream_error(self, error: ServerError, request_id: str) -> bytes:
        """The whole server-sent event, with its blank line, that tells of a failure after the first byte."""

    def model(self, model: ServedModel) -> JSON:
        """The answer of `GET /v1/models/{id}`."""

    def models(self, models: Sequence[ServedModel]) -> JSON:
        """The answer of `GET /v1/models`. `models` is not empty only once a model has a name."""


class Closable(Protocol):
    """What holds a slot of the engine, and frees it when closed, at any time and again."""

    async def aclose(self) -> None: ...


class Answer(AsyncIterable[Event], Closable, Protocol):
    """The events of one answer while it is generated: a `Generation`."""


def request_id(scope: Scope) -> str:
    """This request's id, the same as in the response's headers. Set by `failures.RequestContext`."""
    return str(scope["state"]["request_id"])


def request_dialect(scope: Scope) -> Dialect:
    """The dialect of the called API. Set by `failures.RequestContext`."""
    return cast("Dialect", scope["state"]["dialect"])


def json_response(body: JSON, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def server_sent_event(data: JSON, event: str | None = None) -> bytes:
    """One whole event. It is sent in one piece: some clients lose events that a TCP segment cuts."""
    name = f"event: {event}\n".encode() if event else b""
    return b"".join((name, b"data: ", msgspec.json.encode(data), b"\n\n"))


def comment() -> bytes:
    return COMMENT


class EventStream(Response):
    """A streamed answer. Closes `source` (the generation) whatever happens, also if it is never iterated.

    `events` yields whole server-sent events. What it raises becomes the dialect's error event, after which the stream
    ends: no failed stream ends as a good one does.

    `keep_alive` is called when nothing has been sent for `interval` seconds, and what it returns is sent: a comment, or
    a whole event of the API. It is never called between the making of an event and its sending, so that it may number
    events on. Where an event may not be the first of a stream, it returns a comment until that one was made.

    `failure` makes the last event of a stream that fails, where the dialect's own does not know enough of the stream.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        source: Closable,
        events: AsyncGenerator[bytes, None],
        *,
        keep_alive: Callable[[], bytes] = comment,
        failure: Callable[[ServerError], bytes] | None = None,
        interval: float = PING_INTERVAL,
        write_timeout: float = WRITE_TIMEOUT,
    ) -> None:
        super().__init__(headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._source = source
        self._events = events
        self._keep_alive = keep_alive
        self._failure = failure
        self._interval = interval
        self._write_timeout = write_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = _Connection(send, self._write_timeout)
        async with aclosing(self._source), aclosing(self._events):
            try:
                await while_connected(receive, self._stream(scope, connection), self._show_life(connection))
            except ClientDisconnect:
                log.info("client left, stream closed")
            except asyncio.CancelledError:
                with suppress(ClientDisconnect):
                    await self._fail(scope, connection, EngineUnavailable("The server is stopping."))
                raise

    async def _stream(self, scope: Scope, connection: _Connection) -> None:
        await connection.start(self.status_code, self.raw_headers)
        try:
            async for event in self._events:
                await connection.write(event)
        except ClientDisconnect:
            raise
        except Exception as error:
            await self._fail(scope, connection, as_server_error(error))
        else:
            await connection.end()

    async def _show_life(self, connection: _Connection) -> None:
        while True:
            await asyncio.sleep(self._interval - connection.silence)
            await connection.write_after(self._interval, self._keep_alive)

    async def _fail(self, scope: Scope, connection: _Connection, error: ServerError) -> None:
        if connection.is_open:
            event = self._failure(error) if self._failure else None
            await connection.write(event or request_dialect(scope).stream_error(error, request_id(scope)))
            await connection.end()


class _Connection:
    """One client's end of a stream. Writes one piece at a time, and knows how long ago that was.

    Every method raises `ClientDisconnect` if the client is gone, or does not read.
    """

    def __init__(self, send: Send, timeout: float) -> None:
        self.is_open = False
        self._send = send
        self._timeout = timeout
        self._writing = asyncio.Lock()
        self._clock = asyncio.get_running_loop().time
        self._last = self._clock()

    @property
    def silence(self) -> float:
        """Seconds since anything was written."""
        return self._clock() - self._last

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        async with self._writing:
            await self._write({"type": "http.response.start", "status": status, "headers": headers})
            self.is_open = True

    async def write(self, body: bytes) -> None:
        async with self._writing:
            await self._write({"type": "http.response.body", "body": body, "more_body": True})

    async def write_after(self, silence: float, make: Callable[[], bytes]) -> None:
        """Write what `make` returns, if nothing was written for so long. It is made when it is its turn, not before."""
        async with self._writing:
            if self.is_open and self.silence >= silence:
                await self._write({"type": "http.response.body", "body": make(), "more_body": True})

    async def end(self) -> None:
        async with self._writing:
            self.is_open = False
            await self._write({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._send(message)
        except OSError as error:  # TimeoutError is one, too
            raise ClientDisconnect from error
        self._last = self._clock()


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T], *beside: Coroutine[Any, Any, None]) -> T:
    """The result of `work`, which is cancelled as soon as the client leaves. The request's body must have been read.

    `beside` runs for as long as the work; if it ends first, what it raised ends the work, too.

    Raises:
        ClientDisconnect: the client left first.
    """
    working = asyncio.create_task(work)
    others = [asyncio.create_task(other) for other in (_disconnected(receive), *beside)]
    try:
        await asyncio.wait({working, *others}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            _raise_first(others)
        return working.result()
    finally:
        for task in (working, *others):
            task.cancel()
        await asyncio.gather(working, *others, return_exceptions=True)


async def collect_while_connected(request: Request, answer: Answer) -> Completion:
    """The whole answer. Frees the engine's slot in the end, and at once when the client leaves.

    Raises:
        ClientDisconnect: the client left first; `failures.py` deals with it.
        ServerError: the generation failed.
    """
    async with aclosing(answer):
        return await while_connected(request.receive, collect(answer))


def as_server_error(error: Exception) -> ServerError:
    """The failure to tell the client of. An unforeseen one is logged, without its message: that may quote a prompt."""
    if isinstance(error, ServerError):
        return error
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("unexpected %s\n%s", type(error).__name__, frames)
    return ServerError("The server failed on this request. Its log says where.")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


def _raise_first(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()
