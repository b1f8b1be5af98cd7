"""Tool definitions as gpt-oss was trained to see them: a TypeScript-like namespace (Harmony guide, "Function calling").

Text in, text out. The form is that of `openai_harmony`, to the letter where that library covers the schema; `$ref`,
`anyOf`, `allOf`, `const`, enums of any type and maps, which it writes as `any`, are written out here, and so are the
comments that it leaves out or spoils. Tools that take plain text, which it does not know, are functions of a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from llm_server.conversation import Freeform, Tool

Schema: TypeAlias = Mapping[str, Any]

MAX_DEPTH: Final = 32
"""Schemas nest this deep at most; below that, and where a `$ref` meets itself, the type is `any`."""

MOST_REFERENCES: Final = 256
"""What a tool's `$ref`s are written out at most: references to references double with each level."""

_WRITTEN_OUT: Final = ("anyOf", "allOf", "$ref")
"""What the library writes as `any`."""

_SEVERAL = re.compile(r".* [|&] .*")
_PLAIN_KEY = re.compile(r"[\w$.-]+")
_SCALARS: Final = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}


def render_tools(tools: Iterable[Tool]) -> str:
    """The "# Tools" section of the developer message."""
    definitions = "".join(_definition(tool) for tool in tools)
    return f"# Tools\n\n## functions\n\nnamespace functions {{\n\n{definitions}}} // namespace functions"


def _definition(tool: Tool) -> str:
    comment = "".join(f"// {line}\n" for line in tool.description.splitlines())
    if tool.freeform is not None:
        return f"{comment}{_syntax(tool.freeform)}type {tool.name} = (_: string) => any;\n\n"
    if tool.parameters is None:
        return f"{comment}type {tool.name} = () => any;\n\n"
    return f"{comment}type {tool.name} = (_: {_Types(tool.parameters).render(tool.parameters, '', 0)}) => any;\n\n"


def _syntax(freeform: Freeform) -> str:
    """What the input looks like. The model writes it as it is, so it has to be told that there is no JSON around it."""
    if freeform.syntax == "text":
        return "// The input is plain text, not JSON.\n"
    grammar = "".join(f"// {line}\n" for line in freeform.definition.splitlines())
    kind = "regular expression" if freeform.syntax == "regex" else "Lark grammar"
    return f"// The input is plain text, not JSON. It follows this {kind}:\n{grammar}"


