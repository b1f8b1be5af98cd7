"""The tools of a Messages request: which of them the model is told of, where, and which it may call. Pure.

Tools that only Anthropic's servers could run are left out: the model is not told of what nobody can execute. What
changes in the middle of a conversation changes nothing before that place, so that the prompt keeps its prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llm_server.api.anthropic import schema as wire
from llm_server.api.anthropic.blocks import (
    TOOL_NAME,
    ToolAdditionBlock,
    ToolDefinition,
    ToolReferenceBlock,
    ToolRemovalBlock,
    ToolResultBlock,
)
from llm_server.api.anthropic.client_tools import client_tool
from llm_server.api.anthropic.schema import CountTokensRequest, Message
from llm_server.conversation import Tool, ToolChoice
from llm_server.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Offer:
    """`tools` that the model is told of; `withdrawn` are the names of those that it may not call any more."""

    tools: tuple[Tool, ...]
    withdrawn: frozenset[str]

    @property
    def deferred(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.tools if tool.deferred)


def offer(body: CountTokensRequest) -> Offer:
    """The caller's own tools. A deferred one is among them once the conversation has mentioned it.

    Raises:
        BadRequest: a name that no tool can have.
    """
    searchable = any((tool.type or "").startswith("tool_search_tool") for tool in body.tools or ())
    changes = dict(_changes(body.messages))
    tools: dict[str, Tool] = {}
    for number, declared in enumerate(body.tools or ()):
        tool = _tool(declared, f"tools[{number}]")
        deferred = bool(declared.defer_loading) and not searchable
        if tool is not None and (not deferred or tool.name in changes):
            tools[tool.name] = replace(tool, deferred=deferred)
    for added in _additions(body.messages):
        tool = _tool(added, "tool_addition.tool.definition")
        if tool is not None:
            tools.setdefault(tool.name, replace(tool, deferred=True))
    withdrawn = frozenset(name for name, is_offered in changes.items() if not is_offered and name in tools)
    return Offer(tuple(tools.values()), withdrawn)


def left_out(body: CountTokensRequest) -> Iterator[str]:
    """The types of the declared tools that nobody here can run."""
    return (tool.type or "" for tool in body.tools or () if not _is_own(tool) and client_tool(tool.type or "") is None)


def mentioned(message: Message) -> Iterator[str]:
    """The names of the tools that a message adds to those which the model knows."""
    yield from (name for name, is_offered in _changes([message]) if is_offered)


def tool_choice(choice: wire.ToolChoice | None, offered: Offer) -> ToolChoice:
    """Whether tools may or must be called, and which.

    Raises:
        BadRequest: a call is required that can not be made.
    """
    names = frozenset(tool.name for tool in offered.tools) - offered.withdrawn
    allowed = names if offered.withdrawn else None
    if choice is None:
        return ToolChoice("auto", allowed)
    most = 1 if choice.disable_parallel_tool_use else None
    match choice.type:
        case "none":
            return ToolChoice("none")
        case "auto":
            return ToolChoice("auto", allowed, most)
        case "any" if names:
            return ToolChoice("required", allowed, most)
        case "tool" if choice.name in names:
            return ToolChoice("required", frozenset({choice.name or ""}), most)
        case "tool":
            why = "this server runs no server tools, and a deferred tool has to be found first"
            raise BadRequest(f"tool_choice: the tool '{choice.name}' can not be called: {why}", param="tool_choice")
    raise BadRequest(f"tool_choice: no tool is offered that '{choice.type}' could call", param="tool_choice")


def _additions(messages: Sequence[Message]) -> Iterator[ToolDefinition]:
    for message in messages:
        for block in message.content:
            if isinstance(block, ToolAdditionBlock) and block.tool.definition is not None:
                yield block.tool.definition


def _changes(messages: Sequence[Message]) -> Iterator[tuple[str, bool]]:
    """Tools by name, in the order in which the conversation offers or withdraws them."""
    for message in messages:
        for block in message.content:
            match block:
                case ToolResultBlock(content=parts):
                    yield from ((part.tool_name, True) for part in parts if isinstance(part, ToolReferenceBlock))
                case ToolAdditionBlock(tool=tool):
                    yield tool.called, True
                case ToolRemovalBlock(tool=tool):
                    yield tool.called, False
                case _:
                    pass


def _is_own(tool: ToolDefinition) -> bool:
    return tool.type in (None, "custom") or tool.input_schema is not None


def _tool(tool: ToolDefinition, place: str) -> Tool | None:
    """The caller's tool, or None if nobody here could run it."""
    is_own = _is_own(tool)
    known = None if is_own else client_tool(tool.type or "")
    if not is_own and known is None:
        return None
    if not re.fullmatch(TOOL_NAME, tool.name or ""):
        raise BadRequest(f"{place}.name: must match {TOOL_NAME}", param=f"{place}.name")
    if known is not None:
        return Tool(tool.name or "", known.description, known.input_schema)
    return Tool(tool.name or "", tool.description or "", tool.input_schema, strict=bool(tool.strict))
