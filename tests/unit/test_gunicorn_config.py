"""API workers do not wait for ever for clients that say nothing."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from llm_server import gunicorn_config
from llm_server.gunicorn_config import HttpProtocol

REPOSITORY = Path(__file__).parents[2]


class ImpatientProtocol(HttpProtocol):
    header_seconds = 0.2


async def slow_application(scope: MutableMapping[str, Any], _receive: Any, send: Any) -> None:
    """Answers later than the protocol would wait for headers."""
    assert scope["type"] == "http"
    await asyncio.sleep(3 * ImpatientProtocol.header_seconds)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(slow_application, port=0, http=ImpatientProtocol, lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server.servers[0].sockets[0].getsockname()[1]
    await server.shutdown()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_a_client_that_never_ends_its_headers_is_left(port: int, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "part", [b"X-Long: " + b"a" * 100_000, b"X-Many: a\r\n" * 10_000, b"X-Endless: " + b"a" * 10_000_000]
)
async def test_headers_that_are_too_large_are_refused(port: int, part: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
    await writer.drain()
    writer.write(part)
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_a_body_that_comes_with_its_headers_is_no_part_of_them(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b"x" * 300_000
    for _ in range(2):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_request_may_take_longer_than_its_headers(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
    writer.write(b"GET / HTTP/1.1\r\n")
    async with asyncio.timeout(30):
        assert await reader.read() == b"", "a later request on the connection has a deadline, too"
    writer.close()


def test_the_file_that_gunicorn_looks_for_is_the_same_configuration() -> None:
    names = (
        "bind",
        "workers",
        "worker_class",
        "keepalive",
        "timeout",
        "graceful_timeout",
        "post_fork",
        "logconfig_dict",
    )
    deployed = runpy.run_path(str(REPOSITORY / "deploy" / "gunicorn.conf.py"))
    assert all(deployed[name] is getattr(gunicorn_config, name) for name in names)