class _Types:
    """Renders one tool's schema; `root` is where its `$ref`s point."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._open: frozenset[str] = frozenset()
        self._followed = 0

    def render(self, schema: Any, indent: str, depth: int) -> str:
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
            return "any"
        around = self._open
        schema, references = self._resolve(schema)
        self._followed += len(references)
        if references & around or self._followed > MOST_REFERENCES:
            return "any"
        self._open = around | references
        text = self._type(schema, indent, depth)
        self._open = around
        return f"{text} | null" if schema.get("nullable") is True and "null" not in text else text

    def _type(self, schema: Schema, indent: str, depth: int) -> str:
        match schema:
            case {"const": value}:
                return _literal(value)
            case {"enum": [*values]} if values:
                return " | ".join(map(_literal, values))
            case {"oneOf": [*variants]} if variants:
                return _lines(self._union(variants, indent, depth), indent)
            case {"anyOf": [*variants]} if variants:
                texts = self._union(variants, indent, depth)
                is_plain = not any(map(_remark, variants)) and not any("\n" in text for text in texts)
                return " | ".join(texts) if is_plain else _lines(texts, indent)
            case {"allOf": [*parts]} if parts:
                return " & ".join(self.render(part, indent, depth + 1) for part in parts)
            case {"type": [*names]}:
                return " | ".join(self.render({**schema, "type": name}, indent, depth + 1) for name in names) or "any"
            case {"type": "array"}:
                return self._array(schema, indent, depth)
            case {"type": "object"} | {"properties": _}:
                return self._object(schema, indent, depth)
            case {"type": str(name)}:
                return _SCALARS.get(name, "any")
        return "any"

    def _resolve(self, schema: Schema) -> tuple[Schema, frozenset[str]]:
        """Follow local references; what the reference is annotated with wins over its target."""
        followed: set[str] = set()
        for _ in range(MAX_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema, frozenset(followed)
            followed.add(reference)
            target = self._lookup(reference)
            schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
        return {}, frozenset(followed)

    def _lookup(self, reference: str) -> Schema:
        target: Any = self._root
        for key in reference.removeprefix("#").strip("/").split("/"):
            key = key.replace("~1", "/").replace("~0", "~")
            target = target.get(key) if key and isinstance(target, Mapping) else target if not key else None
        return target if isinstance(target, Mapping) and target is not self._root else {}

    def _union(self, variants: Sequence[Any], indent: str, depth: int) -> list[str]:
        return [self.render(variant, f"{indent}   ", depth + 1) + _remark(variant) for variant in variants]

    def _array(self, schema: Schema, indent: str, depth: int) -> str:
        if "items" not in schema:
            return "Array<any>"
        items = schema["items"]
        item = self.render(items, indent, depth + 1)
        is_written_out = isinstance(items, Mapping) and not items.keys().isdisjoint(_WRITTEN_OUT)
        return f"({item})[]" if is_written_out and _SEVERAL.fullmatch(item) else f"{item}[]"

    def _object(self, schema: Schema, indent: str, depth: int) -> str:
        properties = schema.get("properties")
        required = schema.get("required")
        lines = [
            self._property(str(key), value, isinstance(required, Sequence) and key in required, indent, depth)
            for key, value in (properties.items() if isinstance(properties, Mapping) else ())
        ]
        if isinstance(extra := schema.get("additionalProperties"), Mapping):
            lines.append(f"{indent}[key: string]: {self.render(extra, indent + '    ', depth + 1)},\n")
        return f"{_comment(schema.get('description'), indent)}{{\n{''.join(lines)}{indent}}}"

    def _property(self, key: str, value: Any, required: bool, indent: str, depth: int) -> str:
        if not isinstance(value, Mapping):
            value = {}
        name = (key if _PLAIN_KEY.fullmatch(key) else json.dumps(key)) + ("" if required else "?")
        is_union = "oneOf" in value or "anyOf" in value
        text = self.render(value, indent if is_union else f"{indent}    ", depth + 1)
        title, description = _title(value, indent), _comment(value.get("description"), indent)
        examples, default = _examples(value, indent), f"// {_default(value)}" if "default" in value else ""
        if text.startswith("\n") and value.get("type") != "array":
            default = f"{indent}{default}\n" if default else ""
            return f"{title}{examples}{description}{default}{indent}{name}:{text}\n{indent},\n"
        return f"{title}{description}{examples}{indent}{name}: {text},{f' {default}' if default else ''}\n"


def _lines(variants: Sequence[str], indent: str) -> str:
    """A union with a line for each variant."""
    return "".join(f"\n{indent} | {variant}" for variant in variants)


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _default(schema: Schema) -> str:
    default = schema["default"]
    bare = isinstance(default, str) and bool(schema.get("enum"))
    return f"default: {default if bare else _literal(default)}"


def _comment(text: Any, indent: str) -> str:
    return "".join(f"{indent}// {line}\n" for line in text.splitlines()) if isinstance(text, str) else ""


def _title(schema: Schema, indent: str) -> str:
    return f"{_comment(title, indent)}{indent}//\n" if isinstance(title := schema.get("title"), str) else ""


def _examples(schema: Schema, indent: str) -> str:
    examples = schema.get("examples")
    if not isinstance(examples, list) or not examples:
        return ""
    return f"{indent}// Examples:\n" + "".join(f"{indent}// - {_literal(example)}\n" for example in examples)


def _remark(variant: Any) -> str:
    """What a variant of a union says of itself, after its type."""
    if not isinstance(variant, Mapping):
        return ""
    description = variant.get("description")
    words = " ".join(description.splitlines()) if isinstance(description, str) else ""
    default = _default(variant) if "default" in variant else ""
    return f" // {f'{words} {default}'.strip()}" if words or default else ""
