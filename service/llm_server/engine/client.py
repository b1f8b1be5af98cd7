"""The API's side of the engine's socket: submit a prompt, read its tokens, give up on it.

Knows no text and no HTTP. `Engine` and `TokenStream` are what the rest of the server depends on; `EngineClient` is
both on a real socket. It finds an engine that is started, restarted or replaced at its address by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Protocol

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from llm_server.engine.types import (
    Abort,
    Admitted,
    Finished,
    FromEngine,
    Hello,
    RefusalReason,
    Refused,
    Started,
    Status,
    Submit,
    ToEngine,
    Tokens,
)
from llm_server.errors import ContextTooLong, EngineStalled, EngineUnavailable, Overloaded, ServerError

logger = logging.getLogger(__name__)

_TICK_SECONDS: Final = 1.0
_RECONNECT_MILLISECONDS: Final = 100
_RETRY_AFTER_SECONDS: Final = 2.0
"""About how long a restart takes that finds the weights in the page cache."""


class TokenStream(Protocol):
    """The tokens of one admitted request: `Started`, then `Tokens` until `Finished`, which is always the last.

    Raises `EngineUnavailable` from the iteration when the engine dies or is stuck. `close` is a plain call, may be
    repeated, and frees the request's slot unless it has finished: whoever holds a stream must close it.
    """

    def __aiter__(self) -> AsyncIterator[Started | Tokens | Finished]: ...

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


class EngineClient:
    """An engine process at `address`, used as an async context manager by one event loop.

    An engine that says nothing for `stall_seconds`, although it is connected, counts as dead until it speaks again.
    """

    def __init__(self, address: str, *, stall_seconds: float = 30.0) -> None:
        self._address = address
        self._stall_seconds = stall_seconds
        self._streams: dict[str, _Stream] = {}
        self._status: Status | None = None
        self._changed = asyncio.Event()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[FromEngine])

    async def __aenter__(self) -> EngineClient:
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MILLISECONDS)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(
            zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED
        )
        self._loop.add_reader(self._socket.fileno(), self._receive)
        self._loop.add_reader(self._monitor.fileno(), self._follow_connection)
        self._socket.connect(self._address)
        # A descriptor signals only what comes after a read that found nothing.
        self._receive()
        self._follow_connection()
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._lose("The server is stopping.")
        self._timer.cancel()
        for socket in (self._socket, self._monitor):
            self._loop.remove_reader(socket.fileno())
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        self._context.term()

    @property
    def status(self) -> Status | None:
        return self._status

    async def wait_ready(self) -> Status:
        """The engine's status once it is ready, however long that takes."""
        while self._status is None or self._status.state != "ready":
            await self._changed.wait()
        return self._status

    async def submit(self, submission: Submit) -> TokenStream:
        """See `Engine`. The request id must be new."""
        assert submission.request_id not in self._streams, "a request id is used once"
        if self._status is None or self._status.state != "ready":
            raise _unavailable("No engine is ready.")
        stream = _Stream(self, submission.request_id)
        self._streams[submission.request_id] = stream
        self._send(submission)
        try:
            await self._admission(stream, len(submission.prompt))
        except BaseException:
            stream.close()
            raise
        return stream

    def abandon(self, request_id: str) -> None:
        """Forget a stream and tell the engine, if it still runs the request."""
        if self._streams.pop(request_id, None) is not None:
            self._send(Abort(request_id, time.monotonic()))

    async def _admission(self, stream: _Stream, prompt_tokens: int) -> None:
        answer = await stream.next_message()
        match answer:
            case Admitted():
                return
            case Refused(_, reason, retry_after):
                raise self._refusal(reason, retry_after, prompt_tokens)
            case ServerError():
                raise answer
        raise AssertionError(f"the engine answered a submission with {type(answer).__name__}")

    def _refusal(self, reason: RefusalReason, retry_after: float | None, prompt_tokens: int) -> ServerError:
        match reason:
            case "queue_full":
                return Overloaded("Too many requests are waiting already.", retry_after=retry_after)
            case "context_too_long":
                model = self._status.model if self._status else None
                return ContextTooLong(limit=model.context_length if model else 0, prompt=prompt_tokens)
            case "not_ready":
                return _unavailable("The engine is not ready.")

    def _send(self, message: ToEngine) -> None:
        """Never waits. Without an engine the message is kept for the next one."""
        self._socket.send(self._encoder.encode([message]), zmq.DONTWAIT)
        # Sending may have swallowed the descriptor's signal that a message has come.
        self._loop.call_soon(self._receive)

    def _follow_connection(self) -> None:
        for event in self._connection_events():
            if event == zmq.Event.HANDSHAKE_SUCCEEDED:
                self._send(Hello())
            else:
                self._receive()  # what the engine had said before it went
                self._lose("The engine has stopped.")

    def _connection_events(self) -> Iterator[int]:
        with suppress(zmq.Again):
            while True:
                yield recv_monitor_message(self._monitor, zmq.DONTWAIT)["event"]

    def _receive(self) -> None:
        """Take in every message that has come."""
        while not self._socket.closed:
            try:
                frame = self._socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                return
            self._heard = self._loop.time()
            for message in self._decode(frame):
                self._take(message)

    def _decode(self, frame: bytes) -> list[FromEngine]:
        try:
            return self._decoder.decode(frame)
        except msgspec.MsgspecError as error:
            # Its text names types and places, never values.
            logger.error("the engine sent a frame that is none of ours: %s", error)
            return []

    def _take(self, message: FromEngine) -> None:
        match message:
            case Status():
                self._update(message)
            case Tokens(request_id=request_id) | Started(request_id=request_id) | Admitted(request_id):
                if stream := self._streams.get(request_id):
                    stream.put(message)
            case Refused(request_id) | Finished(request_id=request_id):
                if stream := self._streams.pop(request_id, None):
                    stream.put(message)

    def _update(self, status: Status) -> None:
        if self._status is not None and status.incarnation != self._status.incarnation:
            self._lose("The engine has been restarted.")
        self._status = status
        self._announce()

    def _lose(self, reason: str, failure: type[EngineUnavailable] = EngineUnavailable) -> None:
        """No engine is to run what was submitted so far, be it stuck, or started later and handed what was kept."""
        self._status = None
        self._announce()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.put(_unavailable(reason, failure))
            self._send(Abort(stream.request_id))

    def _announce(self) -> None:
        """Wake those who wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        self._receive()
        if self._status is not None and self._loop.time() - self._heard > self._stall_seconds:
            logger.error("the engine has said nothing for %.0f s", self._loop.time() - self._heard)
            self._lose("The engine does not answer.", EngineStalled)


class _Stream:
    """The messages of one request, in a queue of its own: reading it late holds up nobody else."""

    def __init__(self, client: EngineClient, request_id: str) -> None:
        self.request_id = request_id
        self._client = client
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._ended = False

    def __aiter__(self) -> AsyncIterator[Started | Tokens | Finished]:
        return self

    async def __anext__(self) -> Started | Tokens | Finished:
        if self._ended:
            raise StopAsyncIteration
        message = await self.next_message()
        match message:
            case Started() | Tokens():
                return message
            case Finished():
                self._ended = True
                return message
            case ServerError():
                self._ended = True
                raise message
        raise StopAsyncIteration

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._client.abandon(self.request_id)
            self.put(None)  # wakes whoever still waits

    def put(self, message: Admitted | Refused | Started | Tokens | Finished | ServerError | None) -> None:
        self._messages.put_nowait(message)

    async def next_message(self) -> Any:
        return await self._messages.get()


def _unavailable(reason: str, failure: type[EngineUnavailable] = EngineUnavailable) -> EngineUnavailable:
    return failure(reason, retry_after=_RETRY_AFTER_SECONDS)
