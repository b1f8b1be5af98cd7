"""A request's body: read within limits, parsed strictly, validated, and never quoted back.

The usual path (FastAPI's own) answers 500 to a lone surrogate or NaN and repeats the prompt in its 422. Here every
fault is one `BadRequest` that names the field and says what was wrong with it.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from llm_server.api.services import services
from llm_server.errors import BadRequest, BodyTooLarge, ServerError, UnsupportedMediaType

BODY_TIMEOUT: Final = 60.0
"""Seconds within which a whole body must arrive."""

MAX_DEPTH: Final = 64
"""Levels of nested arrays and objects. What reads a tool's schema further down recurses."""

MAX_DIGITS: Final = 20
"""Digits of an integer, which is as many as 64 bits can have."""

LARGE: Final = 256 * 1024
"""Bytes from which a body is read on a thread of its own. One of many small parts takes seconds."""

DRAINED: Final = 4
"""Up to so many times the allowed size is read and thrown away, since most clients read no answer before they have
sent everything."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_FIELD: Final = re.compile(r"[a-z_]{1,64}")

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class BodyTimeout(ServerError):
    """The client took too long to send its request."""

    status = 408
    code = "request_timeout"
    retryable = True


def json_body(schema: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A dependency that reads the request's body as this schema: `Annotated[Schema, Depends(json_body(Schema))]`."""

    async def read(request: Request) -> M:
        return await _read(request, lambda body: validate(schema, parse(body)))

    return read


async def json_value(request: Request) -> Any:
    """A dependency that reads the request's body as JSON, of any schema: see `validate`."""
    return await _read(request, parse)


async def _read(request: Request, understood: Callable[[bytes], T]) -> T:
    _require_json(request)
    body = await read_body(request, services(request).settings.max_body_bytes)
    return await asyncio.to_thread(understood, body) if len(body) >= LARGE else understood(body)


def parse(body: bytes) -> Any:
    """JSON as RFC 8259 has it and no more: UTF-8, no NaN, no number beyond 64 bits, no key twice, limited depth.

    Raises:
        BadRequest: with the position of the fault, and without the text around it.
    """
    try:
        value = json.loads(
            body.decode(),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short,
            object_pairs_hook=_without_duplicates,
        )
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not valid UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    except RecursionError:
        raise _too_deep() from None
    _limit_depth(value)
    if _SURROGATE.search(body):
        _refuse_lone_surrogates(value)
    return value


def validate(schema: type[M], value: Any, place: str = "") -> M:
    """The body as its schema, or a part of it, whose place is then put before its fields.

    Raises:
        BadRequest: `param` is the first field at fault, such as `messages[0].content`.
    """
    if not isinstance(value, dict):
        raise BadRequest(f"{place or 'The body'} must be a JSON object.", param=place or None)
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
    param = _path(fault["loc"], place, value)
    raise BadRequest(_explain(param, fault), param=param or None)


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("The content-type must be application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("A compressed body is not supported: send it without content-encoding.")


async def read_body(request: Request, limit: int, *, timeout: float = BODY_TIMEOUT) -> bytes:  # noqa: ASYNC109
    """The whole body, of `limit` bytes at most and within `timeout` seconds.

    Raises:
        BodyTooLarge: it is longer, by its header or as it came.
        BodyTimeout: it did not arrive in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit * (1 if "expect" in request.headers else DRAINED):
        raise _too_large(limit)
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(timeout):
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit * DRAINED:
                    break
                body += chunk if received <= limit else b""
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {timeout:g} s.") from None
    if received > limit:
        raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes (LLM_MAX_BODY_BYTES).")


def _too_deep() -> BadRequest:
    return BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _refuse_constant(name: str) -> Any:
    raise BadRequest(f"The body is not valid JSON: {name} is no JSON number.")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise BadRequest("The body holds a number that is too large.")
    return value


def _short(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise BadRequest(f"The body holds an integer of more than {MAX_DIGITS} digits.")
    if not -(2**63) <= (number := int(digits)) < 2**64:
        raise BadRequest("The body holds an integer of more than 64 bits.")
    return number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadRequest("The body holds an object with the same key twice.")
    return members


def _limit_depth(value: Any) -> None:
    """Level by level, so that the check itself does not recurse."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return
    raise _too_deep()


def _children(node: Any) -> Iterable[Any]:
    match node:
        case dict():
            return node.values()
        case list():
            return node
    return ()


def _refuse_lone_surrogates(value: Any) -> None:
    """Half of an escaped pair is valid JSON, and no character: nothing could encode it again."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest(
            "The body holds half of a surrogate pair (a \\ud800 to \\udfff escape that stands alone)."
        ) from None


def _path(location: tuple[int | str, ...], path: str, value: Any) -> str:
    """`messages[0].content`. Keys that are not plain field names came from the client and are left out.

    So are steps that the body does not have and that are not the last: pydantic's names of a union's members.
    """
    for number, step in enumerate(location, 1):
        if isinstance(step, int):
            path += f"[{step}]"
            value = value[step] if isinstance(value, list) and step < len(value) else None
        elif isinstance(value, dict) and number < len(location) and _is_tag(step, location[number], value):
            continue
        else:
            path += (f".{step}" if path else step) if _FIELD.fullmatch(step) else ""
            value = value.get(step) if isinstance(value, dict) else None
    return path


def _is_tag(step: str, following: int | str, value: dict[str, Any]) -> bool:
    """Whether a step only names the member of a union. A block of text has a field of that name, too: its text."""
    return step not in value or value.get("type") == step == following


def _explain(param: str, fault: ErrorDetails) -> str:
    """What was wrong, in pydantic's words where these can not quote the input."""
    match fault["type"]:
        case "missing":
            return f"Missing required field '{param}'."
        case "value_error" | "assertion_error":
            reason = str(fault["msg"]).partition(", ")[2]
        case "union_tag_invalid":
            reason = "Input is of an unknown kind"
        case "dict_type" | "model_type" | "model_attributes_type" | "union_tag_not_found":
            reason = "Input should be an object"
        case "list_type" | "tuple_type":
            reason = "Input should be a list"
        case "too_long":
            reason = str(fault["msg"]).replace("Tuple", "List")
        case _:
            reason = str(fault["msg"])
    return f"Invalid '{param}': {reason}." if param else f"Invalid body: {reason}."
