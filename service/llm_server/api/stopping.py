"""How an open WebSocket is told that the server is about to end: by an extension of its ASGI scope.

ASGI itself has no word for it. A server without the extension closes its WebSockets whatever they are doing.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Final

_EXTENSION: Final = "llm_server.stopping"

SERVICE_RESTART: Final = 1012
"""The code with which a WebSocket is closed then (RFC 6455's registry): come again."""


def announce_stopping(scope: MutableMapping[str, Any]) -> asyncio.Event:
    """An event for this scope, which the server is to set when it begins to stop."""
    event = asyncio.Event()
    scope.setdefault("extensions", {})[_EXTENSION] = event
    return event


def stopping(scope: MutableMapping[str, Any]) -> asyncio.Event:
    """Set as soon as the server begins to stop; never, if it does not announce that."""
    announced = scope.get("extensions", {}).get(_EXTENSION)
    return announced if isinstance(announced, asyncio.Event) else asyncio.Event()
