"""Health, probes and the list of models, for engines in every state."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
import pytest
from anthropic.types import ModelInfo as AnthropicModel
from openai.types import Model as OpenAIModel

from clients import application, async_client
from fakes import LOADING, READY, ScriptedEngine
from llm_server.engine.types import Status

ANTHROPIC = {"anthropic-version": "2023-06-01"}
LISTED = ["gpt-oss-test", "gpt-oss-20b", "openai/gpt-oss-20b"]


def client(status: Status | None = READY, **values: Any) -> httpx2.AsyncClient:
    return async_client(application(ScriptedEngine(status=status), **values))


@pytest.mark.parametrize("status", [READY, LOADING, None])
async def test_the_root_says_that_there_is_a_server(status: Status | None) -> None:
    http = client(status, api_key="secret")
    assert (await http.get("/")).json() == {"name": "llm-server"}
    head = await http.head("/")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("status", "code", "body"),
    [
        (READY, 200, {"status": "ok", "model_loaded": True, "model_name": "gpt-oss-test"}),
        (LOADING, 200, {"status": "ok", "model_loaded": False, "model_name": None}),
        (None, 200, {"status": "ok", "model_loaded": False, "model_name": None}),
    ],
)
async def test_health_has_exactly_four_fields(status: Status | None, code: int, body: dict[str, Any]) -> None:
    response = await client(status).get("/health")
    answered = response.json()
    uptime = answered.pop("uptime_seconds")
    assert (response.status_code, answered) == (code, body)
    assert isinstance(uptime, float)
    assert uptime >= 0


async def test_health_is_an_error_once_the_engine_is_lost() -> None:
    engine = ScriptedEngine()
    http = async_client(application(engine))
    assert (await http.get("/health")).json()["status"] == "ok"
    engine.status = None
    response = await http.get("/health")
    assert response.status_code == 503
    assert response.json()["status"] == "error"
    assert response.json()["model_loaded"] is False


@pytest.mark.parametrize(
    ("status", "code"),
    [(READY, 200), (LOADING, 503), (None, 503), (msgspec.structs.replace(READY, state="draining"), 503)],
)
async def test_readyz_is_503_until_the_engine_takes_requests(status: Status | None, code: int) -> None:
    response = await client(status).get("/readyz")
    assert response.status_code == code
    assert ("retry-after" in response.headers) == (code == 503)


@pytest.mark.parametrize("status", [READY, LOADING, None])
async def test_livez_asks_nobody(status: Status | None) -> None:
    assert (await client(status).get("/livez")).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/v1/models", "/v1/models/gpt-oss-test"])
async def test_head_is_answered_where_get_is(path: str) -> None:
    assert (await client().head(path)).status_code == 200


async def test_models_in_openais_shape() -> None:
    body = (await client().get("/v1/models")).json()
    assert body["object"] == "list"
    models = [OpenAIModel.model_validate(model, strict=True) for model in body["data"]]
    assert [model.id for model in models] == LISTED


async def test_models_in_anthropics_shape() -> None:
    body = (await client().get("/v1/models", headers=ANTHROPIC)).json()
    assert set(body) == {"data", "first_id", "has_more", "last_id"}
    models = [AnthropicModel.model_validate(model) for model in body["data"]]
    assert [model.id for model in models] == LISTED
    assert {model.lifecycle for model in models} == {"active"}


async def test_a_model_that_is_not_loaded_is_not_listed() -> None:
    assert (await client(LOADING, model_aliases=()).get("/v1/models")).json()["data"] == []


@pytest.mark.parametrize("name", ["gpt-oss-test", "gpt-oss-20b", "openai/gpt-oss-120b", "claude-opus-4-8"])
@pytest.mark.parametrize("headers", [{}, ANTHROPIC])
async def test_every_served_name_can_be_asked_for(name: str, headers: dict[str, str]) -> None:
    response = await client().get(f"/v1/models/{name}", headers=headers)
    assert response.status_code == 200
    assert response.json()["id"] == name


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "GPT-OSS-20B",
        "openai/gpt-4o",
        "mlx-community/gpt-oss-20b",
        "../gpt-oss-20b",
        "/etc/passwd",
        "claude",
        "gpt-oss-\u0000",
        "x" * 999,
    ],
)
async def test_any_other_model_is_404_in_both_dialects(name: str) -> None:
    path = f"/v1/models/{quote(name, safe='')}"
    openai = await client().get(path)
    assert openai.status_code == 404
    assert openai.json()["error"]["code"] == "model_not_found"
    assert "LLM_MODEL_ALIASES" in openai.json()["error"]["message"]
    anthropic = await client().get(path, headers=ANTHROPIC)
    assert anthropic.status_code == 404
    assert anthropic.json()["error"]["type"] == "not_found_error"


async def test_an_unknown_name_is_503_while_the_models_own_name_is_unknown() -> None:
    response = await client(LOADING).get("/v1/models/gpt-oss")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"


async def test_the_configured_name_wins_and_aliases_are_the_operators() -> None:
    http = client(model_name="house-model", model_aliases=("openai/gpt-oss-20b",))
    listed = [model["id"] for model in (await http.get("/v1/models")).json()["data"]]
    assert listed == ["house-model", "openai/gpt-oss-20b"]
    assert (await http.get("/v1/models/openai/gpt-oss-20b")).status_code == 200
    assert (await http.get("/v1/models/gpt-oss-test")).status_code == 404
    assert (await http.get("/health")).json()["model_name"] == "house-model"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/v1", "/v1/nothing", "/v1/models2"])
async def test_an_unknown_path_is_404_in_the_callers_dialect(path: str) -> None:
    assert (await client().get(path)).json()["error"]["type"] == "invalid_request_error"
    assert (await client().get(path, headers=ANTHROPIC)).json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("PUT", "/v1/responses/resp_1", "GET, DELETE"),
    ],
)
async def test_a_wrong_method_is_405_and_says_which_is_right(method: str, path: str, allowed: str) -> None:
    response = await client().request(method, path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == set(allowed.split(", "))
    assert response.json()["error"]["code"] == "method_not_allowed"


async def test_each_response_has_an_id_under_both_names() -> None:
    http = client()
    first, second = [(await http.get(path)).headers for path in ("/health", "/nowhere")]
    assert first["x-request-id"] == first["request-id"]
    assert second["x-request-id"] == second["request-id"]
    assert first["x-request-id"] != second["x-request-id"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("trace-1.A_b", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a b", False),
        ("a\tb", False),
        ("", False),
        ("ä", False),
    ],
)
async def test_a_clients_own_request_id_is_kept_if_it_is_sane(sent: str, kept: bool) -> None:
    response = await client().get("/livez", headers=[(b"x-request-id", sent.encode())])
    assert (response.headers["x-request-id"] == sent) is kept
