"""A caller's JSON Schemas as rules of a grammar (Lark, as llguidance reads it).

Schemas are limited in size and depth, and what would go on without end is given one: white space and the digits of
integers. Knows no tools, no requests and no tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from llm_server.errors import BadRequest

MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_SCHEMA_DEPTH: Final = 32

_SPACE: Final = "( |\\n {0,24})?"
"""Between JSON's tokens: nothing, a blank, or a line break with indentation. More of it is a loop, not formatting."""

_LARGEST_INTEGER: Final = 2**53 - 1
"""What every JSON reader takes exactly (RFC 8259, section 6); a longer run of digits is a loop, too."""

_BY_NAME: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords with an object of schemas, whose keys are names."""

_DATA: Final = frozenset({"enum", "const", "default", "example", "examples", "x-guidance"})
"""Keywords with values in which nothing is a schema."""

_HARD: Final = (
    "pattern",
    "patternProperties",
    "multipleOf",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
)
"""Keywords that restrict nothing but a string's or a number's value, or a free key, and may be hard to follow."""

_COMPOSING: Final = frozenset({
    "allOf", "not", "if", "then", "else", "dependentSchemas", "unevaluatedProperties", "$dynamicRef",
})  # fmt: skip
"""Keywords with which several schemas may describe one object."""

_CHOOSING: Final = frozenset({"anyOf", "oneOf", "$ref"})
"""Keywords that stand for another schema, and describe one object with it only beside what follows."""

_MORE: Final = frozenset({"additionalProperties", "patternProperties", "propertyNames"})
"""Keywords that say something of properties that are not listed."""

_OF_OBJECTS: Final = frozenset({"properties", "patternProperties", "additionalProperties", "required"})

_TELLING: Final = (
    *_HARD[:3],
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "enum",
    "const",
    "properties",
    "minItems",
    "minLength",
)


def json_rule(schema: Mapping[str, Any], *, strict: bool) -> str:
    """The right-hand side of a rule that takes the schema's JSON and nothing else.

    Raises:
        BadRequest: the schema is too large or too deep.
    """
    finite = _mapped(schema, _finite, MAX_SCHEMA_DEPTH)
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise BadRequest(f"A JSON schema is longer than {MAX_SCHEMA_BYTES} bytes.")
    options = {"whitespace_flexible": True, "whitespace_pattern": _SPACE, "lenient": not strict}
    return "%json " + json.dumps({**finite, "x-guidance": options})


def weakened(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema's structure, without the keywords that may be hard to follow."""
    weak: Mapping[str, Any] = _mapped(schema, _without_hard, MAX_SCHEMA_DEPTH)
    return weak


def names_only(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object with the schema's properties, each of which may be anything."""
    listed, required = schema.get("properties"), schema.get("required")
    names = list(listed) if isinstance(listed, dict) else []
    if not names:
        return {"type": "object"}
    needed = [name for name in required if name in names] if isinstance(required, list) else []
    anything = dict.fromkeys(names, True)
    return {"type": "object", "properties": anything, "required": needed, "additionalProperties": False}


def closed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema, whose objects have no properties but those that they list, where it says nothing of others.

    JSON Schema would allow any. Where several schemas may describe one object, everything stays as it is: what one of
    them does not list another one may.

    Raises:
        BadRequest: the schema is too deep.
    """
    narrow: Mapping[str, Any] = _mapped(schema, _without_others, MAX_SCHEMA_DEPTH)
    return schema if any(_composes(part) for part in _schemas(schema)) else narrow


def telling_keywords(schema: Mapping[str, Any]) -> list[str]:
    """The keywords in use of which schemas are likely to become too complex, the likeliest first."""
    used = set(_keywords(schema))
    return [keyword for keyword in _TELLING if keyword in used]


def _finite(schema: dict[str, Any]) -> dict[str, Any]:
    given = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const"} & schema.keys()
    if schema.get("type") != "integer" or given:
        return schema
    return {**schema, "minimum": -_LARGEST_INTEGER, "maximum": _LARGEST_INTEGER}


def _composes(schema: Mapping[str, Any]) -> bool:
    return bool(_COMPOSING & schema.keys() or (_CHOOSING & schema.keys() and _OF_OBJECTS & schema.keys()))


def _without_others(schema: dict[str, Any]) -> dict[str, Any]:
    if _MORE & schema.keys() or not isinstance(listed := schema.get("properties"), dict):
        return schema
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) and name in listed for name in required):
        return schema
    # The library counts, for `minProperties`, only those that are not listed: it would ask for one of these.
    return {key: value for key, value in schema.items() if key != "minProperties"} | {"additionalProperties": False}


def _without_hard(schema: dict[str, Any]) -> dict[str, Any]:
    return {keyword: value for keyword, value in schema.items() if keyword not in _HARD}


def _mapped(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]], depth: int) -> Any:
    """The schema with every schema in it changed; the changed schema's parts are changed in turn.

    Raises:
        BadRequest: it is nested deeper than `depth` levels.
    """
    if depth == 0:
        raise BadRequest(f"A JSON schema is nested deeper than {MAX_SCHEMA_DEPTH} levels.")
    match schema:
        case dict():
            changed = change(schema)
            return {keyword: _mapped_value(keyword, value, change, depth - 1) for keyword, value in changed.items()}
        case list():
            return [_mapped(value, change, depth - 1) for value in schema]
    return schema


def _mapped_value(keyword: str, value: Any, change: Callable[[dict[str, Any]], dict[str, Any]], depth: int) -> Any:
    if keyword in _DATA:
        return _mapped(value, _finite_data, depth)
    if keyword in _BY_NAME and isinstance(value, dict) and depth:
        return {name: _mapped(part, change, depth - 1) for name, part in value.items()}
    return _mapped(value, change, depth)


def _finite_data(data: dict[str, Any]) -> dict[str, Any]:
    """Data stays what it is; only its depth is looked at."""
    return data


def _keywords(schema: Any) -> Iterator[str]:
    for part in _schemas(schema):
        yield from part


def _schemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The schema and all schemas in it."""
    match schema:
        case dict():
            yield schema
            for keyword, value in schema.items():
                if keyword not in _DATA:
                    parts = value.values() if keyword in _BY_NAME and isinstance(value, dict) else [value]
                    for part in parts:
                        yield from _schemas(part)
        case list():
            for part in schema:
                yield from _schemas(part)
