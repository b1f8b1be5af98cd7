"""What routes are given: the settings, the generator and what is known of the engine, as FastAPI dependencies."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias, cast

from fastapi import Depends
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request

from llm_server.api.models import ModelNames
from llm_server.engine.client import Engine
from llm_server.generation import Generator
from llm_server.harmony.recordings import Recordings
from llm_server.observation import Observer
from llm_server.response_store import FILE_NAME, Limits, ResponseStore
from llm_server.sealed_text import TextSealer
from llm_server.settings import Settings

Exposition: TypeAlias = Callable[[str], Awaitable[tuple[bytes, str]]]
"""All metrics as text and its content type, for an `Accept` header. Raises OSError if nobody can be asked."""


@dataclass(slots=True)
class Services:
    """One application's parts. `started` is on the monotonic clock; `engine_seen` says that an engine once answered."""

    settings: Settings
    engine: Engine
    generator: Generator
    models: ModelNames
    responses: ResponseStore
    sealed_text: TextSealer
    exposition: Exposition
    started: float = field(default_factory=time.monotonic)
    engine_seen: bool = False

    @classmethod
    def on(
        cls, engine: Engine, settings: Settings, seal_key: bytes, observe: Observer, exposition: Exposition
    ) -> Services:
        """The services that stand on this engine, and who observes them."""
        return cls(
            settings,
            engine,
            Generator(
                engine,
                request_timeout=settings.request_timeout,
                seal_key=seal_key,
                guard=settings.harmony_guard == "on",
                recordings=Recordings(settings.record) if settings.record else None,
                keep_markers=settings.client_markers == "keep",
                observe=observe,
            ),
            ModelNames(engine, settings.model_name, settings.model_aliases),
            ResponseStore(settings.state_dir / FILE_NAME, _limits(settings)),
            TextSealer(seal_key),
            exposition,
        )

    def install(self, app: Starlette) -> None:
        app.state.services = self


def _limits(settings: Settings) -> Limits:
    return Limits(settings.store_max_responses, settings.store_max_bytes, settings.store_max_days * 86_400)


def services(connection: HTTPConnection) -> Services:
    return cast("Services", connection.app.state.services)


async def _services(request: Request) -> Services:
    return services(request)


async def _generator(request: Request) -> Generator:
    return services(request).generator


async def _models(request: Request) -> ModelNames:
    return services(request).models


ServicesDep = Annotated[Services, Depends(_services)]
GeneratorDep = Annotated[Generator, Depends(_generator)]
ModelNamesDep = Annotated[ModelNames, Depends(_models)]
