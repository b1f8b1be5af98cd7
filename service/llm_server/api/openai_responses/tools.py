"""The tools of a Responses request: what the model is told of, and the names by which the client knows its calls again.

A tool of a namespace is one tool among the others to the model, and comes back with name and namespace apart. Tools
that only other servers, or clients with another model, could run are left out. Knows no event and no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from llm_server.api.http import JSON
from llm_server.api.openai_responses import schema as wire
from llm_server.api.openai_responses.schema import ChosenTool, CustomFormat
from llm_server.conversation import Freeform, Tool, ToolChoice, ToolMode
from llm_server.errors import BadRequest

_MODES: Final[Mapping[str, ToolMode]] = {"auto": "auto", "none": "none", "required": "required"}


@dataclass(frozen=True, slots=True)
class Known:
    """How the client knows a tool."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Toolbox:
    """`tools` in the order in which they were declared; `known` by the names that these have; `left_out` are types."""

    tools: tuple[Tool, ...] = ()
    known: Mapping[str, Known] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, declared: Sequence[wire.Tool], found: Sequence[wire.Tool] = ()) -> Toolbox:
        """`found` are those that the conversation has made available since, and that are told of in their place."""
        tools: dict[str, Tool] = {}
        known: dict[str, Known] = {}
        for each, deferred in chain(((tool, False) for tool in declared), ((tool, True) for tool in found)):
            for tool, how in _offered(each):
                if tool.name not in tools:
                    tools[tool.name], known[tool.name] = replace(tool, deferred=deferred), how
        return cls(tuple(tools.values()), known, tuple(_left_out(declared)))

    def called(self, name: str, namespace: str | None) -> str:
        """The name under which the model knows a tool of the history. A client may have dropped its namespace."""
        if namespace is not None or name in self.known:
            return full_name(name, namespace)
        matches = [full for full, how in self.known.items() if how.name == name]
        return matches[0] if len(matches) == 1 else name

    def found(self, tools: Sequence[wire.Tool]) -> tuple[str, ...]:
        """Those of the tools that are told of only where the conversation brings them in."""
        deferred = {tool.name for tool in self.tools if tool.deferred}
        return tuple(tool.name for each in tools for tool, _ in _offered(each) if tool.name in deferred)

    def choice(self, asked: wire.ToolChoice | None, most_calls: int | None) -> ToolChoice:
        """Whether tools may or must be called, and which. One that is forced by its name is called exactly once.

        Raises:
            BadRequest: a tool must be called that is not offered, or any, and none is.
        """
        if asked is None or asked.type in _MODES:
            mode = _MODES[asked.type] if asked else "auto"
            return self._checked(ToolChoice(mode, None, most_calls))
        if asked.type == "allowed_tools":
            mode = asked.mode or "auto"
            return self._checked(ToolChoice(mode, self._named(asked.tools or ()), most_calls))
        one = ChosenTool(type=asked.type, name=asked.name, namespace=asked.namespace)
        return self._checked(ToolChoice("required", self._named([one]), 1))

    def _checked(self, choice: ToolChoice) -> ToolChoice:
        is_possible = bool(self.tools if choice.names is None else choice.names)
        if choice.mode == "required" and not is_possible:
            raise BadRequest("'tool_choice' requires a call, and no such tool is offered.", param="tool_choice")
        return choice

    def _named(self, chosen: Sequence[ChosenTool]) -> frozenset[str]:
        names = {name for one in chosen for name, how in self.known.items() if _means(one, name, how)}
        missing = [one for one in chosen if one.type in ("function", "custom") and one.name]
        if any(not any(_means(one, name, how) for name, how in self.known.items()) for one in missing):
            raise BadRequest("'tool_choice' names a tool that is not declared.", param="tool_choice")
        return frozenset(names)


def full_name(name: str, namespace: str | None) -> str:
    """One name for both. Namespaces of MCP servers bring their own separator along."""
    if namespace is None:
        return name
    return f"{namespace}{name}" if namespace.endswith(("__", ".", "/")) else f"{namespace}.{name}"


def shown(tools: Sequence[wire.Tool]) -> list[JSON]:
    """The tools that the model may call, as the response repeats them."""
    return [_shown(tool) for tool in tools if tool.type in ("function", "custom", "namespace")]


def shown_choice(choice: wire.ToolChoice | None) -> str | JSON:
    """The choice as the response repeats it."""
    if choice is None or choice.type in _MODES:
        return choice.type if choice else "auto"
    if choice.type == "allowed_tools":
        tools = [tool.model_dump(exclude_none=True) for tool in choice.tools or ()]
        return {"type": choice.type, "mode": choice.mode or "auto", "tools": tools}
    return {"type": choice.type, **({"name": choice.name} if choice.name else {})}


def _offered(tool: wire.Tool) -> Iterator[tuple[Tool, Known]]:
    match tool:
        case wire.Tool(type="function" | "custom"):
            yield _tool(tool), Known(tool.name or "", None, tool.type == "custom")
        case wire.Tool(type="namespace", name=namespace, tools=[first, *others]):
            first = first.model_copy(update={"description": _joined(tool.description, first.description)})
            for each in (first, *others):
                if each.type in ("function", "custom"):
                    name = full_name(each.name or "", namespace)
                    yield replace(_tool(each), name=name), Known(each.name or "", namespace, each.type == "custom")


def _joined(*texts: str | None) -> str:
    """What a namespace says of itself stands before its first tool: there is no place of its own for it."""
    return "\n".join(text for text in texts if text)


def _tool(tool: wire.Tool) -> Tool:
    name, description = tool.name or "", tool.description or ""
    if tool.type == "custom":
        return Tool(name, description, freeform=_freeform(tool.format))
    return Tool(name, description, tool.parameters, strict=bool(tool.strict))


def _freeform(form: CustomFormat | None) -> Freeform:
    if form is None or form.type == "text" or form.syntax is None:
        return Freeform()
    return Freeform(form.syntax, form.definition or "")


def _left_out(declared: Sequence[wire.Tool]) -> Iterator[str]:
    for tool in declared:
        if tool.type not in ("function", "custom", "namespace"):
            yield tool.type


def _means(chosen: ChosenTool, name: str, how: Known) -> bool:
    match chosen.type:
        case "function" | "custom":
            is_named = chosen.name in (name, how.name)
            return is_named and chosen.namespace in (None, how.namespace)
        case "namespace":
            return how.namespace is not None and chosen.name == how.namespace
    return False


def _shown(tool: wire.Tool) -> JSON:
    match tool.type:
        case "function":
            return {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": tool.strict,
            }
        case "custom":
            form = (tool.format or CustomFormat()).model_dump(exclude_none=True)
            return {"type": "custom", "name": tool.name, "description": tool.description, "format": form}
    return {
        "type": "namespace",
        "name": tool.name,
        "description": tool.description or "",
        "tools": shown(tool.tools or ()),
    }
