"""JSON Schemas that are sent to hurt, and what may become of each.

`REFUSED` ones are a 400 wherever they must be enforced, with a word that tells the sender why; `HARMLESS` ones only
look bad; `EXHAUSTING` ones may be given up while the model writes. None may take down or hold up anything.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]


def _nested(depth: int) -> Schema:
    schema: Schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def _counted_arrays(depth: int) -> Schema:
    schema: Schema = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema, "minItems": 100, "maxItems": 1000}
    return schema


def _doubling(keyword: str, levels: int) -> Schema:
    """Each level refers twice to the next one."""
    doubled = {f"d{level}": {keyword: [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**doubled, f"d{levels}": {"type": "object"}}}


def _objects(count: int) -> list[Schema]:
    return [
        {"type": "object", "properties": {f"k{number}_{name}": {"type": "string"} for name in range(8)}}
        for number in range(count)
    ]


def _product(keyword: str) -> Schema:
    alternatives = [
        {keyword: [{"type": "object", "properties": {f"p{number}": {"const": value}}} for value in range(6)]}
        for number in range(14)
    ]
    return {"allOf": alternatives}


def _pattern(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


REFUSED: Final[dict[str, tuple[Schema, str]]] = {
    "refers to itself": ({"$ref": "#"}, r"\$ref"),
    "refers in a circle": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        r"\$ref",
    ),
    "refers to nothing": ({"$ref": "#/$defs/nowhere"}, "nowhere"),
    "refers to the network": ({"$ref": "https://example.com/schema.json"}, "example.com"),
    "refers to a file": ({"$ref": "file:///etc/passwd"}, "passwd"),
    "a constant of 60,000 characters": ({"enum": ["y" * 60_000]}, "enum"),
    "a product of anyOf": (_product("anyOf"), "anyOf"),
    "a product of oneOf": (_product("oneOf"), "oneOf"),
    "a pattern of a thousand million characters": (_pattern("^x{1000000000}$"), "pattern"),
    "repeated repetition": (_pattern("^((((a{1,100}){1,100}){1,100}){1,100})$"), "pattern"),
    "a pattern that looks ahead": (_pattern("^(?=a)b$"), "pattern"),
    "a pattern that refers back": (_pattern(r"^(a)\1$"), "pattern"),
    "a pattern that is none": (_pattern("^(a"), "pattern"),
    "patterns that must all match": (
        {"allOf": [_pattern(f"^.*{letter}.{{50}}$") for letter in "abcdefgh"]},
        "pattern",
    ),
    "overlapping names": (
        {"type": "object", "patternProperties": {f"^.*{letter}.*$": {} for letter in "abcdefgh"}},
        "patternProperty",
    ),
    "a multiple that takes hours": ({"type": "integer", "multipleOf": 99_999_989}, "multipleOf"),
    "several multiples": (
        {"allOf": [{"type": "integer", "multipleOf": prime} for prime in (99_991, 99_989)]},
        "multipleOf",
    ),
    "too wide a range": ({"type": "number", "minimum": -1.25e300, "maximum": 9.75e300}, "maximum"),
    "40 levels": (_nested(40), "deeper"),
    "100 levels": (_nested(100), "deeper"),
    "more than 64 KiB": ({"type": "object", "description": "d" * 70_000}, "longer"),
    "cases that overlap": ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
    "no values": ({"enum": []}, "empty"),
    "nothing satisfies it": ({"type": "integer", "minimum": 5, "maximum": 1}, "minimum"),
    "never true": ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "unsatisfiable"),
    "an unknown type": ({"type": "potato"}, "potato"),
    "a type that is no string": ({"type": 5}, "type"),
    "properties that are no object": ({"type": "object", "properties": [1, 2]}, "properties"),
    "required that is no list": ({"type": "object", "required": "a"}, "required"),
    "not": ({"not": {"type": "string"}}, "not"),
    "if": ({"if": {"type": "string"}, "then": {"minLength": 2}}, "if"),
    "contains": ({"type": "array", "contains": {"type": "integer"}}, "contains"),
    "uniqueItems": ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    "propertyNames": ({"type": "object", "propertyNames": _pattern("^x")}, "propertyNames"),
    "unevaluatedProperties": ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties"),
    "an unknown format": ({"type": "string", "format": "klingon"}, "klingon"),
}

HARMLESS: Final[dict[str, Schema]] = {
    "a tree": {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"type": "object", "properties": {"l": {"$ref": "#/$defs/n"}, "r": {"$ref": "#/$defs/n"}}}},
    },
    "a chain of 900 references": {
        "$ref": "#/$defs/d0",
        "$defs": {**{f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(900)}, "d900": {"type": "object"}},
    },
    "60 doublings by anyOf": _doubling("anyOf", 60),
    "40 doublings by allOf": _doubling("allOf", 40),
    "cases that exclude each other": {"oneOf": [{"type": "string"}, {"const": 7}]},
    "2,500 values": {"enum": [f"value number {number}" for number in range(2500)]},
    "60 alternatives": {"anyOf": _objects(60)},
    "60 conditions": {"allOf": _objects(60)},
    "nested repetition": _pattern("^(a+)+$"),
    "a pattern with 2**200 states": _pattern("^(a|b)*a(a|b){200}$"),
    "3,000 patterns in one": _pattern(f"^({'|'.join(f'(w{number}.*)' for number in range(3000))})$"),
    "a thousand million items": {"type": "array", "items": {"type": "integer"}, "minItems": 10**9},
    "at most a thousand million items": {"type": "array", "items": {"type": "integer"}, "maxItems": 10**9},
    "a thousand million characters": {"type": "string", "minLength": 10**9},
    "items of items of items": _counted_arrays(8),
    "1,400 properties": {
        "type": "object",
        "properties": {f"p{number}": {"type": "string"} for number in range(1400)},
        "required": [f"p{number}" for number in range(1400)],
    },
    "700 items of their own": {"type": "array", "prefixItems": [{"enum": ["a", "b", "c"]}] * 700},
    "15 levels": _nested(15),
    "a description that looks like a grammar": {"type": "object", "description": "\n}\nstart: /.*/\n%json {"},
    "a constant that looks like a grammar": {"const": "\n}\nstart: /.*/\n%json {"},
    "white space of its own": {"type": "object", "x-guidance": {"whitespace_pattern": "(a+)+"}},
}

EXHAUSTING: Final[dict[str, Schema]] = {"a pattern with a long memory": _pattern("^.*a.{2000}$")}
