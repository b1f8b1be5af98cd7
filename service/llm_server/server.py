"""`app` for uvicorn and gunicorn: settings, engine, layers and routes are put together here, and nothing else is done.

Imports no MLX: the engine is another process.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from llm_server import __version__
from llm_server.api import anthropic, completions, openai_chat, openai_responses, system, tokenization
from llm_server.api.failures import Failures, RequestContext, on_http_exception
from llm_server.api.gate import Gate, checks, origin_pattern
from llm_server.api.http import Dialect
from llm_server.api.left_out import LEFT_OUT
from llm_server.api.openai import OpenAI
from llm_server.api.services import Services
from llm_server.cli import main
from llm_server.engine.client import Engine, EngineClient
from llm_server.engine.types import Status
from llm_server.harmony.encoding import harmony_encoding
from llm_server.model_source import served_name
from llm_server.observability.logging import configure_logging
from llm_server.observability.metrics import Metrics
from llm_server.observability.middleware import Observed
from llm_server.observability.routes import Routes
from llm_server.observability.telemetry import Telemetry, own_telemetry, worker_telemetry
from llm_server.open_files import allow_connections
from llm_server.running_engine import running_engine
from llm_server.seal_key import read_seal_key
from llm_server.settings import Settings, SettingsError, adopt_tracing, exit_on_error, load_settings
from llm_server.supervisor import owned

DIALECTS: tuple[Dialect, ...] = (anthropic.Anthropic(), OpenAI())
ROUTERS = (
    system.router,
    openai_chat.router,
    openai_responses.router,
    anthropic.router,
    completions.router,
    tokenization.router,
)


def create_app(settings: Settings, engine: Engine | None = None) -> FastAPI:
    """The application on this engine; without one, it connects to `settings.engine_address` or runs its own.

    There is no page of interactive documentation: it would load scripts from elsewhere, and bodies are read by hand.

    Raises:
        SettingsError: the API key or the key of seals can not be read.
    """
    seal_key = read_seal_key(settings)
    observation = _Observation.of(settings, _model(settings, engine), lambda: _status(app))
    app = FastAPI(
        title="llm-server",
        version=__version__,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings, engine, seal_key, observation),
        middleware=_layers(settings, observation.telemetry),
        exception_handlers={HTTPException: on_http_exception},
    )
    for router in ROUTERS:
        app.include_router(router)
    if engine is not None:
        _install(app, engine, settings, seal_key, observation.telemetry)
    return app


@dataclass(frozen=True, slots=True)
class _Observation:
    """`metrics` is None in a worker whose supervisor has them."""

    telemetry: Telemetry
    metrics: Metrics | None

    @classmethod
    def of(cls, settings: Settings, model: str, status: Callable[[], Status | None]) -> _Observation:
        routes = Routes([route for router in ROUTERS for route in router.routes])
        if settings.metrics_address is not None:
            return cls(worker_telemetry(model, settings.metrics_address, routes), None)
        metrics = Metrics(model, "api")
        return cls(own_telemetry(model, metrics, routes, status), metrics)


def _install(app: FastAPI, engine: Engine, settings: Settings, seal_key: bytes, telemetry: Telemetry) -> Services:
    services = Services.on(engine, settings, seal_key, telemetry.observe, telemetry.exposition)
    services.install(app)
    return services


def _model(settings: Settings, engine: Engine | None) -> str:
    """The name under which the model is served; an engine that is given has loaded its own."""
    if engine is not None and engine.status is not None and engine.status.model is not None:
        return settings.model_name or engine.status.model.name
    return served_name(settings)


def _status(app: FastAPI) -> Status | None:
    services: Services | None = getattr(app.state, "services", None)
    return services.engine.status if services else None


def _layers(settings: Settings, telemetry: Telemetry) -> list[Middleware]:
    """Outermost first. Errors of the gate pass through CORS, so that a listed page can read why it was refused."""
    cors = Middleware(
        CORSMiddleware,
        allow_origin_regex=origin_pattern(settings.cors_origins).pattern,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        allow_private_network=True,
        expose_headers=[
            "x-request-id",
            "request-id",
            "retry-after",
            "x-should-retry",
            LEFT_OUT,
            "server-timing",
        ],
    )
    return [
        Middleware(RequestContext, dialects=DIALECTS),
        Middleware(Observed, telemetry=telemetry),
        *([cors] if settings.cors_origins else []),
        Middleware(Failures),
        Middleware(Gate, checks=checks(settings)),
    ]


def _lifespan(
    settings: Settings, engine: Engine | None, seal_key: bytes, observation: _Observation
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(harmony_encoding)  # 0.3 s that the first request need not wait
        async with AsyncExitStack() as stack:
            if engine is None:
                address = settings.engine_address
                if address is None:
                    address = await _run_engine(settings, observation, stack)
                client = await stack.enter_async_context(EngineClient(address))
                _install(app, client, settings, seal_key, observation.telemetry)
            services: Services = app.state.services
            stack.callback(services.responses.close)
            await services.responses.tidy()
            sealer = services.generator.memory.sealer
            await stack.enter_async_context(observation.telemetry.running(lambda: sealer.rejected))
            yield

    return lifespan


async def _run_engine(settings: Settings, observation: _Observation, stack: AsyncExitStack) -> str:
    """An engine of this application's own, for as long as the stack is open. Returns its address."""
    metrics = observation.metrics
    if metrics is None:
        return await stack.enter_async_context(running_engine(settings, metrics_address=settings.metrics_address))
    metrics_address = await stack.enter_async_context(owned(settings, metrics))
    return await stack.enter_async_context(
        running_engine(settings, metrics=metrics.engine, metrics_address=metrics_address)
    )


def __getattr__(name: str) -> Any:
    """`app`, made when a server asks for it: importing this module reads no environment."""
    if name != "app":
        raise AttributeError(name)
    try:
        adopt_tracing()
        settings = load_settings()
        configure_logging(settings.log_level, "api", settings.log_format)
        allow_connections(settings.max_concurrency + settings.max_queue)
        application = create_app(settings)
    except SettingsError as error:
        exit_on_error(error)
    return globals().setdefault("app", application)


if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
