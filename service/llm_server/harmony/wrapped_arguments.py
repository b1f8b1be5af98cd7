"""Arguments within something: a remark before them, or a whole call, as other formats write one.

Pure text in and out; knows how such text begins, and nothing of streams or events.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from itertools import product
from typing import Any, Final

_NAMES: Final = ("name", "tool", "tool_name", "function", "recipient_name")
_ARGUMENTS: Final = ("arguments", "args", "parameters", "params", "input")


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
    try:
        json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def arguments_in(text: str) -> str | None:
    """The JSON object that the text holds as a string: a string it is, or the arguments of a call that it is."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
        arguments = value if isinstance(value, str) else _string_arguments(value)
        return arguments if isinstance(json.loads(arguments), dict) else None
    except (ValueError, RecursionError):
        return None


def _string_arguments(value: dict[str, Any]) -> str:
    call = value["function"] if isinstance(value.get("function"), dict) else value
    return next((call[key] for key in _ARGUMENTS if isinstance(call.get(key), str)), "")
