"""Streams while a long prompt is read: each API shows in its own way that it is alive, and then goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Scope

from clients import application
from fakes import Fail, ScriptedEngine, Wait, reply, text_tokens
from llm_server.harmony.encoding import START

PATIENCE = 5.0
"""Seconds after which something that should have ended is taken for stuck."""

BODY: dict[str, Any] = {
    "model": "gpt-oss-20b",
    "stream": True,
    "max_tokens": 100,
    "prompt": [START, *text_tokens("assistant")],
}
KEEP_ALIVE = {
    "/v1/chat/completions": b": keep-alive\n\n",
    "/v1/completions": b": keep-alive\n\n",
    "/v1/messages": b'event: ping\ndata: {"type":"ping"}\n\n',
}
FIRST = {
    "/v1/chat/completions": b"chat.completion.chunk",
    "/v1/completions": b": keep-alive",
    "/v1/messages": b"message_start",
}
LAST = {"/v1/chat/completions": b"[DONE]", "/v1/completions": b"[DONE]", "/v1/messages": b"message_stop"}


class Patient:
    """A client that counts keep-alives, and tells the engine to go on after three."""

    def __init__(self, path: str) -> None:
        self.read = asyncio.Event()
        self.bodies: list[bytes] = []
        self._path = path
        body = BODY | {"messages": [{"role": "user", "content": "Hello"}]}
        self._request: list[Message] = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    @property
    def scope(self) -> Scope:
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        return {"type": "http", "method": "POST", "path": self._path, "query_string": b"", "headers": headers}

    async def receive(self) -> Message:
        if self._request:
            return self._request.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        self.bodies += [body] if (body := message.get("body")) else []
        if self.bodies.count(KEEP_ALIVE[self._path]) >= 4:
            self.read.set()


@pytest.mark.parametrize("path", KEEP_ALIVE)
async def test_a_stream_is_kept_alive_until_the_first_token(path: str) -> None:
    client = Patient(path)
    engine = ScriptedEngine([Wait(client.read), *reply("Hm.", "Done.")])
    async with asyncio.timeout(PATIENCE):
        await application(engine, ping_interval=0.001)(client.scope, client.receive, client.send)
    assert FIRST[path] in client.bodies[0]
    assert b"Done" in b"".join(client.bodies)
    assert LAST[path] in b"".join(client.bodies[-2:])  # a comment with the timing follows it


@pytest.mark.parametrize("path", KEEP_ALIVE)
async def test_a_failure_after_keep_alives_is_an_event(path: str) -> None:
    client = Patient(path)
    engine = ScriptedEngine([Wait(client.read), Fail()])
    async with asyncio.timeout(PATIENCE):
        await application(engine, ping_interval=0.001)(client.scope, client.receive, client.send)
    assert b"The engine has stopped." in client.bodies[-1]
    assert LAST[path] not in client.bodies[-1]
