"""The engine's end of the socket: who is connected, and frames in and out. Knows no requests and no model.

A client is known from its first message on and lost when a send finds it disconnected, which is tried at least as
often as `Status` is due: a worker that was killed is noticed within a second although it said no goodbye.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Protocol

import msgspec
import zmq

from llm_server.engine.types import FromEngine, ToEngine

logger = logging.getLogger(__name__)

_LINGER_MILLISECONDS: Final = 1000


class Channel(Protocol):
    """`Clients` on a socket, or a fake."""

    def receive(self, seconds: float) -> list[tuple[bytes, ToEngine]]:
        """All messages that have come, with their senders; waits up to `seconds` for the first."""

    def post(self, client: bytes, message: FromEngine) -> None:
        """Put a message into the client's next frame."""

    def post_all(self, message: FromEngine) -> None: ...

    def flush(self) -> list[bytes]:
        """Send what was posted, a frame for each client. Returns the clients that turn out to be gone."""


class Clients:
    """A ROUTER socket, bound when made. Belongs to one thread at a time; use it as a context manager.

    Raises:
        zmq.ZMQError: the address can not be bound.
    """

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # A client that reads slowly, or is stopped for a while, must hold up nobody and lose nothing. What may pile up
        # for it is bounded by the tokens of the requests it may have.
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MILLISECONDS)
        self._posted: dict[bytes, list[FromEngine]] = {}
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[ToEngine])
        try:
            with _private_to_this_user():
                self._socket.bind(address)
        except zmq.ZMQError:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._socket.close()
        self._context.term()

    def receive(self, seconds: float) -> list[tuple[bytes, ToEngine]]:
        if seconds > 0 and not self._socket.poll(int(seconds * 1000)):
            return []
        return list(self._waiting())

    def post(self, client: bytes, message: FromEngine) -> None:
        self._posted.setdefault(client, []).append(message)

    def post_all(self, message: FromEngine) -> None:
        for messages in self._posted.values():
            messages.append(message)

    def flush(self) -> list[bytes]:
        gone = [client for client, messages in self._posted.items() if messages and not self._send(client, messages)]
        for client in gone:
            del self._posted[client]
        return gone

    def _waiting(self) -> Iterator[tuple[bytes, ToEngine]]:
        while True:
            try:
                client, frame = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self._posted.setdefault(client, [])
            for message in self._decode(frame):
                yield client, message

    def _decode(self, frame: bytes) -> list[ToEngine]:
        try:
            return self._decoder.decode(frame)
        except msgspec.MsgspecError as error:
            # Its text names types and places, never values.
            logger.error("a client sent a frame that is none of ours: %s", error)
            return []

    def _send(self, client: bytes, messages: list[FromEngine]) -> bool:
        frame = self._encoder.encode(messages)
        messages.clear()
        try:
            self._socket.send_multipart([client, frame], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True


@contextmanager
def _private_to_this_user() -> Iterator[None]:
    """Whoever can write to the socket can run prompts and stop those of others."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
