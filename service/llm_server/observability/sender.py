"""A process's way to the owner of the metrics: a unix socket that is never waited for.

Whoever sends serves requests or runs the model, so a record that can not go now is kept, and dropped when too many
are. A plain stream rather than a ZeroMQ socket: its end tells the owner at once that a process has died.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from llm_server.observability.records import Dropped, Introduction, Record

LENGTH: Final = struct.Struct("!I")
"""Before each frame stands its length in bytes."""

_QUEUED_BYTES: Final = 1 << 20
_SOCKET_BYTES: Final = 256 * 1024
"""macOS gives a unix socket 8 KB by default, which a burst of finished requests fills."""

_RECONNECT_SECONDS: Final = 1.0


class Sink(Protocol):
    """Takes records in: a `Sender`, or the metrics themselves."""

    def __call__(self, *records: Record) -> None: ...


class Sender:
    """Sends records to the owner at `path`, after an introduction, on one connection after another.

    Belongs to one thread. What is queued goes out with the next record, so whoever sends should do so once a second.
    """

    def __init__(
        self,
        path: str,
        introduction: Introduction,
        *,
        limit: int = _QUEUED_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._introduction = introduction
        self._limit = limit
        self._clock = clock
        self._encoder = msgspec.msgpack.Encoder()
        self._socket: socket.socket | None = None
        self._next_try = 0.0
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._sent_of_first = 0
        self._dropped = 0

    def __call__(self, *records: Record) -> None:
        """Send these, now or soon. Never waits and never raises."""
        if self._dropped and self._put([Dropped(self._dropped), *records]):
            self._dropped = 0
        elif self._dropped or not self._put(records):
            self._dropped += len(records)
        self._flush()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _put(self, records: object) -> bool:
        frame = _framed(self._encoder.encode(records))
        if self._queued + len(frame) > self._limit:
            return False
        self._queue.append(frame)
        self._queued += len(frame)
        return True

    def _flush(self) -> None:
        connection = self._socket or self._connect()
        if connection is None:
            return
        try:
            while self._queue:
                self._sent_of_first += connection.send(memoryview(self._queue[0])[self._sent_of_first :])
                if self._sent_of_first == len(self._queue[0]):
                    self._queued -= len(self._queue.popleft())
                    self._sent_of_first = 0
        except BlockingIOError:
            return
        except OSError:
            self._sent_of_first = 0
            self.close()

    def _connect(self) -> socket.socket | None:
        """A connection, if one can be had at once; it is not tried again and again for an owner who is away."""
        now = self._clock()
        if now < self._next_try:
            return None
        self._next_try = now + _RECONNECT_SECONDS
        connection = socket.socket(socket.AF_UNIX)
        try:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
            connection.setblocking(False)
            connection.connect(self._path)
            connection.send(_framed(self._encoder.encode([self._introduction])))
        except OSError:
            connection.close()
            return None
        self._socket = connection
        return connection


def _framed(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body
