"""The engine's client against an engine that the test itself plays, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import zmq

from llm_server.conversation import Sampling
from llm_server.engine.channel import Clients
from llm_server.engine.client import EngineClient, TokenStream
from llm_server.engine.types import (
    Abort,
    Admitted,
    Finished,
    FromEngine,
    Hello,
    ModelInfo,
    RefusalReason,
    Refused,
    Started,
    Status,
    Submit,
    ToEngine,
    Tokens,
)
from llm_server.errors import ContextTooLong, EngineUnavailable, Overloaded, ServerError

MODEL = ModelInfo("played", 100, "none", "cpu", 1, 1)
READY = Status("first", "ready", MODEL, 0, 0)
Message = TypeVar("Message")


def submission(request_id: str) -> Submit:
    return Submit(request_id, [1, 2, 3], 10, [], Sampling())


def finished(request_id: str) -> Finished:
    return Finished(request_id, "length", 0, 0.0, 0.0, 0.0)


@dataclass
class PlayedEngine:
    """The engine's end of the socket, and what the client has said that the test has not asked for yet."""

    address: str
    clients: Clients
    heard: list[ToEngine] = field(default_factory=list)
    client: bytes = b""

    async def next(self, kind: type[Message]) -> Message:
        """The next message of a kind; those before it are forgotten."""
        async with asyncio.timeout(10):
            while True:
                while self.heard:
                    message = self.heard.pop(0)
                    if isinstance(message, kind):
                        return message
                for client, message in self.clients.receive(0):
                    self.client = client
                    self.heard.append(message)
                await asyncio.sleep(0.005)

    def say(self, *messages: FromEngine) -> None:
        for message in messages:
            self.clients.post(self.client, message)
        assert self.clients.flush() == []

    def restart(self) -> None:
        """Gone and back at the same address, before anybody could notice that it was not there."""
        self.clients.__exit__(None, None, None)
        self.clients = Clients(self.address)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[PlayedEngine]:
    address = f"ipc://{tmp_path / 'engine.sock'}"
    played = PlayedEngine(address, Clients(address))
    try:
        yield played
    finally:
        played.clients.__exit__(None, None, None)


@pytest.fixture
async def client(engine: PlayedEngine) -> AsyncIterator[EngineClient]:
    async with EngineClient(engine.address) as client:
        await engine.next(Hello)
        engine.say(READY)
        await client.wait_ready()
        yield client


async def admitted(engine: PlayedEngine, client: EngineClient, request_id: str) -> TokenStream:
    asking = asyncio.create_task(client.submit(submission(request_id)))
    await engine.next(Submit)
    engine.say(Admitted(request_id))
    return await asking


async def test_nothing_is_known_until_the_engine_answers(engine: PlayedEngine) -> None:
    async with EngineClient(engine.address) as client:
        assert client.status is None
        with pytest.raises(EngineUnavailable):
            await client.submit(submission("a"))
        await engine.next(Hello)
        engine.say(msgspec.structs.replace(READY, state="loading", model=None))
        engine.say(READY)
        assert await client.wait_ready() == READY


async def test_each_stream_gets_its_own_tokens_and_then_its_end(engine: PlayedEngine, client: EngineClient) -> None:
    first, second = await admitted(engine, client, "a"), await admitted(engine, client, "b")
    start = Started("a", 0.5, 2, 3)
    engine.say(start, Tokens("b", [5], []), Tokens("a", [1, 2], []), finished("b"), Tokens("a", [3], []), finished("a"))
    assert [message async for message in first] == [start, Tokens("a", [1, 2], []), Tokens("a", [3], []), finished("a")]
    assert [message async for message in second] == [Tokens("b", [5], []), finished("b")]
    assert [message async for message in second] == []


@pytest.mark.parametrize(
    ("reason", "error"),
    [("queue_full", Overloaded), ("not_ready", EngineUnavailable), ("context_too_long", ContextTooLong)],
)
async def test_a_refusal_is_raised_by_submit(
    engine: PlayedEngine, client: EngineClient, reason: RefusalReason, error: type[ServerError]
) -> None:
    asking = asyncio.create_task(client.submit(submission("a")))
    await engine.next(Submit)
    engine.say(Refused("a", reason, 7.0))
    with pytest.raises(error) as raised:
        await asking
    if isinstance(raised.value, Overloaded):
        assert raised.value.retry_after == 7.0
    if isinstance(raised.value, ContextTooLong):
        assert (raised.value.limit, raised.value.prompt) == (100, 3)


async def test_closing_aborts_once_and_ends_whoever_still_reads(engine: PlayedEngine, client: EngineClient) -> None:
    stream = await admitted(engine, client, "a")
    reading = asyncio.create_task(anext(aiter(stream), None))
    await asyncio.sleep(0)
    stream.close()
    stream.close()
    assert await asyncio.wait_for(reading, 10) is None
    assert (await engine.next(Abort)).request_id == "a"
    await admitted(engine, client, "b")
    assert engine.heard == []


