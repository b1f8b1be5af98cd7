"""The official SDKs' own types as judges of our JSON: values of the right type, and no field that they do not name.

The SDKs themselves take anything that a server sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter


def check(kind: Any, value: Any) -> Any:
    """The value as what it is to be: a model of an SDK, or a union of them."""
    made = TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    unknown = list(_unknown(made, getattr(kind, "__name__", "value")))
    assert not unknown, unknown
    return made


def _unknown(value: Any, place: str) -> Iterator[str]:
    match value:
        case BaseModel():
            yield from (f"{place}.{name}" for name in value.model_extra or {})
            for name in type(value).model_fields:
                yield from _unknown(getattr(value, name), f"{place}.{name}")
        case list():
            for number, each in enumerate(value):
                yield from _unknown(each, f"{place}[{number}]")
