"""The routes that are no model API: health, probes, and the list of models in the caller's dialect."""

from __future__ import annotations

import time
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from llm_server.api.http import JSON, json_response, request_dialect
from llm_server.api.services import ModelNamesDep, Services, ServicesDep

STARTING: Final = 120.0
"""Seconds an engine may take until it first answers. It says that it is loading long before the model is loaded."""

router = APIRouter()
_READ = ["GET", "HEAD"]


@router.api_route("/", methods=_READ)
async def root() -> Response:
    """Clients look here whether there is a server at all, Claude Code before its first request."""
    return json_response({"name": "llm-server"})


@router.api_route("/livez", methods=_READ)
async def livez() -> Response:
    """This process answers."""
    return json_response({"status": "ok"})


@router.api_route("/readyz", methods=_READ)
async def readyz(services: ServicesDep) -> Response:
    """A request would be run: the engine has generated a token and takes more."""
    status = services.engine.status
    state = status.state if status else "unavailable"
    if state == "ready":
        return json_response({"status": state})
    return json_response({"status": state}, 503, {"retry-after": "1"})


@router.api_route("/health", methods=_READ)
async def health(services: ServicesDep) -> Response:
    """What a person wants to know. Status 503 when the engine is lost, 200 also while the model is loading."""
    body = _health(services)
    return json_response(body, 200 if body["status"] == "ok" else 503)


@router.api_route("/metrics", methods=_READ)
async def metrics(request: Request, services: ServicesDep) -> Response:
    """For Prometheus, in its text format or OpenMetrics, also while the engine is dead."""
    try:
        body, content_type = await services.exposition(request.headers.get("accept", ""))
    except OSError:
        return json_response({"status": "the metrics can not be had now"}, 503, {"retry-after": "1"})
    return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})


@router.api_route("/v1/models", methods=_READ)
async def list_models(request: Request, models: ModelNamesDep) -> Response:
    return json_response(request_dialect(request.scope).models(models.listed()))


@router.api_route("/v1/models/{name:path}", methods=_READ)
async def get_model(name: str, request: Request, models: ModelNamesDep) -> Response:
    return json_response(request_dialect(request.scope).model(models.require(name)))


def _health(services: Services) -> JSON:
    status = services.engine.status
    uptime = time.monotonic() - services.started
    services.engine_seen |= status is not None
    lost = status is None and (services.engine_seen or uptime > STARTING)
    loaded = status is not None and status.model is not None
    return {
        "status": "error" if lost else "ok",
        "model_loaded": loaded,
        "model_name": services.models.served if loaded else None,
        "uptime_seconds": round(uptime, 3),
    }
