"""The Chat Completions request as it comes over the wire. Knows no canonical type.

Types and ranges are strict, unknown fields are ignored: clients send what other servers understand. Where the API
allows a string or a structure, the string becomes that structure first, so that faults are told of one shape.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from llm_server.api.sampling import SamplingFields
from llm_server.api.verbosity import Verbosity
from llm_server.api.wire import MODE_OR_TOOL, Effort, Name, Wire

MAX_MESSAGES: Final = 4096
MAX_TOOLS: Final = 256
MAX_CHOICES: Final = 128


def _parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _function_choice(choice: Any) -> Any:
    """The deprecated `function_call`: "none", "auto" or a name."""
    match choice:
        case str():
            return {"type": choice}
        case dict():
            return {"type": "function", "function": choice}
    return choice


class Part(Wire):
    """A part of a message. Kinds other than text are refused where the message is read, with their place."""

    type: str
    text: str | None = None
    refusal: str | None = None


class Function(Wire):
    """A function as it is declared."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Grammar(Wire):
    syntax: Literal["lark", "regex"]
    definition: Annotated[str, Field(min_length=1)]


class CustomFormat(Wire):
    """What a custom tool's input looks like: any text, or what a grammar describes."""

    type: Literal["text", "grammar"]
    grammar: Grammar | None = None

    @model_validator(mode="after")
    def _has_grammar(self) -> CustomFormat:
        if self.type == "grammar" and self.grammar is None:
            raise ValueError("Input should have a 'grammar'")
        return self


class Custom(Wire):
    """A tool as it is declared whose input is plain text."""

    name: Name
    description: str | None = None
    format: CustomFormat | None = None


class Tool(Wire):
    """Kinds other than `function` and `custom` are ignored."""

    type: str
    function: Function | None = None
    custom: Custom | None = None

    @model_validator(mode="after")
    def _has_definition(self) -> Tool:
        if self.type in ("function", "custom") and getattr(self, self.type) is None:
            raise ValueError(f"Input should have a '{self.type}'")
        return self


class FunctionCall(Wire):
    """A call in the history. `arguments` is JSON text."""

    name: Name
    arguments: str


class CustomCall(Wire):
    """A call in the history whose input is plain text."""

    name: Name
    input: str


class ToolCall(Wire):
    id: str
    type: Literal["function", "custom"] = "function"
    function: FunctionCall | None = None
    custom: CustomCall | None = None

    @model_validator(mode="after")
    def _says_what(self) -> ToolCall:
        if getattr(self, self.type) is None:
            raise ValueError(f"Input should have a '{self.type}'")
        return self

    @property
    def name(self) -> str:
        made = self.function or self.custom
        return made.name if made else ""

    @property
    def arguments(self) -> str:
        return self.function.arguments if self.function else self.custom.input if self.custom else ""


class Message(Wire):
    """One message of any role. `reasoning` and `reasoning_content`, which some servers return, are ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[list[Part] | None, BeforeValidator(_parts)] = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    tool_call_id: str | None = None


class NamedFunction(Wire):
    name: Name


class NamedTool(Wire):
    type: str
    function: NamedFunction | None = None
    custom: NamedFunction | None = None

    @property
    def name(self) -> str | None:
        named = self.function or self.custom
        return named.name if named else None


class AllowedTools(Wire):
    mode: Literal["auto", "required"] = "auto"
    tools: list[NamedTool]


class ToolChoice(NamedTool):
    type: Literal["none", "auto", "required", "function", "custom", "allowed_tools"]
    allowed_tools: AllowedTools | None = None

    @model_validator(mode="after")
    def _says_which(self) -> ToolChoice:
        if self.type in ("function", "custom", "allowed_tools") and getattr(self, self.type) is None:
            raise ValueError(f"Input should have '{self.type}'")
        return self


class JSONSchema(Wire):
    name: Name = "response"
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema", default_factory=dict)]
    strict: bool | None = None


class ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("Input should have a 'json_schema'")
        return self


class StreamOptions(Wire):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Reasoning(Wire):
    effort: Effort | None = None


class ChatRequest(SamplingFields):
    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]

    tools: Annotated[list[Tool] | None, Field(max_length=MAX_TOOLS)] = None
    tool_choice: Annotated[ToolChoice | None, MODE_OR_TOOL] = None
    functions: Annotated[list[Function] | None, Field(max_length=MAX_TOOLS)] = None
    function_call: Annotated[ToolChoice | None, BeforeValidator(_function_choice)] = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    reasoning_effort: Effort | None = None
    reasoning: Reasoning | None = None
    verbosity: Verbosity | None = None

    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None

    max_tokens: Annotated[int | None, Field(ge=1, lt=2**31)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, lt=2**31)] = None
    n: Annotated[int | None, Field(ge=1, le=MAX_CHOICES)] = None

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    modalities: list[str] | None = None
