"""OpenAI's words for failures, models and tokens, the same in all of its APIs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llm_server.api.http import JSON, server_sent_event
from llm_server.api.models import ServedModel
from llm_server.errors import ContextTooLong, ServerError
from llm_server.events import Usage

LOWEST_LOGPROB: Final = -9999.0
"""What OpenAI sends for a token that can not occur. JSON has no infinity."""


class OpenAI:
    """The dialect of every path that no other API claims."""

    name = "openai"
    prefixes: tuple[str, ...] = ("/v1/chat/", "/v1/completions", "/v1/responses")
    version_header: str | None = None

    def status(self, error: ServerError) -> int:
        return error.status

    def error(self, error: ServerError, request_id: str) -> JSON:  # noqa: ARG002 (it is in the headers)
        details = {"message": _message(error), "type": _type(error.status), "param": error.param, "code": error.code}
        return {"error": details}

    def stream_error(self, error: ServerError, request_id: str) -> bytes:
        return server_sent_event(self.error(error, request_id))

    def model(self, model: ServedModel) -> JSON:
        created = int(model.created.timestamp())
        return {"id": model.name, "object": "model", "created": created, "owned_by": "openai"}

    def models(self, models: Sequence[ServedModel]) -> JSON:
        return {"object": "list", "data": [self.model(model) for model in models]}


def _message(error: ServerError) -> str:
    """LiteLLM, for one, knows a prompt that is too long by OpenAI's words and not by its code."""
    match error:
        case ContextTooLong(limit=limit, prompt=prompt):
            allowed = f"This model's maximum context length is {limit} tokens."
            return f"{allowed} However, your prompt resulted in {prompt} tokens."
    return error.message


def _type(status: int) -> str:
    match status:
        case 401:
            return "authentication_error"
        case 403:
            return "permission_error"
        case 429:
            return "rate_limit_error"
        case _:
            return "invalid_request_error" if status < 500 else "server_error"


def finite(logprob: float) -> float:
    return max(logprob, LOWEST_LOGPROB)


def usage(prompts: Sequence[Sequence[Usage]]) -> JSON:
    """Tokens of all choices of all prompts together. The choices of one prompt share it, and it counts once.

    All but the first choice find the prompt known, because the first has read it: that is not what the caller saved.
    """
    choices = [choice for prompt in prompts for choice in prompt]
    read = sum(max(choice.prompt for choice in prompt) for prompt in prompts)
    generated = sum(choice.completion for choice in choices)
    cached = sum(min(choice.cached for choice in prompt) for prompt in prompts)
    stored = sum(max(choice.stored for choice in prompt) for prompt in prompts)
    return {
        "prompt_tokens": read,
        "completion_tokens": generated,
        "total_tokens": read + generated,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": stored, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": sum(choice.reasoning for choice in choices),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
