"""The requests of the Messages API, as far as a text model reads them. Lenient like `blocks.py`, but not with numbers.

Nothing here knows the canonical types or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, Strict, model_validator

from llm_server.api.anthropic.blocks import Content, ToolDefinition, Wire

Integer: TypeAlias = Annotated[int, Strict()]
Number: TypeAlias = Annotated[float, Strict()]
Flag: TypeAlias = Annotated[bool, Strict()]


MAX_MESSAGES: Final = 32_768
"""More do not fit into the model's context, however short they are."""


class OutputFormat(Wire):
    """`type` is json_schema, or one this server does not know, which is ignored."""

    type: str
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class OutputConfig(Wire):
    """`effort` is low, medium, high, xhigh or max."""

    effort: str | None = None
    format: OutputFormat | None = None


class Thinking(Wire):
    """`type` is enabled (with a budget), adaptive, between_tools or disabled; `display` is summarized or omitted."""

    type: str
    budget_tokens: Annotated[Integer | None, Field(ge=0)] = None
    display: str | None = None


class Message(Wire):
    """`clear_at` and `output_config` occur on system messages only."""

    role: Literal["user", "assistant", "system"]
    content: Content = ()
    clear_at: str | None = None
    output_config: OutputConfig | None = None


class ToolChoice(Wire):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: Flag | None = None


class Amount(Wire):
    """So many of something: `input_tokens` or `tool_uses`."""

    type: str
    value: Annotated[Integer, Field(ge=0)]


class Edit(Wire):
    """What is to be left out of a long conversation. Only `clear_tool_uses_20250919` asks for anything here."""

    type: str
    trigger: Amount | None = None
    keep: Any = None
    clear_at_least: Amount | None = None
    clear_tool_inputs: bool | tuple[str, ...] | None = None
    exclude_tools: tuple[str, ...] | None = None


class ContextManagement(Wire):
    """Each edit counts the whole conversation's tokens, so there may not be any number of them."""

    edits: Annotated[tuple[Edit, ...], Field(max_length=16)] = ()


class CountTokensRequest(Wire):
    """`POST /v1/messages/count_tokens`: all that decides the prompt."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[tuple[Message, ...], Field(max_length=MAX_MESSAGES)]
    system: Content = ()
    tools: tuple[ToolDefinition, ...] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    context_management: ContextManagement | None = None
    temperature: Annotated[Number | None, Field(ge=0, le=2)] = None


StopSequence: TypeAlias = Annotated[str, Field(min_length=1)]


class MessagesRequest(CountTokensRequest):
    """`POST /v1/messages`. `caches` says whether any part of it asks to be kept for the next request."""

    max_tokens: Annotated[Integer, Field(ge=0)]
    thread: dict[str, Any] | bool | None = None
    compaction: dict[str, Any] | None = None
    top_p: Annotated[Number | None, Field(ge=0, le=1)] = None
    top_k: Annotated[Integer | None, Field(ge=-1, le=1_000_000)] = None
    stop_sequences: Annotated[tuple[StopSequence, ...] | None, Field(max_length=16)] = None
    stream: Flag | None = None
    caches: bool = False

    @model_validator(mode="before")
    @classmethod
    def _look_for_breakpoints(cls, body: Any) -> Any:
        return {**body, "caches": any(_breakpoints(body))} if isinstance(body, dict) else body


def _breakpoints(body: dict[str, Any]) -> Iterator[bool]:
    """Whether each part that may bear a `cache_control` does: the request, its tools, and blocks within blocks."""
    messages = [message for message in _list(body.get("messages")) if isinstance(message, dict)]
    contents = [body.get("tools"), body.get("system"), *(message.get("content") for message in messages)]
    parts = [part for content in contents for part in _list(content) if isinstance(part, dict)]
    within = [part for block in parts for part in _list(block.get("content"))]
    for part in (body, *parts, *within):
        yield isinstance(part, dict) and part.get("cache_control") is not None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
