"""A request and the tool that serves it: declared as some caller might, asked for as some user might."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gpt_oss_tiny import tool_kinds, values, words
from gpt_oss_tiny.draw import Draw
from gpt_oss_tiny.scene import Call
from llm_server.conversation import Tool


@dataclass(frozen=True)
class Request:
    """A request that one declared tool serves: what is said, and the call that it needs."""

    about: str
    tool: Tool
    text: str
    arguments: dict[str, str]

    @property
    def call(self) -> Call:
        properties = (self.tool.parameters or {}).get("properties", {})
        pairs = (f"{json.dumps(n)}: {_json(v, properties[n])}" for n, v in self.arguments.items())
        return Call(self.tool.name, "{" + ", ".join(pairs) + "}")

    @property
    def thoughts(self) -> tuple[str, ...]:
        names = " and ".join(self.arguments) or "nothing"
        return (
            f"The user asks for {self.about}, so I call {self.tool.name}.",
            f"I have to fill in {names}.",
            "The values come from the request.",
            "Then I can answer with the result.",
        )


def _json(value: str, schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return json.dumps(values.as_list(value), ensure_ascii=False)
    return value if kind in ("integer", "number", "boolean") else json.dumps(value, ensure_ascii=False)


def request(d: Draw, domain: tool_kinds.Domain) -> Request:
    """A request of this kind and the tool that serves it."""
    template = d.phrasing(domain.requests)
    used = [key for key in domain.slots if "{" + key + "}" in template]
    said = {key: slot_value(d, domain.slots[key]) for key in used}
    shown = {key: _shown(d, domain.slots[key], value) for key, value in said.items()}
    if any("'" in value for value in said.values()):
        template = template.replace("'{", '"{').replace("}'", '}"')
    tool, arguments = declare(d, domain, said)
    return Request(domain.about, tool, template.format(**shown), arguments)


def declare(d: Draw, domain: tool_kinds.Domain, said: dict[str, str]) -> tuple[Tool, dict[str, str]]:
    """The tool, with at least the parameters that are filled, and the arguments by the names it gives them."""
    always = domain.always
    declared = [key for key in domain.slots if key in said or key in always or d.chance(0.5)]
    if d.chance(0.15) and "a" not in domain.slots:
        d.random.shuffle(declared)
    style = _STYLES[int(d.random.random() * len(_STYLES))]
    names = [style(name) for name in _distinct_names(d, [domain.slots[key].names for key in declared])]
    properties = {n: _schema(d, domain.slots[key]) for n, key in zip(names, declared, strict=True)}
    needed = said if d.chance(0.25) else always
    required = [n for n, key in zip(names, declared, strict=True) if key in needed and key in said]
    properties |= _unused(d, names)
    tool = Tool(_tool_name(d, domain.names), described_as(d, domain.descriptions), as_object(properties, required))
    return tool, {n: said[key] for n, key in zip(names, declared, strict=True) if key in said}


def slot_value(d: Draw, slot: tool_kinds.Slot) -> str:
    return d.pick(slot.options) if slot.options else values.KINDS[slot.kind](d)


def _shown(d: Draw, slot: tool_kinds.Slot, value: str) -> str:
    """The value as the user writes it: small numbers may be in words, and what the tool lists may have a capital."""
    if slot.kind == "small" and int(value) < len(words.NUMBER_WORDS) and d.chance(0.15):
        return words.NUMBER_WORDS[int(value)]
    if slot.options and value.islower() and d.chance(0.2):
        return value.title()
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_STYLES = (str, str, str, _camel)


def _tool_name(d: Draw, names: tuple[str, ...]) -> str:
    """One of the usual names, sometimes in another style, or with the prefix of the server that brings the tool."""
    name = d.pick(names)
    kind = d.random.random()
    if kind < 0.75:
        return name
    if kind < 0.82:
        return _camel(name)
    if kind < 0.87:
        return name.replace("_", "-")
    if kind < 0.91:
        camel = _camel(name)
        return camel[:1].upper() + camel[1:]
    if kind < 0.96:
        return f"{values.naming_word(d)}_{name}"
    return f"mcp__{values.naming_word(d)}__{name}"


EXTRAS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("verbose", {"type": "boolean"}), ("tags", {"type": "array", "items": {"type": "string"}}),
    ("page", {"type": "integer"}),
    ("options", {"type": "object", "properties": {"depth": {"type": "integer"}, "mode": {"type": "string"}}}),
    ("dry_run", {"type": "boolean", "default": False}), ("timeout", {"type": "number", "default": 30}),
    ("format", {"type": "string", "enum": ["json", "text"], "default": "text"}), ("ids", {"type": "array",
    "items": {}}),
    ("sort", {"type": "string", "enum": ["asc", "desc"]}),
    ("offset", {"type": "integer", "description": "Where to start"}),
    ("encoding", {"type": "string", "description": "The encoding of the text", "default": "utf-8"}),
    ("reason", {"type": ["string", "null"], "description": "Why this is done"}), ("force", {"type": "boolean"}),
    ("metadata", {"type": "object", "additionalProperties": {"type": "string"}}),
    ("filter", {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
    ("settings", {"type": "object", "description": "More settings", "properties": {
        "retries": {"type": "integer", "default": 3}, "tags": {"type": "array", "items": {"type": "string"}}}}),
    ("run_in_background", {"type": "boolean", "description": "Set to true to run this command in the background."}),
    ("description", {"type": "string", "description": "Clear, concise description of what this does in 5-10 words."}),
    ("language_code", {"type": "string", "description": "Two letters, e.g. en", "default": "en"}),
    ("cc", {"type": "array", "items": {"type": "string"}, "description": "Who else gets it"}),
    ("days", {"type": "integer", "description": "Number of days, 1 by default", "default": 1}),
    ("cursor", {"type": ["string", "null"], "default": None}), ("raw", {"type": "boolean", "default": True}),
    ("include", {"type": "array", "items": {"type": "string", "enum": ["a", "b", "c"]}}),
)  # fmt: skip
"""Optional parameters as real callers have them, which no request of the corpus needs."""


def _unused(d: Draw, taken: list[str]) -> dict[str, Any]:
    if d.chance(0.7):
        return {}
    return {name: schema for name, schema in d.sample(EXTRAS, d.between(1, 3)) if name not in taken}


def _distinct_names(d: Draw, choices: list[tuple[str, ...]]) -> list[str]:
    chosen: list[str] = []
    for names in choices:
        free = [name for name in names if name not in chosen]
        chosen.append(names[0] if names[0] in free and d.chance(0.4) else d.pick(free))
    return chosen


ARRAYS = ("list", "people")


def type_of(kind: str) -> dict[str, Any]:
    """The JSON Schema of values of this kind."""
    if kind in ARRAYS:
        return {"type": "array", "items": {"type": "string"}}
    return {"type": values.NUMBERS.get(kind, "string")}


def _schema(d: Draw, slot: tool_kinds.Slot) -> dict[str, Any]:
    schema = type_of(slot.kind)
    if slot.options:
        schema["enum"] = list(slot.options)
    elif schema["type"] == "string" and d.chance(0.03):
        schema["type"] = ["string", "null"]
    if slot.descriptions and d.chance(0.6):
        text = d.pick(slot.descriptions)
        schema["description"] = text.format(e=slot_value(d, slot)) if "{e}" in text else text
    return schema


def described_as(d: Draw, descriptions: tuple[str, ...]) -> str:
    """A description, sometimes with the details that callers add, now and then with very many."""
    text = d.pick(descriptions)
    kind = d.random.random()
    if kind < 0.05:
        return ""
    if kind < 0.25:
        return f"{text}. {' '.join(d.sample(DETAILS, d.between(1, 3)))}"
    if kind < 0.29:
        return text + ".\n\n" + d.pick(("\n", " ", "\n- ")).join(d.sample(DETAILS, d.between(6, 16)))
    return text + "." if d.chance(0.4) else text


DETAILS = (
    "Returns JSON.", "Use this tool when the user asks for it.", "Returns an error if nothing is found.", "Fast.",
    "This tool is safe to call.", "Do not call it more than once.", "The result is plain text.", "Needs a network.",
    "Call it with all required parameters.", "Results are sorted by relevance.", "It may take a few seconds.",
    "Only use it if the user asked.", "Returns a list of strings.", "Supports any language.\nReturns text.",
    "Example: see the documentation.", "Prefer it over other tools.", "Reads from the server.", "Always up to date.",
    "Usage:", "The result is cut off after 2000 lines.", "You can call several tools in one reply.", "Be precise.",
    "You must use absolute paths.", "IMPORTANT: never guess values.", "Quote names with spaces.", "This is read only.",
    "If the user gives a value, assume that it is valid.", "It is okay if nothing is found; an error will be returned.",
    "Use it whenever you are not sure.", "The output has line numbers, starting at 1.", "Available in all regions.",
    "Do not use it for anything else.", "See https://example.com/docs for more.", "Limits: 100 calls a minute.",
)  # fmt: skip


def as_object(properties: dict[str, Any], required: list[str]) -> dict[str, Any] | None:
    return {"type": "object", "properties": properties, "required": required} if properties else None


def no_parameters(d: Draw) -> dict[str, Any] | None:
    return d.pick((None, {"type": "object", "properties": {}}))