async def test_sending_does_not_hide_what_has_come(engine: PlayedEngine, client: EngineClient) -> None:
    """The socket's descriptor signals once, and whoever looks at the socket takes the signal away."""
    stream, other = await admitted(engine, client, "a"), await admitted(engine, client, "b")
    engine.say(Tokens("a", [1], []))
    assert client._socket.poll(10_000)
    other.close()
    reading = asyncio.ensure_future(anext(aiter(stream)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert reading.done()
    assert await reading == Tokens("a", [1], [])


async def test_a_stream_that_has_finished_is_not_aborted(engine: PlayedEngine, client: EngineClient) -> None:
    stream = await admitted(engine, client, "a")
    engine.say(finished("a"))
    assert [message async for message in stream] == [finished("a")]
    stream.close()
    asking = asyncio.create_task(client.submit(submission("b")))
    await asyncio.sleep(0)
    while not engine.heard:
        engine.heard += [message for _, message in engine.clients.receive(0.01)]
        await asyncio.sleep(0)
    assert engine.heard == [submission("b")]
    engine.say(Admitted("b"))
    await asking


async def test_who_gives_up_before_being_admitted_frees_the_place(engine: PlayedEngine, client: EngineClient) -> None:
    asking = asyncio.create_task(client.submit(submission("a")))
    await engine.next(Submit)
    asking.cancel()
    assert (await engine.next(Abort)).request_id == "a"
    engine.say(Admitted("a"), Tokens("a", [1], []))  # crossed on the way: nobody is there any more
    await admitted(engine, client, "b")


async def test_what_the_engine_said_before_it_went_still_arrives(engine: PlayedEngine, client: EngineClient) -> None:
    complete, cut = await admitted(engine, client, "a"), await admitted(engine, client, "b")
    engine.say(Tokens("a", [1], []), finished("a"), Tokens("b", [2], []))
    engine.restart()
    # Event loops may report the end of the connection first.
    assert client._monitor.poll(10_000)
    client._follow_connection()
    assert [message async for message in complete] == [Tokens("a", [1], []), finished("a")]
    messages = aiter(cut)
    assert await anext(messages) == Tokens("b", [2], [])
    with pytest.raises(EngineUnavailable):
        await anext(messages)
    assert [message async for message in cut] == []


async def test_an_engine_that_was_replaced_fails_the_requests_of_the_one_before(
    engine: PlayedEngine, client: EngineClient
) -> None:
    stream = await admitted(engine, client, "a")
    engine.say(msgspec.structs.replace(READY, incarnation="second"))
    with pytest.raises(EngineUnavailable):
        await asyncio.wait_for(anext(aiter(stream)), 10)
    assert client.status is not None
    assert client.status.incarnation == "second"


async def test_what_was_sent_to_a_dying_engine_is_taken_back_from_the_next(
    engine: PlayedEngine, client: EngineClient
) -> None:
    engine.clients.__exit__(None, None, None)
    with pytest.raises(EngineUnavailable):
        await client.submit(submission("a"))
    engine.clients = Clients(engine.address)
    heard: list[msgspec.Struct] = []
    while Hello() not in heard:
        heard.append(await engine.next(msgspec.Struct))
    # The submission may have been kept for this engine, or lost with the other. If it was kept, so was its end.
    kinds = [type(message) for message in heard]
    assert kinds in ([Submit, Abort, Hello], [Abort, Hello], [Hello])


async def test_an_engine_that_says_nothing_counts_as_dead_until_it_speaks(engine: PlayedEngine) -> None:
    async with EngineClient(engine.address, stall_seconds=0.2) as client:
        await engine.next(Hello)
        engine.say(READY)
        await client.wait_ready()
        stream = await admitted(engine, client, "a")
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(anext(aiter(stream)), 10)
        assert client.status is None
        assert (await engine.next(Abort)).request_id == "a"
        engine.say(READY)
        await client.wait_ready()


async def test_leaving_the_client_ends_its_streams(engine: PlayedEngine) -> None:
    async with EngineClient(engine.address) as client:
        await engine.next(Hello)
        engine.say(READY)
        await client.wait_ready()
        stream = await admitted(engine, client, "a")
    with pytest.raises(EngineUnavailable):
        await anext(aiter(stream))


async def test_frames_of_another_kind_are_skipped(
    engine: PlayedEngine, client: EngineClient, caplog: pytest.LogCaptureFixture
) -> None:
    stream = await admitted(engine, client, "a")
    socket: zmq.Socket[bytes] = engine.clients._socket
    socket.send_multipart([engine.client, b"\xc1 nonsense"])
    socket.send_multipart([engine.client, msgspec.msgpack.encode([{"type": "Surprise", "text": "a secret"}])])
    engine.say(finished("a"))
    assert [message async for message in stream] == [finished("a")]
    assert len(caplog.records) == 2
    assert "secret" not in caplog.text
