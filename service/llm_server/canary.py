"""Whether the engine still generates: one token for real, whenever nobody else has asked for a while.

Heartbeats come from a loop that turns; only a token proves that the model behind it answers. Knows the messages of
the engine's socket, and not what is done about an engine that fails.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec
import zmq
import zmq.asyncio

from llm_server.conversation import Sampling
from llm_server.engine.types import Abort, Finished, FromEngine, Hello, Refused, Status, Submit, ToEngine, Tokens

Result: TypeAlias = Literal["ok", "error", "timeout"]

_PROMPT: Final = [0]
_DECODER: Final = msgspec.msgpack.Decoder(list[FromEngine])


@dataclass(frozen=True)
class Canary:
    """After `interval` seconds without a request, 0 for never, a token has `patience` seconds to come.

    `limit` failures in a row mean that the engine does not generate any more.
    """

    interval: float = 30.0
    patience: float = 30.0
    limit: int = 3

    async def watch(self, address: str, report: Callable[[Result, float], None]) -> None:
        """Return once the engine has failed too often. `report` gets each result, and the seconds that it took."""
        if not self.interval:
            await asyncio.Event().wait()
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(address)
            await _send(socket, Hello())
            failures = 0
            while failures < self.limit:
                await self._idle(socket)
                began = time.monotonic()
                result = await self._token(socket)
                if result is not None:
                    failures = 0 if result == "ok" else failures + 1
                    report(result, time.monotonic() - began)

    async def _idle(self, socket: zmq.asyncio.Socket) -> None:
        """Until a ready engine has had nothing to do for the interval."""
        since: float | None = None
        async for message in _messages(socket):
            if not isinstance(message, Status):
                continue
            now = time.monotonic()
            if message.state != "ready" or message.running or message.waiting:
                since = None
            elif since is None:
                since = now
            elif now - since >= self.interval:
                return

    async def _token(self, socket: zmq.asyncio.Socket) -> Result | None:
        """How asking for a token went; None if the engine could not take the request just then."""
        request_id = f"canary-{secrets.token_hex(8)}"
        await _send(socket, Submit(request_id, _PROMPT, 1, [], Sampling(temperature=0.0)))
        tokens = 0
        try:
            async with asyncio.timeout(self.patience):
                async for message in _messages(socket):
                    match message:
                        case Tokens(request_id=answered) if answered == request_id:
                            tokens += 1
                        case Finished(request_id=answered) if answered == request_id:
                            return "ok" if tokens == 1 and message.reason != "error" else "error"
                        case Refused(request_id=answered) if answered == request_id:
                            return None
        except TimeoutError:
            await _send(socket, Abort(request_id))
        return "timeout"


async def _send(socket: zmq.asyncio.Socket, message: ToEngine) -> None:
    await socket.send(msgspec.msgpack.encode([message]))


async def _messages(socket: zmq.asyncio.Socket) -> AsyncIterator[FromEngine]:
    while True:
        for message in _DECODER.decode(await socket.recv()):
            yield message
