"""Applications on a scripted engine, and the official SDKs as their clients, without a socket."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import Any

import httpx2
from anthropic import Anthropic, AsyncAnthropic
from fastapi import FastAPI
from openai import AsyncOpenAI, OpenAI

from llm_server.engine.client import Engine
from llm_server.server import create_app
from llm_server.settings import Settings

URL = "http://localhost"

_SCRATCH = tempfile.TemporaryDirectory(prefix="llm-server-tests-")

_ANTHROPIC: dict[str, Any] = {"api_key": "none", "base_url": URL, "max_retries": 0}
_OPENAI: dict[str, Any] = {"api_key": "none", "base_url": f"{URL}/v1", "max_retries": 0}


def settings(**values: Any) -> Settings:
    """Settings that no `.env` of the developer's changes, and that write nothing into the developer's home."""
    state_dir = Path(_SCRATCH.name) / secrets.token_hex(8)
    return Settings(_env_file=None, **{"seal_key": "a key for tests", "state_dir": state_dir, **values})


def application(engine: Engine, **values: Any) -> FastAPI:
    return create_app(settings(**values), engine)


class SyncASGITransport(httpx2.BaseTransport):
    """ASGI for a synchronous client: each request runs in an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx2.ASGITransport(app)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        response = await self._transport.handle_async_request(request)
        content = await response.aread()
        return httpx2.Response(response.status_code, headers=response.headers, content=content)


def async_client(app: FastAPI, **headers: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=URL, headers=headers)


def async_openai(app: FastAPI, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(**_OPENAI | {"http_client": async_client(app)} | options)


def sync_openai(app: FastAPI, **options: Any) -> OpenAI:
    return OpenAI(**_OPENAI | {"http_client": httpx2.Client(transport=SyncASGITransport(app))} | options)


def async_anthropic(app: FastAPI, **options: Any) -> AsyncAnthropic:
    return AsyncAnthropic(**_ANTHROPIC | {"http_client": async_client(app)} | options)


def sync_anthropic(app: FastAPI, **options: Any) -> Anthropic:
    return Anthropic(**_ANTHROPIC | {"http_client": httpx2.Client(transport=SyncASGITransport(app))} | options)
