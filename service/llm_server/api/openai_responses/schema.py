"""The Responses API's requests as they come over the wire. Knows no canonical type; `items.py` has the input's items.

Types and ranges are strict, unknown fields are ignored: clients send what other servers understand, and newer ones
what nobody has heard of. A field that is null is one that was not sent.

Source: the parameter types of the official `openai` SDK, the Open Responses specification, and what clients really
send.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from llm_server.api.sampling import SamplingFields
from llm_server.api.verbosity import Verbosity
from llm_server.api.wire import MODE_OR_TOOL, Effort, Name, Wire, is_name

MAX_ITEMS: Final = 8192
MAX_TOOLS: Final = 512
MAX_METADATA: Final = 16
LONGEST_ID: Final = 256


def _message(text: Any) -> Any:
    return [{"type": "message", "role": "user", "content": text}] if isinstance(text, str) else text


def _metadata(metadata: dict[str, Any] | None) -> dict[str, str] | None:
    """Checked as a whole, because a fault's place would quote a key."""
    if metadata and len(metadata) > MAX_METADATA:
        raise ValueError(f"Input should have at most {MAX_METADATA} members")
    for key, value in (metadata or {}).items():
        if len(key) > 64 or not isinstance(value, str) or len(value) > 512:
            raise ValueError("Keys should have at most 64 characters, values should be strings of at most 512")
    return metadata


Identity: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Input: TypeAlias = Annotated[
    Annotated[list[dict[str, Any]], Field(max_length=MAX_ITEMS)] | None, BeforeValidator(_message)
]
"""A string is one message of the user's. Items stay as they are; they are read together with those that are kept."""


class CustomFormat(Wire):
    """What a custom tool takes: any text, or what a grammar describes."""

    type: Literal["text", "grammar"] = "text"
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None

    @model_validator(mode="after")
    def _has_grammar(self) -> CustomFormat:
        if self.type == "grammar" and (self.syntax is None or self.definition is None):
            raise ValueError("Input should have a 'syntax' and a 'definition'")
        return self


class Tool(Wire):
    """A tool of any type. Those that this server can not offer are accepted, and may look as they like."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: CustomFormat | None = None
    tools: Annotated[list[Tool] | None, Field(max_length=MAX_TOOLS)] = None

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_read(cls, tool: Any) -> Any:
        """Of a hosted tool nothing is read but its type, so that no form of it is a fault."""
        if not isinstance(tool, dict) or tool.get("type") in ("function", "custom", "namespace"):
            return tool
        return {"type": tool.get("type")}

    @model_validator(mode="after")
    def _is_named(self) -> Tool:
        if self.type in ("function", "custom", "namespace") and not is_name(self.name or ""):
            raise ValueError("A tool needs a name of 1 to 128 printable characters without spaces and without '<|'")
        return self


class ChosenTool(Wire):
    """A tool that a choice names: by its name, or (hosted tools, MCP servers) by its type alone."""

    type: str = "function"
    name: str | None = None
    namespace: str | None = None


class ToolChoice(Wire):
    """`type` is a mode, the type of the one tool that must be called, or allowed_tools."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: Literal["none", "auto", "required"] | None = None
    tools: list[ChosenTool] | None = None


class TextFormat(Wire):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: Name = "response"
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> TextFormat:
        if self.type == "json_schema" and self.schema_ is None:
            raise ValueError("Input should have a 'schema'")
        return self


class TextConfig(Wire):
    format: TextFormat | None = None
    verbosity: Verbosity | None = None


class ReasoningConfig(Wire):
    """`summary` and the like ask for what this server does not give: the analysis, told in other words."""

    effort: Effort | None = None


class PromptRequest(Wire):
    """All that decides the prompt: `POST /v1/responses/input_tokens`."""

    model: str | None = None
    input: Input = None
    instructions: str | None = None
    previous_response_id: Identity | None = None
    conversation: Any = None
    prompt: Any = None
    tools: Annotated[list[Tool] | None, Field(max_length=MAX_TOOLS)] = None
    tool_choice: Annotated[ToolChoice | None, MODE_OR_TOOL] = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningConfig | None = None
    text: TextConfig | None = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    truncation: Literal["auto", "disabled"] | None = None


class ResponseRequest(PromptRequest, SamplingFields):
    """`POST /v1/responses`, or a `response.create` message of a WebSocket, where `generate` may be false."""

    model: str

    background: bool | None = None
    generate: bool | None = None
    moderation: Any = None
    include: list[str] | None = None
    max_output_tokens: Annotated[int | None, Field(ge=1, lt=2**31)] = None
    max_tool_calls: Annotated[int | None, Field(ge=1, lt=2**31)] = None
    metadata: Annotated[dict[str, Any] | None, AfterValidator(_metadata)] = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    store: bool | None = None
    stream: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None


class CompactRequest(Wire):
    """`POST /v1/responses/compact`."""

    model: str
    input: Input = None
    instructions: str | None = None
    previous_response_id: Identity | None = None


class ResponseQuery(BaseModel):
    """`GET /v1/responses/{id}`. The events of a stream up to the number `starting_after` are left out."""

    stream: bool = False
    starting_after: int = -1
    include: list[str] = []


class PageQuery(BaseModel):
    """`GET /v1/responses/{id}/input_items`: so many items after the one with this id, the newest first or last."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    include: list[str] = []
