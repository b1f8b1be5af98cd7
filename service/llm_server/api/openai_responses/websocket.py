"""The Responses API over a WebSocket: requests come as messages, events go as messages, one response after another.

What the last response of a connection was asked and answered stays in memory, so that the next one can go on from it
without its being stored. A turn that fails takes along what it went on from. Failures are told in-band, and the
connection stays. A client that names a lane (`stream_id`) finds it in every event; lanes are no queues of their own.

Source: the Open Responses specification ("WebSocket transport"), the `openai` SDK's types, and what Codex sends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from llm_server.api.body import parse, validate
from llm_server.api.http import JSON, WRITE_TIMEOUT, as_server_error, request_dialect, request_id
from llm_server.api.openai_responses.response import ResponseWriter
from llm_server.api.openai_responses.schema import ResponseRequest
from llm_server.api.openai_responses.turn import Recent, Turn, prepare
from llm_server.api.services import Services
from llm_server.api.stopping import SERVICE_RESTART, stopping
from llm_server.errors import BadRequest, BodyTooLarge, ServerError
from llm_server.events import Finish

CREATE: Final = "response.create"

log = logging.getLogger("llm_server.api")


class Session:
    """One connection. `run` ends when the client leaves, and whatever is being generated ends with it.

    When the server is to end, what was asked is answered first.
    """

    def __init__(self, socket: WebSocket, services: Services) -> None:
        self._socket = socket
        self._services = services
        self._recent: Recent | None = None
        self._requests: asyncio.Queue[str | bytes | None] = asyncio.Queue(maxsize=1)
        self._wire = _Wire(socket)

    async def run(self) -> None:
        await self._socket.accept()
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._answer())]
        beside = asyncio.create_task(self._end_with_server())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, beside):
                task.cancel()
            await asyncio.gather(*tasks, beside, return_exceptions=True)

    async def _receive(self) -> None:
        """Reads on while something is generated, or nobody would notice that the client has left."""
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            await self._requests.put(message.get("text") or message.get("bytes") or "")

    async def _end_with_server(self) -> None:
        await stopping(self._socket.scope).wait()
        await self._requests.put(None)

    async def _answer(self) -> None:
        try:
            while (message := await self._requests.get()) is not None:
                await self._respond(message)
            await self._socket.close(SERVICE_RESTART)
        except WebSocketDisconnect:
            log.info("client left, connection closed")

    async def _respond(self, message: str | bytes) -> None:
        """One response, or one error."""
        turn: Turn | None = None
        try:
            self._wire.name_lane(None)
            body = self._read(message)
            recent = self._recent
            if recent is not None and body.previous_response_id == recent.id:
                self._recent = None
            turn = await prepare(body, self._services, recent)
            await self._run(turn, generates=body.generate is not False)
            self._recent = turn.recent()
        except WebSocketDisconnect:
            raise
        except Exception as error:
            await self._fail(as_server_error(error), turn.writer if turn else None)

    def _read(self, message: str | bytes) -> ResponseRequest:
        raw = message.encode() if isinstance(message, str) else message
        limit = self._services.settings.max_body_bytes
        if len(raw) > limit:
            raise BodyTooLarge(f"The message is larger than {limit} bytes (LLM_MAX_BODY_BYTES).")
        value = parse(raw)
        if isinstance(value, dict):
            self._wire.name_lane(value.get("stream_id"))
            if value.get("type", CREATE) != CREATE:
                raise BadRequest(f"Only messages of the type '{CREATE}' are understood here.", param="type")
        return validate(ResponseRequest, value)

    async def _run(self, turn: Turn, *, generates: bool) -> None:
        if not generates:
            await self._wire.send(turn.writer.start)
            turn.writer.feed(Finish("stop"))
        else:
            await self._generate(turn)
        await turn.keep(self._services.responses)
        await self._wire.send(lambda: [turn.writer.end()])

    async def _generate(self, turn: Turn) -> None:
        writer = turn.writer
        generation = await turn.start(self._services)
        async with aclosing(generation):
            await self._wire.send(writer.start)
            alive = asyncio.create_task(self._wire.show_life(writer, self._services.settings.ping_interval))
            try:
                async for event in generation:
                    await self._wire.send(partial(writer.feed, event))
            finally:
                alive.cancel()
                await asyncio.gather(alive, return_exceptions=True)

    async def _fail(self, error: ServerError, writer: ResponseWriter | None) -> None:
        if writer is not None and writer.is_started:
            await self._wire.send(lambda: [writer.failed(error)])
            return
        scope = self._socket.scope
        dialect = request_dialect(scope)
        body = dialect.error(error, request_id(scope))
        await self._wire.send(lambda: [{"type": "error", "status": dialect.status(error), **body}])


class _Wire:
    """The client's end of the connection. Events are made when it is their turn to be sent, so that they stay in order.

    Every method raises `WebSocketDisconnect` if the client is gone, or does not read.
    """

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._writing = asyncio.Lock()
        self._last = 0.0
        self._lane: JSON = {}

    def name_lane(self, name: object) -> None:
        """What events are to say from here on of the lane that they belong to, if they belong to any."""
        self._lane = {"stream_id": name} if isinstance(name, str) else {}

    async def send(self, make: Callable[[], Iterable[JSON]]) -> None:
        async with self._writing:
            for event in make():
                await self._write(msgspec.json.encode({**event, **self._lane}).decode())

    async def show_life(self, writer: ResponseWriter, interval: float) -> None:
        """Says that the response is in progress whenever nothing was sent for so many seconds."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._last + interval - clock())
            if clock() - self._last >= interval:
                await self.send(lambda: [writer.in_progress()])

    async def _write(self, text: str) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self._socket.send_text(text)
        except TimeoutError:
            raise WebSocketDisconnect(1006) from None
        self._last = asyncio.get_running_loop().time()
