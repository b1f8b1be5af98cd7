"""Pure ASGI layers around the routes: every request has an id and a dialect, and every exception becomes its response.

Knows no API's wire format: the dialects are handed in. `BaseHTTPMiddleware` would hide the client's leaving.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_server.api.http import Dialect, as_server_error, json_response, request_dialect, request_id
from llm_server.errors import MethodNotAllowed, NotFound, ServerError, Unauthorized

CLIENT_LEFT: Final = 499
"""What nginx logs for a client that did not wait for its answer."""

_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_DENIAL: Final = "websocket.http.response"
"""An extension of ASGI: a WebSocket that was asked for may be refused with a response."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestContext:
    """The outermost layer: `scope["state"]` gets `request_id` and `dialect`, the response both request-id headers.

    A failure before the first byte leaves its `error_code` there, too, for who observes requests.
    """

    def __init__(self, app: ASGIApp, dialects: Sequence[Dialect]) -> None:
        self._app = app
        self._dialects = dialects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identity = _accepted(headers.get("x-request-id", "")) or f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {}).update(request_id=identity, dialect=self._dialect(scope["path"], headers))

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", f"{_DENIAL}.start"):
                response = MutableHeaders(scope=message)
                response["x-request-id"] = identity
                response["request-id"] = identity
            await send(message)

        await self._app(scope, receive, send_with_id)

    def _dialect(self, path: str, headers: Headers) -> Dialect:
        for dialect in self._dialects:
            if path.startswith(dialect.prefixes):
                return dialect
        for dialect in self._dialects:
            if dialect.version_header is not None and dialect.version_header in headers:
                return dialect
        return self._dialects[-1]


class Failures:
    """Answers what the layers and routes inside it raise. Nothing is raised to the server, which would log prompts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting_start)
        except Exception as error:
            response = _response(scope, error)
            if not started:
                await _answer(response, scope, receive, send)


def failure_response(scope: Scope, error: ServerError) -> Response:
    """The error in the words of the called API, with what tells official clients whether to try again."""
    dialect = request_dialect(scope)
    scope["state"]["error_code"] = error.code
    headers = {"x-should-retry": "true" if error.retryable else "false"}
    if error.retryable:
        headers["retry-after"] = str(math.ceil(error.retry_after or 1))
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return json_response(dialect.error(error, request_id(scope)), dialect.status(error), headers)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the router raises by itself: an unknown path or a wrong method."""
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowed.status:
        allowed = ", ".join(_methods(request))
        response = failure_response(request.scope, MethodNotAllowed(f"This endpoint takes {allowed} only."))
        response.headers["allow"] = allowed
        return response
    return failure_response(request.scope, NotFound("There is no such endpoint."))


def _methods(request: Request) -> list[str]:
    """What any route takes at this path; the router's own error has the methods of the first one alone."""
    scopes = ({**request.scope, "method": method} for method in _METHODS)
    return [s["method"] for s in scopes if any(r.matches(s)[0] is Match.FULL for r in request.app.routes)]


def _accepted(identity: str) -> str | None:
    """A client's own request id, unless it could break a log line."""
    return identity if _REQUEST_ID.fullmatch(identity) else None


def _response(scope: Scope, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_LEFT)
    return failure_response(scope, as_server_error(error))


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket that is not open yet is answered as any request, if the server knows how."""
    if scope["type"] == "websocket" and _DENIAL not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
    else:
        await response(scope, receive, send)
