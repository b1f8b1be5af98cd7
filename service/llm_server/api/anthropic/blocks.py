"""The content blocks of the Messages API, and the tools that they may define, as far as a text model reads them.

Lenient on purpose: fields that do not matter here are not named and so are ignored, and a block of a kind that nobody
has heard of is a block all the same. Nothing here knows the canonical types or HTTP.

Source: the parameter types of the official `anthropic` SDK, and what its clients really send.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

MEDIA = frozenset({"image", "container_upload", "audio", "input_audio", "video", "file"})
REASONING = frozenset({"thinking", "redacted_thinking", "reasoning"})
TOOL_NAME = r"^[A-Za-z0-9_.-]{1,128}$"
"""What may stand in a Harmony header as a function's name: no space and no special token."""


class Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


def _text_or_nothing(value: Any) -> str:
    return value if isinstance(value, str) else ""


Opaque: TypeAlias = Annotated[str, BeforeValidator(_text_or_nothing)]
"""What another server may have put there is nobody's error."""


class TextBlock(Wire):
    type: Literal["text"]
    text: str


class ToolUseBlock(Wire):
    """`input` is an object by the specification; some clients send back its JSON text."""

    type: Literal["tool_use"]
    id: str
    name: Annotated[str, Field(pattern=TOOL_NAME)]
    input: dict[str, Any] | str | None = None


class ToolResultBlock(Wire):
    type: Literal["tool_result"]
    tool_use_id: str
    content: Content = ()
    is_error: bool | None = None


class ToolReferenceBlock(Wire):
    """A deferred tool that a search has found: the model may call it from now on."""

    type: Literal["tool_reference"]
    tool_name: str


class DocumentSource(Wire):
    """`text` has its text in `data`, `content` in blocks; every other type is a file."""

    type: str
    data: str | None = None
    content: Content = ()


class DocumentBlock(Wire):
    type: Literal["document"]
    source: DocumentSource
    title: str | None = None
    context: str | None = None


class SearchResultBlock(Wire):
    type: Literal["search_result"]
    source: str = ""
    title: str = ""
    content: Content = ()


class ToolDefinition(Wire):
    """A tool of the caller (type absent or `custom`), or one that Anthropic's servers would run (any other type)."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None


class ToolChange(Wire):
    """A tool by name, or defined here and now."""

    name: str | None = None
    definition: ToolDefinition | None = None

    @property
    def called(self) -> str:
        return self.name or (self.definition and self.definition.name) or ""


class ToolAdditionBlock(Wire):
    """In a system message: the tool is offered from here on."""

    type: Literal["tool_addition"]
    tool: ToolChange


class ToolRemovalBlock(Wire):
    """In a system message: the tool is withdrawn."""

    type: Literal["tool_removal"]
    tool: ToolChange


class MediaBlock(Wire):
    """Content that is no text. Its sender wants it read, so it cannot be passed over."""

    type: str


class ReasoningBlock(Wire):
    """Reasoning that comes back. Its text is not even read."""

    type: str
    data: Opaque = ""
    signature: Opaque = ""

    @property
    def seal(self) -> str:
        """What the block carries in `data` when it is `redacted_thinking`, and in `signature` when it is `thinking`."""
        return self.data or self.signature


class ServerToolUseBlock(Wire):
    """A call of a tool that another server has run (`server_tool_use`, `mcp_tool_use`)."""

    type: str
    id: Opaque = ""
    name: Opaque = ""
    input: Any = None


class ServerToolResultBlock(Wire):
    """What such a tool returned (`web_search_tool_result` and so on). `content` differs from tool to tool."""

    type: str
    tool_use_id: Opaque = ""
    content: Any = None
    is_error: bool | None = None


class CompactionBlock(Wire):
    """What another server made of all messages before it; None if it failed."""

    type: Literal["compaction"]
    content: str | None = None


class OtherBlock(Wire):
    """Kinds that are yet to be invented."""

    type: str
    text: str | None = None


_TAGS = {
    "text": "text",
    "tool_use": "tool_use",
    "tool_result": "tool_result",
    "tool_reference": "tool_reference",
    "tool_addition": "tool_addition",
    "tool_removal": "tool_removal",
    "document": "document",
    "search_result": "search_result",
    "compaction": "compaction",
    **dict.fromkeys(MEDIA, "media"),
    **dict.fromkeys(REASONING, "reasoning"),
}


def _tag(block: Any) -> str | None:
    """The name of the block's member in the union, None for what is no block."""
    if not isinstance(block, dict):
        return None
    kind = block.get("type")
    if not isinstance(kind, str):
        return "other"
    if kind not in _TAGS and kind.endswith(("_tool_use", "_tool_result")):
        return "server_tool_use" if kind.endswith("_tool_use") else "server_tool_result"
    return _TAGS.get(kind, "other")


def _as_blocks(content: Any) -> Any:
    match content:
        case None:
            return ()
        case str():
            return ({"type": "text", "text": content},)
        case _:
            return content


Block: TypeAlias = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[ToolReferenceBlock, Tag("tool_reference")]
    | Annotated[ToolAdditionBlock, Tag("tool_addition")]
    | Annotated[ToolRemovalBlock, Tag("tool_removal")]
    | Annotated[DocumentBlock, Tag("document")]
    | Annotated[SearchResultBlock, Tag("search_result")]
    | Annotated[ServerToolUseBlock, Tag("server_tool_use")]
    | Annotated[ServerToolResultBlock, Tag("server_tool_result")]
    | Annotated[CompactionBlock, Tag("compaction")]
    | Annotated[MediaBlock, Tag("media")]
    | Annotated[ReasoningBlock, Tag("reasoning")]
    | Annotated[OtherBlock, Tag("other")],
    Discriminator(_tag),
]

Content: TypeAlias = Annotated[tuple[Block, ...], BeforeValidator(_as_blocks)]
"""A string is one text block, and no content is no block."""
