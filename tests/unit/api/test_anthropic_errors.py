"""Failures in the Messages API's words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from anthropic.types import ModelInfo

from llm_server.api.anthropic.errors import Anthropic
from llm_server.api.models import ServedModel
from llm_server.errors import (
    BadRequest,
    BodyTooLarge,
    ContextTooLong,
    EngineUnavailable,
    Forbidden,
    GenerationFailed,
    MethodNotAllowed,
    ModelNotFound,
    Overloaded,
    RequestTimeout,
    ServerError,
    Unauthorized,
    UnsupportedMediaType,
)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequest("m"), 400, "invalid_request_error"),
        (Unauthorized("m"), 401, "authentication_error"),
        (Forbidden("m"), 403, "permission_error"),
        (ModelNotFound("m"), 404, "not_found_error"),
        (MethodNotAllowed("m"), 405, "invalid_request_error"),
        (BodyTooLarge("m"), 413, "request_too_large"),
        (UnsupportedMediaType("m"), 415, "invalid_request_error"),
        (Overloaded("m"), 529, "overloaded_error"),
        (ServerError("m"), 500, "api_error"),
        (GenerationFailed("m"), 500, "api_error"),
        (EngineUnavailable("m"), 503, "api_error"),
        (RequestTimeout("m"), 504, "timeout_error"),
    ],
)
def test_each_failure_has_its_status_and_type(error: ServerError, status: int, kind: str) -> None:
    assert Anthropic().status(error) == status
    assert Anthropic().error(error, "req_1") == {
        "type": "error",
        "error": {"type": kind, "message": "m", "details": {"error_code": error.code}},
        "request_id": "req_1",
    }


def test_a_prompt_that_is_too_long_says_so_in_words_that_claude_code_reads() -> None:
    body = Anthropic().error(ContextTooLong(limit=4096, prompt=5000), "req_1")
    assert body["error"]["message"] == "prompt is too long: 5000 tokens > 4096 maximum"


def test_a_failure_in_the_stream_is_an_error_event() -> None:
    name, data = Anthropic().stream_error(EngineUnavailable("m"), "req_1").decode().removesuffix("\n\n").split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: ")) == Anthropic().error(EngineUnavailable("m"), "req_1")


def test_models_are_in_the_current_shape() -> None:
    page = Anthropic().models([ServedModel("gpt-oss-20b", 131072), ServedModel("gpt-oss-tiny")])
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("gpt-oss-20b", "gpt-oss-tiny", False)
    model = ModelInfo.model_validate(page["data"][0])
    assert (model.id, model.max_input_tokens, model.lifecycle) == ("gpt-oss-20b", 131072, "active")
    assert model.created_at == datetime(2025, 8, 5, tzinfo=UTC)


def test_no_model_is_an_empty_page() -> None:
    assert Anthropic().models([]) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
