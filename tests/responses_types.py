"""The official SDK's own types of the Responses API, as a judge that forbids what they do not name.

The SDK itself takes anything that a server sends. Here its models are walked: every field has to be named, every value
to be of its type, and of a union one member has to take all of it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from openai.types.responses import CompactedResponse, Response, ResponseItemList, ResponseStreamEvent
from openai.types.responses.input_token_count_response import InputTokenCountResponse
from openai.types.responses.responses_server_event import ResponsesServerEvent
from pydantic import BaseModel

EXTRA: Mapping[type, frozenset[str]] = {Response: frozenset({"presence_penalty", "frequency_penalty", "store"})}
"""What OpenAI's servers send, and the Open Responses specification demands, though the SDK does not name it."""


def check_response(value: Any) -> Response:
    return _check(Response, value)


def check_event(value: Any) -> Any:
    faults = list(_faults(ResponseStreamEvent, value, "event"))
    assert not faults, faults
    return value


def check_message(value: Any) -> Any:
    """An event as it is sent over a WebSocket."""
    faults = list(_faults(ResponsesServerEvent, value, "message"))
    assert not faults, faults
    return value


def check_items(value: Any) -> ResponseItemList:
    return _check(ResponseItemList, value)


def check_compacted(value: Any) -> CompactedResponse:
    return _check(CompactedResponse, value)


def check_count(value: Any) -> InputTokenCountResponse:
    return _check(InputTokenCountResponse, value)


M = typing.TypeVar("M", bound=BaseModel)


def _check(model: type[M], value: Any) -> M:
    faults = list(_faults(model, value, model.__name__))
    assert not faults, faults
    return model.model_validate(value)


def _faults(kind: Any, value: Any, place: str) -> Iterator[str]:
    """What is wrong with the value, if it is to be of this type."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _faults(get_args(kind)[0], value, place)
    elif origin in (Union, types.UnionType):
        yield from _union_faults(get_args(kind), value, place)
    elif origin is Literal:
        yield from () if value in get_args(kind) else (f"{place}: {value!r} is none of {get_args(kind)}",)
    elif origin in (list, dict):
        yield from _member_faults(origin, get_args(kind)[-1], value, place)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _model_faults(kind, value, place)
    elif not _is_plain(kind, value):
        yield f"{place}: {value!r} is no {kind}"


def _member_faults(origin: Any, kind: Any, value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, origin):
        yield f"{place}: {value!r} is no {origin}"
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        yield from _faults(kind, value[key], f"{place}[{key}]")


def _is_plain(kind: Any, value: Any) -> bool:
    if kind in (Any, object):
        return True
    if kind is None or kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _union_faults(kinds: tuple[Any, ...], value: Any, place: str) -> Iterator[str]:
    """The faults of the member that comes nearest, among those whose `type` is the value's."""
    attempts = []
    for kind in _of_its_type(kinds, value):
        attempts.append(list(_faults(kind, value, place)))
        if not attempts[-1]:
            return
    yield from min(attempts, key=len)


def _of_its_type(kinds: tuple[Any, ...], value: Any) -> list[Any]:
    named = value.get("type") if isinstance(value, dict) else None
    return [kind for kind in kinds if named in (_types(kind) or [named])] or list(kinds)


@cache
def _types(kind: Any) -> tuple[Any, ...]:
    """The values that `type` may have in this model; none if it may have any, or if it is no model."""
    if not isinstance(kind, type) or not issubclass(kind, BaseModel) or "type" not in kind.model_fields:
        return ()
    annotation = kind.model_fields["type"].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _model_faults(model: type[BaseModel], value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: {value!r} is no object"
        return
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for name, field in fields.items():
        if field.is_required() and name not in value:
            yield f"{place}: {model.__name__} needs {name}"
    for key, each in value.items():
        if key in fields:
            yield from _faults(fields[key].annotation, each, f"{place}.{key}")
        elif key not in EXTRA.get(model, ()):
            yield f"{place}: {model.__name__} has no {key}"
