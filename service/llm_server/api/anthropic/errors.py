"""How the Messages API words failures and models. Knows no request and no token.

Claude Code reads the words of some failures: `ContextTooLong` says them, and nothing here may change them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from llm_server.api.http import JSON, server_sent_event
from llm_server.api.models import ServedModel
from llm_server.errors import BadRequest, Overloaded, ServerError

OVERLOADED: Final = 529
"""The status by which this API's clients know that a server is full, and try again."""

ERROR_TYPE: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}
"""Statuses whose type is not that of all of their kind: `invalid_request_error` for 4xx, `api_error` for 5xx."""


class ThreadsUnsupported(BadRequest):
    """The history of a message thread would be kept here. The SDK's tool runner reads the code and sends it itself."""

    code = "thread_unsupported_request"

    def __init__(self) -> None:
        super().__init__("thread: this server keeps no message threads; send the whole history.", param="thread")


class CompactionUnsupported(BadRequest):
    """A summary of the conversation was asked for in place of an answer."""

    code = "compaction_unsupported_request"

    def __init__(self) -> None:
        super().__init__("compaction: this server makes no summaries; ask for one in a message.", param="compaction")


class Anthropic:
    """The failures and models of every path below `/v1/messages`, and of shared paths asked by Anthropic's clients."""

    name = "anthropic"
    prefixes: tuple[str, ...] = ("/v1/messages",)
    version_header: str | None = "anthropic-version"

    def status(self, error: ServerError) -> int:
        return OVERLOADED if isinstance(error, Overloaded) else error.status

    def error(self, error: ServerError, request_id: str) -> JSON:
        details = {"type": _type(self.status(error)), "message": error.message, "details": {"error_code": error.code}}
        return {"type": "error", "error": details, "request_id": request_id}

    def stream_error(self, error: ServerError, request_id: str) -> bytes:
        return server_sent_event(self.error(error, request_id), event="error")

    def model(self, model: ServedModel) -> JSON:
        return {
            "type": "model",
            "id": model.name,
            "display_name": model.name,
            "created_at": model.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycle": "active",
            "max_input_tokens": model.context_length,
            "max_tokens": model.context_length,
        }

    def models(self, models: Sequence[ServedModel]) -> JSON:
        """One page that holds them all."""
        return {
            "data": [self.model(model) for model in models],
            "has_more": False,
            "first_id": models[0].name if models else None,
            "last_id": models[-1].name if models else None,
        }


def _type(status: int) -> str:
    return ERROR_TYPE.get(status, "invalid_request_error" if status < 500 else "api_error")
