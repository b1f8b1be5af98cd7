"""Who may come in: checks of a request's headers, before any route runs and any body is read.

Each check is a function of the ASGI scope that raises or returns. They hold for WebSockets, too, which browsers let
any web page open.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from llm_server.errors import Forbidden, Unauthorized
from llm_server.settings import Settings

Check: TypeAlias = Callable[[Scope], None]

OPEN_PATHS: Final = frozenset({"/", "/livez", "/readyz", "/health"})
"""Probes carry no key, and learn nothing worth one."""

METRICS: Final = "/metrics"
DOCKER_HOST: Final = "host.docker.internal"
"""What a container calls the machine that it runs on. Prometheus in one asks there, and for nothing but metrics."""

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/@\s]+)(?::\d{1,5})?")


class Gate:
    """Runs the checks in order. What they raise is answered by the layer around it."""

    def __init__(self, app: ASGIApp, checks: Sequence[Check]) -> None:
        self._app = app
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            for check in self._checks:
                check(scope)
        await self._app(scope, receive, send)


def checks(settings: Settings) -> list[Check]:
    """All checks, cheapest and most general first.

    Raises:
        SettingsError: the key file can not be read.
    """
    key = settings.read_api_key()
    return [host_check(settings), origin_check(settings), key_check(key) if key else reach_check]


def reach_check(scope: Scope) -> None:
    """Without a key, connections come in over loopback alone, wherever uvicorn was told to listen (`--host 0.0.0.0`).

    A connection to anything else than an address, as a unix socket, is not one from another machine.
    """
    address = (scope.get("server") or ("",))[0]
    if _is_address(address) and not _is_loopback(address):
        raise Forbidden("Without an API key, only programs on this machine may call. Set LLM_API_KEY.")


def host_check(settings: Settings) -> Check:
    """The Host header must be one of this machine's names. Against DNS rebinding: a web page whose own name resolves
    to 127.0.0.1 is same-origin to the browser, and only its name gives it away (CVE-2024-28224)."""
    names = [*LOOPBACK, _as_host(settings.host), *map(str.lower, settings.allowed_hosts)]
    any_address = settings.host in ("0.0.0.0", "::", "")

    def check(scope: Scope) -> None:
        host = _host_name(scope)
        if host == DOCKER_HOST and scope["path"] == METRICS:
            return
        if not (any(_matches(host, name) for name in names) or (any_address and _is_address(host))):
            raise Forbidden("The Host header is none of this server's names. Add it to LLM_ALLOWED_HOSTS if it is one.")

    return check


def origin_check(settings: Settings) -> Check:
    """A web page may call only if its origin is listed, or if it is this server's own."""
    allowed = origin_pattern(settings.cors_origins)

    def check(scope: Scope) -> None:
        origins = _values(scope, b"origin")
        if not origins:
            return
        own = _values(scope, b"host")[0].lower()
        same = origins[0].lower().partition("://")[2] == own
        if len(origins) > 1 or not (same or allowed.fullmatch(origins[0])):
            raise Forbidden("Web pages of this origin may not call. Add it to LLM_CORS_ORIGINS if they should.")

    return check


def key_check(key: str) -> Check:
    """The key as bearer token or `x-api-key`. Digests are compared, so that time tells neither text nor length."""
    expected = _digest(key.encode())

    def check(scope: Scope) -> None:
        if scope["path"] in OPEN_PATHS:
            return
        presented = [_digest(credential) for credential in _credentials(scope)]
        if not any([hmac.compare_digest(expected, digest) for digest in presented]):
            raise Unauthorized("A valid API key is needed: 'Authorization: Bearer …' or 'x-api-key: …'.")

    return check


def origin_pattern(origins: Sequence[str]) -> re.Pattern[str]:
    """Matches the listed origins as a whole; `*` in one stands for any host or port (`http://localhost:*`)."""
    return re.compile("|".join(map(_origin_pattern, origins)) or r"(?!)")


def _origin_pattern(origin: str) -> str:
    return re.escape(origin).replace(r":\*", r":\d{1,5}").replace(r"\*", r"[^\s]*")


def _credentials(scope: Scope) -> list[bytes]:
    """What the client presents as a key. A header sent twice counts as none: proxies disagree on which one is meant."""
    credentials = []
    for name, prefix in ((b"authorization", b"bearer "), (b"x-api-key", b"")):
        values = [value for key, value in scope["headers"] if key == name]
        if len(values) > 1:
            return []
        credentials += [value[len(prefix) :] for value in values if value[: len(prefix)].lower() == prefix]
    return credentials


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _host_name(scope: Scope) -> str:
    """The Host header without its port, in lower case; empty if it is absent, sent twice or malformed."""
    values = _values(scope, b"host")
    match = _HOST.fullmatch(values[0].lower()) if len(values) == 1 else None
    return match[1] if match else ""


def _matches(host: str, name: str) -> bool:
    return bool(host) and (fnmatchcase(host, name) if "*" in name else host == name)


def _as_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address.lower()


def _is_address(host: str) -> bool:
    """An address can not be rebound: only names are resolved."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    """An IPv6 socket that takes IPv4, too, knows 127.0.0.1 as ::ffff:127.0.0.1."""
    own = ip_address(address.strip("[]"))
    return (getattr(own, "ipv4_mapped", None) or own).is_loopback
