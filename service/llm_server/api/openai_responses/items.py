"""The items of a Responses conversation as they come over the wire: what was said, called and found, in order.

Lenient on purpose: of an item that a text model can do nothing with, and of one that nobody has heard of, only the
type is read. Knows no canonical type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from llm_server.api.body import validate
from llm_server.api.http import JSON
from llm_server.api.openai_responses.schema import MAX_TOOLS, Identity, Tool
from llm_server.api.wire import Name, Wire


class Part(Wire):
    """A part of a message or of a tool's output. Kinds that are no text are dealt with where they are read."""

    type: str = "input_text"
    text: str | None = None
    refusal: str | None = None


def _parts(content: Any) -> Any:
    match content:
        case None:
            return []
        case str():
            return [{"type": "input_text", "text": content}]
    return content


def _text_or_nothing(value: Any) -> str:
    return value if isinstance(value, str) else ""


Content: TypeAlias = Annotated[list[Part], BeforeValidator(_parts)]
"""A string is one part, and no content is no part."""

Opaque: TypeAlias = Annotated[str, BeforeValidator(_text_or_nothing)]
"""What another server may have put there is nobody's error."""


class Message(Wire):
    role: Literal["system", "developer", "user", "assistant"]
    content: Content = Field(default_factory=list)
    phase: Opaque = ""


class FunctionCall(Wire):
    """`arguments` is JSON text. A call that is `incomplete` was cut off, and never was one."""

    call_id: Identity
    name: Name
    namespace: Name | None = None
    arguments: str
    status: Opaque = ""


class CustomCall(Wire):
    call_id: Identity
    name: Name
    namespace: Name | None = None
    input: str


class CallOutput(Wire):
    """The result of a function or of a custom tool. `name` stands in for the call, where that is not there.

    Codex tells of its goals in outputs of calls that nobody has made, and that have no id.
    """

    call_id: Identity | None = None
    output: Content = Field(default_factory=list)
    name: Name | None = None
    namespace: Name | None = None


class Reasoning(Wire):
    """Reasoning that comes back. Its text and its summary are not even read."""

    encrypted_content: Opaque = ""


class Compaction(Wire):
    """What stands for a conversation that was compacted here."""

    encrypted_content: str


class ToolsItem(Wire):
    """Tools that the model may call from here on."""

    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS)]


class ClientCall(Wire):
    """A call of a built-in tool that the client runs: a shell, a patch. The item says how in its own form."""

    type: Literal["local_shell_call", "shell_call", "apply_patch_call"]
    id: Opaque = ""
    call_id: Opaque = ""
    action: dict[str, Any] | None = None
    operation: dict[str, Any] | None = None


class ClientOutput(Wire):
    """The result of such a call, which names it by `call_id` or, as old ones do, by `id`."""

    type: Literal["local_shell_call_output", "shell_call_output", "apply_patch_call_output"]
    id: Opaque = ""
    call_id: Opaque = ""
    output: Any = None
    status: Opaque = ""


class ServerCall(Wire):
    """A call that another server has made and run itself."""

    id: Opaque = ""
    call_id: Opaque = ""
    name: Name
    arguments: Opaque = ""
    output: Opaque = ""


class OtherItem(Wire):
    """What hosted tools did on another server, and what is yet to be invented."""

    type: Opaque = ""


Item: TypeAlias = (
    Message
    | FunctionCall
    | CustomCall
    | CallOutput
    | Reasoning
    | Compaction
    | ToolsItem
    | ClientCall
    | ClientOutput
    | ServerCall
    | OtherItem
)

_KINDS: Final[Mapping[str, type[Item]]] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": CallOutput,
    "custom_tool_call": CustomCall,
    "custom_tool_call_output": CallOutput,
    "reasoning": Reasoning,
    "compaction": Compaction,
    "compaction_summary": Compaction,
    "additional_tools": ToolsItem,
    "tool_search_output": ToolsItem,
    "local_shell_call": ClientCall,
    "shell_call": ClientCall,
    "apply_patch_call": ClientCall,
    "local_shell_call_output": ClientOutput,
    "shell_call_output": ClientOutput,
    "apply_patch_call_output": ClientOutput,
    "mcp_call": ServerCall,
}


def kind(item: JSON) -> str:
    """The item's type. Messages may leave it out, and so may references, which are nothing but an id."""
    match item:
        case {"type": str(named)}:
            return named
        case {"role": _}:
            return "message"
        case {"id": _}:
            return "item_reference"
    return ""


def read_items(items: Iterable[JSON], place: str = "input") -> list[Item]:
    """The items in order.

    Raises:
        BadRequest: one of them is not what its type says; `param` is such as `input[3].content`.
    """
    return [
        validate(_KINDS.get(kind(item), OtherItem), item, f"{place}[{number}]") for number, item in enumerate(items)
    ]
