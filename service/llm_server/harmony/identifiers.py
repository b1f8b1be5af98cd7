"""Tool names as the model is told of them: identifiers, as everything it was trained to call is one.

Clients name tools as they like (`mcp__fs__read-text.file`, `3d_view`). Names are mapped on the way in and back on the
way out, one to one within a request; a name that is an identifier stays what it is. Knows no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import Final

from llm_server.conversation import Conversation, GenerationRequest, Instructions, Item, ToolCall, ToolResult

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Identifiers:
    """The names of one request's declared tools, in both directions."""

    def __init__(self, declared: Iterable[str] = ()) -> None:
        self._identifiers: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for name in sorted(dict.fromkeys(declared), key=lambda name: not _IDENTIFIER.fullmatch(name)):
            identifier = self._free(_identifier(name))
            self._identifiers[name] = identifier
            self._names[identifier] = name

    def identifier(self, name: str) -> str:
        """What the model calls it. A tool of the history that is no longer declared gets the obvious identifier."""
        return self._identifiers.get(name) or _identifier(name)

    def name(self, identifier: str) -> str:
        """What the caller calls it."""
        return self._names.get(identifier, identifier)

    def _free(self, identifier: str) -> str:
        if identifier not in self._names:
            return identifier
        return next(other for number in count(2) if (other := f"{identifier}_{number}") not in self._names)


def identified(request: GenerationRequest) -> tuple[GenerationRequest, Identifiers]:
    """The request in the model's names, and the way back."""
    conversation, identifiers = identified_conversation(request.conversation)
    choice = request.tool_choice
    if choice.names is not None:
        choice = replace(choice, names=frozenset(map(identifiers.identifier, choice.names)))
    return replace(request, conversation=conversation, tool_choice=choice), identifiers


def identified_conversation(conversation: Conversation) -> tuple[Conversation, Identifiers]:
    """The conversation in the model's names, and the way back."""
    identifiers = Identifiers(tool.name for tool in conversation.tools)
    tools = tuple(replace(tool, name=identifiers.identifier(tool.name)) for tool in conversation.tools)
    items = tuple(_identified(item, identifiers) for item in conversation.items)
    return replace(conversation, tools=tools, items=items), identifiers


def _identified(item: Item, identifiers: Identifiers) -> Item:
    match item:
        case ToolCall(name=name) | ToolResult(name=name):
            return replace(item, name=identifiers.identifier(name))
        case Instructions(tools=[_, *_] as names):
            return replace(item, tools=tuple(map(identifiers.identifier, names)))
    return item


def _identifier(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{plain}" if not plain or plain[0].isdigit() else plain
