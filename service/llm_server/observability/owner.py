"""The one process that owns the metrics: it takes in what the others send, and answers who asks for the whole.

Under `llm-server serve` that is the supervisor, else the application. Knows frames and connections, and of metrics
only that they take records in and come out as text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import msgspec

from llm_server.observability.records import Message, Record, Scrape
from llm_server.observability.sender import LENGTH

_LONGEST_FRAME: Final = 1 << 22
_SCRAPE_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


class Collection(Protocol):
    """The metrics, as the owner needs them. A source is one connection, which is one process."""

    def take(self, source: Hashable, record: Record) -> None: ...

    def forget(self, source: Hashable) -> None:
        """The process has ended: its gauges are no longer true."""

    def exposition(self, content_type: str) -> bytes: ...


@asynccontextmanager
async def owned_metrics(path: str, metrics: Collection) -> AsyncIterator[None]:
    """Listen at `path`, in a folder that only this user can enter, for as long as the context is open."""
    connections: dict[asyncio.StreamWriter, asyncio.Event] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = connections[writer] = asyncio.Event()
        try:
            await _serve(reader, writer, metrics)
        finally:
            del connections[writer]
            writer.close()
            ended.set()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        # Closed rather than cancelled: asyncio logs every connection whose task was cancelled.
        for writer, ended in list(connections.items()):
            writer.close()
            await ended.wait()


async def scraped(path: str, content_type: str) -> bytes:
    """All metrics of the owner at `path`, as text.

    Raises:
        OSError: there is no owner, or it does not answer in time.
    """
    async with asyncio.timeout(_SCRAPE_SECONDS):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            question = msgspec.msgpack.encode([Scrape(content_type)])
            writer.write(LENGTH.pack(len(question)) + question)
            return await reader.read(-1)
        finally:
            writer.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, metrics: Collection) -> None:
    decoder = msgspec.msgpack.Decoder(list[Message])
    source = object()
    try:
        while (frame := await _frame(reader)) is not None:
            for message in decoder.decode(frame):
                if isinstance(message, Scrape):
                    writer.write(metrics.exposition(message.content_type))
                    await writer.drain()
                    return
                metrics.take(source, message)
    except (OSError, msgspec.MsgspecError) as error:
        # A decoder's message names types and places, never values.
        logger.warning("a process that sends metrics is cut off: %s", error)
    finally:
        metrics.forget(source)


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame, None at the end of the connection, be it in the middle of one."""
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if length > _LONGEST_FRAME:
            raise OSError("a frame is too long")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return None
