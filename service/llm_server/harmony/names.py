"""Which declared tool a recipient means. Knows spellings, and nothing of tokens or messages.

Models misspell the names they call in a handful of ways: without `functions.`, with another prefix, with a word of the
header glued to the end, with `-` for `_`. A name is only ever resolved to a declared tool, the exact spelling wins,
and what could mean two tools means none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Final

LONGEST_NAME: Final = 128

_PREFIX = re.compile(
    r"(?:(?:\w+\.)*functions?|tools?)\s*(?:\.|::?|/|\[|->|#)\s*|(?:functions?_|tool_(?:call_|use_)?)(?=.)",
    re.IGNORECASE,
)
_GLUED = re.compile(r"(?:json|code|response|commentary|analysis|final|:\d+)$", re.IGNORECASE)
_AROUND = " \t\r\n\"'`()[]<>:;,.?!|*=@"
_WRAPPERS = frozenset(
    f"{verb}{noun}"
    for verb in ("", "call", "invoke", "run", "execute", "use")
    for noun in ("", "tool", "tools", "function", "functions")
) | {"toolcall", "toolcalls", "tooluse", "functioncall", "functioncalls", "multitooluseparallel", "parallel"}


class ToolNames:
    """The tools that a request declared."""

    def __init__(self, declared: Collection[str] = ()) -> None:
        self._declared = frozenset(declared)
        self._loosely: dict[str, set[str]] = defaultdict(set)
        for name in self._declared:
            self._loosely[_loose(name)].add(name)

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def resolve(self, recipient: str) -> str | None:
        """The declared tool that `recipient` means, or None."""
        spellings = list(dict.fromkeys(_spellings(recipient)))
        exact = next((spelling for spelling in spellings if spelling in self._declared), None)
        if exact is not None:
            return exact
        for spelling in spellings:
            matches = self._loosely.get(_loose(spelling), ())
            if len(matches) == 1:
                return next(iter(matches))
        return None


def is_canonical(recipient: str, tool: str) -> bool:
    """Whether the recipient is written as the model was taught: `functions.NAME`, or a built-in's `namespace.NAME`."""
    return recipient == f"functions.{tool}" or (recipient == tool and "." in tool)


def is_wrapper(recipient: str) -> bool:
    """Whether the recipient is no tool but a word for calling one: `tool.run`, `functions`, `call_tool`.

    The body is then expected to say which tool is meant.
    """
    return any(_loose(spelling) in _WRAPPERS for spelling in _spellings(recipient))


def sanitise(name: str) -> str:
    """A name that a model made up, fit for a prompt, a log or a label: at most 128 of `A-Za-z0-9_.-`."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name[:LONGEST_NAME])


def _spellings(recipient: str) -> Iterator[str]:
    """The recipient, then ever more of what may have been put around the name removed."""
    name = recipient.split("<|", 1)[0]
    yield name
    name = name.strip(_AROUND)
    yield name
    while match := _PREFIX.match(name):
        name = name[match.end() :]
        yield name
    while match := _GLUED.search(name):
        name = name[: match.start()].rstrip(_AROUND)
        yield name


def _loose(name: str) -> str:
    """The letters and digits of a name, case aside; the whole name if it has none."""
    return "".join(character for character in name.casefold() if character.isalnum()) or name
