"""Calls written within a message's body, as other formats write them, and remarks before its arguments.

Pure text in and out; knows how such text begins and what it holds, and nothing of streams or events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any, Final

_NAMES: Final = ("name", "tool", "tool_name", "function", "function_name", "recipient", "recipient_name")
_ARGUMENTS: Final = ("arguments", "args", "parameters", "params", "input", "tool_input")
_ABOUT_A_CALL: Final = frozenset({*_NAMES, "id", "call_id", "type"})
"""What a call may have that is no argument. One with anything else and no arguments has them among it."""

_MOST_LEVELS: Final = 8
"""A list of calls is no deeper. JSON may be read that nests deeper than functions may call each other."""

NAMED_CALL: Final = re.compile(
    rf'\s*\{{\s*"(?:{"|".join(_NAMES)})"\s*:\s*"([^"\\]+)"\s*,\s*"(?:{"|".join(_ARGUMENTS)})"\s*:\s*(?=\{{)'
)
"""A call up to the bracket of its arguments, which can be passed on as they come."""


@lru_cache(maxsize=256)
def remark_then_object(tool: str) -> re.Pattern[str]:
    """What may stand before the JSON object: a remark, the call's name, a tag, a code fence, the bracket of a list."""
    call = rf"(?:functions\.)?{re.escape(tool)}\s*\(|" if tool else ""
    echo = r"(?:commentary\s*)?to=\S+(?:\s+(?:json|code))?"
    tags = r"<(?:tool_call|function_call|arguments|json)>"
    return re.compile(
        rf"(?!\*\*\*|---|\+\+\+|#!)(?:[^\n{{`]*[:.]|json|code|{call}{echo}|{tags}|`)?"
        r"\s*(?:```\w*\s*)?(?:\[\s*)?(?=\{)",
        re.IGNORECASE,
    )


@lru_cache(maxsize=256)
def wrappings(tool: str) -> tuple[str, ...]:
    """How a call of the tool begins that is written in place of its own arguments, without white space.

    Up to the arguments' bracket, or to the quotation mark of arguments that are a string.
    """
    calls = [
        f'{key}":"{name}","{arguments}":{begin}'
        for key, name, arguments, begin in product(_NAMES, (tool, f"functions.{tool}"), _ARGUMENTS, ("{", '"'))
    ]
    before = ('{"', '{"type":"function","', '{"function":{"', '{"type":"function","function":{"')
    return tuple(map("".join, product(before, calls)))


def is_whole(text: str) -> bool:
    """Whether the text begins with a whole JSON value."""
    return _parsed(text) is not None


def arguments_in(text: str) -> str | None:
    """The JSON object that the text holds as a string: a string it is, or the arguments of a call that it is."""
    value = _parsed(text)
    if isinstance(value, dict):
        value = _arguments_of(value["function"] if isinstance(value.get("function"), dict) else value)
    return value if isinstance(value, str) and _is_object(value) else None


def named_calls(text: str, *, bare: bool) -> Iterator[tuple[str, str]]:
    """The calls (name, arguments as JSON text) that a body holds; `bare`: a name without arguments is one, too."""
    return _calls(_parsed(text), _MOST_LEVELS, bare=bare)


def _parsed(text: str) -> Any:
    """The JSON value that the text begins with, or None."""
    try:
        return json.JSONDecoder().raw_decode(text.lstrip())[0]
    except (ValueError, RecursionError):
        return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _calls(value: Any, levels: int, *, bare: bool) -> Iterator[tuple[str, str]]:
    match value:
        case _ if not levels:
            return
        case {"tool_uses": [*uses]} | {"tool_calls": [*uses]} | {"calls": [*uses]}:
            for use in uses:
                yield from _calls(use, levels - 1, bare=bare)
        case [*uses] if bare:
            for use in uses:
                yield from _calls(use, levels - 1, bare=False)
        case {"function": dict(function)}:
            yield from _calls(function, levels - 1, bare=True)
        case dict():
            name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), None)
            arguments = _arguments_of(value)
            if arguments is None and bare and value.keys() <= _ABOUT_A_CALL:
                arguments = "{}"
            if name is not None and arguments is not None:
                yield name, arguments


def _arguments_of(call: dict[str, Any]) -> str | None:
    for key in _ARGUMENTS:
        match call.get(key):
            case str(text):
                return text
            case dict(arguments):
                return json.dumps(arguments, ensure_ascii=False)
    return None
