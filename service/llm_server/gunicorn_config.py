"""gunicorn's configuration, and its worker class: HTTP over uvicorn, with limits on slow clients and an orderly end.

Part of the package, so that an installed server has it; `deploy/gunicorn.conf.py` is the same by the name that
gunicorn looks for. The supervisor adds the listening sockets as `--bind fd://N`.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn_worker import UvicornWorker

from llm_server.api.stopping import announce_stopping
from llm_server.child_process import end_with_parent
from llm_server.observability.logging import logging_config
from llm_server.settings import load_settings

_settings = load_settings()


HEADERS_TOO_LARGE: Final = (
    b'{"error": {"message": "The headers are too large.", "type": "invalid_request_error", "param": null,'
    b' "code": "headers_too_large"}}'
)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's own waits for ever for a client that connects and is silent, or that never ends its headers.

    It also reads headers of any size, and copies a long one anew with each part of it that comes. RFC 6585, section 5.
    """

    header_seconds: ClassVar[float] = 15.0
    header_bytes: ClassVar[int] = 64 * 1024
    _header_deadline: asyncio.TimerHandle | None = None
    _header_room: int | None = None
    """How many bytes the headers that are being read may still have."""

    def data_received(self, data: bytes) -> None:
        room = self._header_room
        if room is not None and len(data) > room:
            super().data_received(data[:room])
            if self._header_room is not None:
                self._refuse_headers()
                return
            data = data[room:]
        elif room is not None:
            self._header_room = room - len(data)
        if not self.transport.is_closing():
            super().data_received(data)

    def _refuse_headers(self) -> None:
        head = (
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
        )
        length = b"content-length: %d\r\n\r\n" % len(HEADERS_TOO_LARGE)
        if not self.transport.is_closing():
            self.transport.write(head + length + HEADERS_TOO_LARGE)
            self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def on_message_begin(self) -> None:
        self._expect_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._forget_deadline()
        self._header_room = None
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._forget_deadline()
        self._header_room = self.header_bytes
        self._header_deadline = self.loop.call_later(self.header_seconds, self.transport.close)

    def _forget_deadline(self) -> None:
        if self._header_deadline is not None:
            self._header_deadline.cancel()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's own cuts off what is being said when the server is to end. Here the application is told, and closes."""

    _stopping: asyncio.Event | None = None

    async def run_asgi(self) -> None:
        self._stopping = announce_stopping(cast("MutableMapping[str, Any]", self.scope))
        await super().run_asgi()

    def shutdown(self) -> None:
        if self._stopping is None or self.close_sent or not self.handshake_complete:
            super().shutdown()
        else:
            self._stopping.set()


class ApiWorker(UvicornWorker):  # type: ignore[misc]
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "auto",
        "http": HttpProtocol,
        "ws": WebSocketProtocol,
        "ws_max_size": _settings.max_body_bytes,
        "lifespan": "on",
        "server_header": False,
        "access_log": False,  # the application writes a line for each request itself, and of a stream when it has ended
    }


def post_fork(_server: object, _worker: object) -> None:
    end_with_parent()


bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = ApiWorker
keepalive = _settings.keepalive_timeout
# A worker whose event loop has not turned for this long hangs. Importing the application on a machine that swaps,
# because a model is being loaded beside it, must not look like that.
timeout = 90
# Streams end by themselves before this: the supervisor stops the engine after `shutdown_timeout`.
graceful_timeout = int(_settings.shutdown_timeout) + 10
logconfig_dict = logging_config(_settings.log_level, "api", _settings.log_format)
control_socket_disable = True
proc_name = "llm-server"
