"""`app` for uvicorn and gunicorn: settings, engine, layers and routes are put together here, and nothing else is done.

Imports no MLX: the engine is another process.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from llm_server import __version__
from llm_server.api import anthropic, openai_chat, openai_responses, system
from llm_server.api.failures import Failures, RequestContext, on_http_exception
from llm_server.api.gate import Gate, checks, origin_pattern
from llm_server.api.http import Dialect
from llm_server.api.openai import OpenAI
from llm_server.api.services import Services
from llm_server.cli import main
from llm_server.engine.client import Engine, EngineClient
from llm_server.harmony.encoding import harmony_encoding
from llm_server.observability.logging import configure_logging
from llm_server.seal_key import read_seal_key
from llm_server.settings import Settings, SettingsError, exit_on_error, load_settings
from llm_server.supervisor import running_engine

DIALECTS: tuple[Dialect, ...] = (anthropic.Anthropic(), OpenAI())
ROUTERS = (system.router, openai_chat.router, openai_responses.router, anthropic.router)


def create_app(settings: Settings, engine: Engine | None = None) -> FastAPI:
    """The application on this engine; without one, it connects to `settings.engine_address` or runs its own.

    There is no page of interactive documentation: it would load scripts from elsewhere, and bodies are read by hand.

    Raises:
        SettingsError: the API key or the key of seals can not be read.
    """
    seal_key = read_seal_key(settings)
    app = FastAPI(
        title="llm-server",
        version=__version__,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings, engine, seal_key),
        middleware=_layers(settings),
        exception_handlers={HTTPException: on_http_exception},
    )
    for router in ROUTERS:
        app.include_router(router)
    if engine is not None:
        Services.on(engine, settings, seal_key).install(app)
    return app


def _layers(settings: Settings) -> list[Middleware]:
    """Outermost first. Errors of the gate pass through CORS, so that a listed page can read why it was refused."""
    cors = Middleware(
        CORSMiddleware,
        allow_origin_regex=origin_pattern(settings.cors_origins).pattern,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "request-id", "retry-after", "x-should-retry", "x-tools-left-out"],
    )
    return [
        Middleware(RequestContext, dialects=DIALECTS),
        *([cors] if settings.cors_origins else []),
        Middleware(Failures),
        Middleware(Gate, checks=checks(settings)),
    ]


def _lifespan(
    settings: Settings, engine: Engine | None, seal_key: bytes
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(harmony_encoding)  # 0.3 s that the first request need not wait
        async with AsyncExitStack() as stack:
            if engine is None:
                address = settings.engine_address
                if address is None:
                    address = await stack.enter_async_context(running_engine(settings))
                client = await stack.enter_async_context(EngineClient(address))
                Services.on(client, settings, seal_key).install(app)
            yield

    return lifespan


def __getattr__(name: str) -> Any:
    """`app`, made when a server asks for it: importing this module reads no environment."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = load_settings()
        configure_logging(settings.log_level, "api")
        application = create_app(settings)
    except SettingsError as error:
        exit_on_error(error)
    return globals().setdefault("app", application)


if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
