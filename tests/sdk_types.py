"""The official SDKs' own types as judges of our JSON: every field is named, every value of its type.

The SDKs themselves take anything that a server sends. Here their models are walked; of a union, one member has to take
all of the value.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from openai.types.responses import Response
from pydantic import BaseModel, TypeAdapter

EXTRA: Mapping[type, frozenset[str]] = {Response: frozenset({"presence_penalty", "frequency_penalty", "store"})}
"""What OpenAI's servers send, and the Open Responses specification demands, though the SDK does not name it."""


def check(kind: Any, value: Any) -> Any:
    """The value as what it is to be: a model of an SDK, or a union of them."""
    faults = list(_faults(kind, value, getattr(kind, "__name__", "value")))
    assert not faults, faults
    return _adapter(kind).validate_python(value)


_adapter = cache(TypeAdapter)


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
