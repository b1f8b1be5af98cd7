"""Whether the engine is alive: it says so once a second, and silence means that it is stuck.

Knows one message of the socket, and neither requests nor what is done about a stuck engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import zmq
import zmq.asyncio

from llm_server.engine.types import Hello, Status


def _ignore(_: Status) -> None:
    pass


@dataclass(frozen=True)
class Heartbeat:
    """How long an engine that has loaded its model may be silent: `limit` waits of `tick` seconds.

    Waits are counted, rather than a clock read, so that a machine that slept, or a supervisor that was suspended,
    does not take its own absence for the engine's.
    """

    tick: float = 1.0
    limit: int = 30

    async def watch(
        self, address: str, on_ready: Callable[[Status], None], on_status: Callable[[Status], None] = _ignore
    ) -> None:
        """Return once the engine is stuck. `on_ready` is called when it is ready, once, `on_status` each time.

        While it loads it may be silent: a download or a first compilation takes as long as it takes.
        """
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(address)
            await socket.send(msgspec.msgpack.encode([Hello()]))
            is_ready = False
            silent = 0
            while silent < self.limit:
                if await socket.poll(int(self.tick * 1000)):
                    *_, status = msgspec.msgpack.decode(await socket.recv(), type=list[Status])
                    silent = 0
                    on_status(status)
                    if status.state == "ready" and not is_ready:
                        is_ready = True
                        on_ready(status)
                elif is_ready:
                    silent += 1
