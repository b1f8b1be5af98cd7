"""What can be refused or go wrong, as types that know a status and a code but no response.

Each API writes its own body from them (`api/*/errors`), before the first byte as a response and after it as that
API's error event. Messages never carry any part of a prompt or of a model's output.
"""

from __future__ import annotations


class ServerError(Exception):
    """A failure with an HTTP status and a machine-readable code.

    `retry_after` is in seconds. `retryable` tells the official SDKs whether the same request may succeed later.
    `param` names the request field at fault, as OpenAI does.
    """

    status = 500
    code = "internal_error"
    retryable = False

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class BadRequest(ServerError):
    status = 400
    code = "invalid_request"


class ContextTooLong(BadRequest):
    """The prompt alone, in tokens, does not leave room for an answer."""

    code = "context_length_exceeded"

    def __init__(self, *, limit: int, prompt: int) -> None:
        self.limit = limit
        self.prompt = prompt
        super().__init__(f"prompt is too long: {prompt} tokens > {limit} maximum", param="messages")


class ToolRefused(BadRequest):
    """A tool whose input can not be enforced; `why` completes "The input of the tool '…' can not be enforced: "."""

    def __init__(self, tool: str, why: str) -> None:
        self.tool = tool
        self.why = why
        super().__init__(f"The input of the tool '{tool}' can not be enforced: {why}.", param="tools")


class Unauthorized(ServerError):
    status = 401
    code = "invalid_api_key"


class Forbidden(ServerError):
    status = 403
    code = "forbidden"


class NotFound(ServerError):
    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(ServerError):
    status = 405
    code = "method_not_allowed"


class BodyTooLarge(ServerError):
    status = 413
    code = "request_too_large"


class UnsupportedMediaType(ServerError):
    status = 415
    code = "unsupported_media_type"


class Overloaded(ServerError):
    """The queue is full. OpenAI's clients know it as 429, Anthropic's as 529."""

    status = 429
    code = "rate_limit_exceeded"
    retryable = True


class GenerationFailed(ServerError):
    """The engine could not run this request, and would fail on it again."""

    code = "generation_failed"


class EngineUnavailable(ServerError):
    """The engine is loading, restarting or has died with this request in flight."""

    status = 503
    code = "engine_unavailable"
    retryable = True


class EngineStalled(EngineUnavailable):
    """The engine is there and has said nothing for too long."""


class StoreUnavailable(ServerError):
    """Stored responses are needed, and their file can not be used."""

    code = "store_unavailable"


class RequestTimeout(ServerError):
    status = 504
    code = "timeout"
