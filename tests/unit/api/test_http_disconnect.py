"""A client that leaves frees its slots in the engine: whole and streamed, on every API, at every moment."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from clients import application
from fakes import Hang, Script, ScriptedEngine, message, reply, text_tokens
from llm_server.harmony.encoding import END, START

PATIENCE = 5.0
"""Seconds after which something that should have ended is taken for stuck."""

BODY = {
    "model": "gpt-oss-20b",
    "messages": [{"role": "user", "content": "Hello"}],
    "prompt": [START, *text_tokens("assistant")],
    "max_tokens": 100,
}
PATHS = ["/v1/chat/completions", "/v1/messages", "/v1/completions"]
SCRIPTS: dict[str, Script] = {
    "before the first token": [Hang()],
    "while it thinks": [*message("analysis", "Hm, hm, hm.", END)[:-3], Hang()],
    "while it answers": [*reply("Hm.", "A long answer, of which much is to come.")[:-4], Hang()],
}


class Connection:
    """One client of the whole application: sends its request, reads, and leaves when told to."""

    def __init__(self, path: str, body: dict[str, Any]) -> None:
        self.left = asyncio.Event()
        self.sent: list[Message] = []
        self._path = path
        self._request: list[Message] = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    @property
    def scope(self) -> Scope:
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": b"",
            "headers": headers,
        }

    async def receive(self) -> Message:
        if self._request:
            return self._request.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def talk_to(self, app: FastAPI) -> None:
        await app(self.scope, self.receive, self.send)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("moment", SCRIPTS)
async def test_a_client_that_leaves_frees_its_slot(path: str, stream: bool, moment: str) -> None:
    engine = ScriptedEngine(SCRIPTS[moment])
    connection = Connection(path, BODY | {"stream": stream})
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        talk = group.create_task(connection.talk_to(application(engine)))
        await engine.hanging.wait()
        assert (engine.running, talk.done()) == (1, False)
        connection.left.set()
        await engine.closing.wait()
    assert engine.running == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_all_choices_of_a_client_that_leaves_are_freed(stream: bool) -> None:
    engine = ScriptedEngine(SCRIPTS["while it answers"])
    connection = Connection("/v1/chat/completions", BODY | {"stream": stream, "n": 4})
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(connection.talk_to(application(engine)))
        await engine.hanging.wait()
        assert engine.running == 4
        connection.left.set()
    assert engine.running == 0


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_else_is_disturbed(path: str) -> None:
    scripts = [SCRIPTS["while it answers"], reply("Hm.", "Done.")]
    engine = ScriptedEngine(lambda _: scripts.pop(0))
    app = application(engine)
    leaving, staying = Connection(path, BODY | {"stream": True}), Connection(path, BODY | {"stream": True})
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(leaving.talk_to(app))
        await engine.hanging.wait()
        leaving.left.set()
        group.create_task(staying.talk_to(app))
    assert b"Done" in b"".join(message.get("body", b"") for message in staying.sent)
    assert engine.running == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_stops_frees_the_slot(path: str, stream: bool) -> None:
    engine = ScriptedEngine(SCRIPTS["while it answers"])
    talk = asyncio.create_task(Connection(path, BODY | {"stream": stream}).talk_to(application(engine)))
    await engine.hanging.wait()
    talk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talk
    assert engine.running == 0
