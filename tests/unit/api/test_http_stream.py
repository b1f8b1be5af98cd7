"""Streams and leaving clients, driven by hand-written `receive` and `send`."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Scope

from llm_server.api.http import EventStream, collect_while_connected, server_sent_event, while_connected
from llm_server.api.openai import OpenAI
from llm_server.errors import EngineUnavailable, GenerationFailed
from llm_server.events import BlockDelta, BlockStart, BlockStop, Event, Finish

PATIENCE = 5.0
"""Seconds after which something that should have ended is taken for stuck."""


def scope() -> Scope:
    return {"type": "http", "headers": [], "state": {"request_id": "req_1", "dialect": OpenAI()}}


class Source:
    """What a stream has to close."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def aclose(self) -> None:
        self.closed.set()


class Client:
    """Reads what is sent, and leaves when `left` is set."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.sent: list[Message] = []
        self.got_event = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.got_event.set()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if message["type"] == "http.response.body"]


async def two_events() -> AsyncGenerator[bytes, None]:
    yield server_sent_event({"n": 1})
    yield server_sent_event({"n": 2}, "named")


async def one_event_then_nothing() -> AsyncGenerator[bytes, None]:
    yield server_sent_event({"n": 1})
    await asyncio.Event().wait()


def failing_with(error: Exception) -> AsyncGenerator[bytes, None]:
    async def events() -> AsyncGenerator[bytes, None]:
        yield server_sent_event({"n": 1})
        raise error

    return events()


async def test_each_event_is_one_send_and_the_source_is_closed() -> None:
    source, client = Source(), Client()
    await EventStream(source, two_events())(scope(), client.receive, client.send)
    assert client.bodies == [b'data: {"n":1}\n\n', b'event: named\ndata: {"n":2}\n\n', b""]
    assert client.sent[-1]["more_body"] is False
    assert source.closed.is_set()


async def test_headers_say_that_nothing_may_hold_events_back() -> None:
    source, client = Source(), Client()
    await EventStream(source, two_events())(scope(), client.receive, client.send)
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-cache"
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"content-length" not in headers


async def test_a_client_that_leaves_ends_the_stream() -> None:
    source, client = Source(), Client()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(EventStream(source, one_event_then_nothing())(scope(), client.receive, client.send))
        await client.got_event.wait()
        assert not source.closed.is_set()
        client.left.set()
        await source.closed.wait()
    assert client.bodies == [b'data: {"n":1}\n\n']


async def test_a_client_that_left_before_the_first_event_frees_the_source() -> None:
    source, client = Source(), Client()
    client.left.set()
    async with asyncio.timeout(PATIENCE):
        await EventStream(source, one_event_then_nothing())(scope(), client.receive, client.send)
    assert source.closed.is_set()


async def test_a_stream_whose_server_gives_up_says_so_and_frees_the_source() -> None:
    source, client = Source(), Client()
    running = asyncio.create_task(EventStream(source, one_event_then_nothing())(scope(), client.receive, client.send))
    await client.got_event.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert b"The server is stopping." in client.bodies[-2]
    assert (client.bodies[-1], client.sent[-1]["more_body"]) == (b"", False)
    assert source.closed.is_set()


async def test_silence_is_broken_until_the_next_event() -> None:
    released = asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        await released.wait()
        yield b"data: 2\n\n"

    async def send(message: Message) -> None:
        await client.send(message)
        if client.bodies.count(b": keep-alive\n\n") == 3:
            released.set()

    source, client = Source(), Client()
    async with asyncio.timeout(PATIENCE):
        await EventStream(source, events(), interval=0.001)(scope(), client.receive, send)
    kept = [b": keep-alive\n\n"] * 3
    assert client.bodies[:4] == [b"data: 1\n\n", *kept]
    assert client.bodies[-2:] == [b"data: 2\n\n", b""]


async def test_events_of_a_stream_that_speaks_are_all_there_is() -> None:
    source, client = Source(), Client()
    await EventStream(source, two_events(), interval=PATIENCE)(scope(), client.receive, client.send)
    assert len(client.bodies) == 3


async def test_keep_alives_are_numbered_on_although_the_client_reads_slowly() -> None:
    numbers = itertools.count()

    def numbered() -> bytes:
        return b"%d" % next(numbers)

    async def events() -> AsyncGenerator[bytes, None]:
        for count in range(100):
            if count % 3 == 0:
                await asyncio.sleep(0.003)
            yield numbered()

    async def send(message: Message) -> None:
        if len(client.sent) % 4 == 0:
            await asyncio.sleep(0.003)
        await client.send(message)

    source, client = Source(), Client()
    async with asyncio.timeout(PATIENCE):
        await EventStream(source, events(), keep_alive=numbered, interval=0.001)(scope(), client.receive, send)
    assert len(client.bodies) > 101
    assert client.bodies == [*(b"%d" % number for number in range(len(client.bodies) - 1)), b""]


async def test_a_stream_whose_keep_alive_finds_no_reader_is_given_up() -> None:
    source, client = Source(), Client()

    async def send(message: Message) -> None:
        if message.get("body") == b": keep-alive\n\n":
            raise BrokenPipeError
        await client.send(message)

    async with asyncio.timeout(PATIENCE):
        await EventStream(source, one_event_then_nothing(), interval=0.001)(scope(), client.receive, send)
    assert source.closed.is_set()


async def test_a_client_that_does_not_read_is_given_up() -> None:
    source, client = Source(), Client()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    stream = EventStream(source, two_events(), write_timeout=0.01)
    async with asyncio.timeout(PATIENCE):
        await stream(scope(), client.receive, send)
    assert source.closed.is_set()


async def test_a_broken_connection_frees_the_source() -> None:
    source, client = Source(), Client()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise BrokenPipeError

    await EventStream(source, two_events())(scope(), client.receive, send)
    assert source.closed.is_set()


async def test_a_failure_after_the_first_byte_is_an_event_and_the_last_one() -> None:
    source, client = Source(), Client()
    stream = EventStream(source, failing_with(EngineUnavailable("The engine has stopped.")))
    await stream(scope(), client.receive, client.send)
    assert client.bodies == [
        b'data: {"n":1}\n\n',
        b'data: {"error":{"message":"The engine has stopped.","type":"server_error","param":null,'
        b'"code":"engine_unavailable"}}\n\n',
        b"",
    ]
    assert source.closed.is_set()


async def test_an_unforeseen_failure_is_told_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    source, client = Source(), Client()
    with caplog.at_level(logging.DEBUG):
        await EventStream(source, failing_with(KeyError("a secret prompt")))(scope(), client.receive, client.send)
    assert b"internal_error" in client.bodies[1]
    assert b"secret" not in b"".join(client.bodies)
    assert "KeyError" in caplog.text
    assert "failing_with" in caplog.text or "raise error" in caplog.text
    assert "secret" not in caplog.text


def request(client: Client) -> Request:
    return Request(scope(), client.receive)


class Answer:
    """A generation of given events, which then ends, fails or hangs."""

    def __init__(self, *events: Event, then: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.closed = False
        self.prompt_tokens = 1
        self._events = list(events)
        self._then = then

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> Event:
        if self._events:
            return self._events.pop(0)
        if self._then:
            await self._then()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


TEXT = (BlockStart(0, "text"), BlockDelta(0, "Hi"), BlockStop(0), Finish("stop"))


async def test_a_whole_answer_is_collected_and_closed() -> None:
    answer = Answer(*TEXT)
    assert (await collect_while_connected(request(Client()), answer)).text == "Hi"
    assert answer.closed


async def test_a_client_that_leaves_frees_a_whole_answer() -> None:
    client, answer = Client(), Answer(TEXT[0], then=asyncio.Event().wait)
    async with asyncio.timeout(PATIENCE):
        waiting = asyncio.create_task(collect_while_connected(request(client), answer))
        client.left.set()
        with pytest.raises(ClientDisconnect):
            await waiting
    assert answer.closed


async def test_a_failure_of_a_whole_answer_is_raised_and_closed() -> None:
    async def fail() -> None:
        raise GenerationFailed("No.")

    answer = Answer(TEXT[0], then=fail)
    with pytest.raises(GenerationFailed):
        await collect_while_connected(request(Client()), answer)
    assert answer.closed


async def test_an_answer_that_is_there_beats_a_client_that_leaves() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def work() -> str:
        return "done"

    assert await while_connected(receive, work()) == "done"
