"""A Chat Completions request as canonical generation requests. Pure; knows the wire types and the canonical ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llm_server.api.openai_chat import schema as wire
from llm_server.api.openai_chat.schema import (
    ChatRequest,
    CustomFormat,
    Function,
    Message,
    Part,
    ResponseFormat,
)
from llm_server.api.reasoning import reasoning_effort
from llm_server.api.sampling import nth_choice, sampling
from llm_server.api.structured import response_format
from llm_server.api.verbosity import VERBOSITY
from llm_server.api.wire import is_name
from llm_server.conversation import (
    AssistantText,
    Conversation,
    Freeform,
    GenerationRequest,
    Instructions,
    Item,
    ReasoningEffort,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
    UserText,
)
from llm_server.errors import BadRequest

_TEXT: Final = frozenset({"text", "input_text", "output_text"})
_SILENT: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""Parts in which other servers tell what their model thought, and clients return it."""

_MEDIA: Final = {
    "image_url": "images",
    "input_image": "images",
    "input_audio": "audio",
    "video_url": "video",
    "file": "files",
    "input_file": "files",
}


def to_generations(request: ChatRequest) -> list[GenerationRequest]:
    """One generation per choice. They differ in the seed alone.

    Raises:
        BadRequest: what the schema can not see, such as an image, or an answer to a call that nobody made.
    """
    if set(request.modalities or ()) - {"text"}:
        raise BadRequest("This is a text model: it can answer with text only.", param="modalities")
    first = GenerationRequest(
        Conversation(_items(request), _tools(request), _effort(request)),
        _sampling(request),
        request.max_completion_tokens or request.max_tokens,
        tuple(request.stop or ()),
        _tool_choice(request),
        _answer_schema(request.response_format),
        _is_strict(request.response_format),
    )
    return [nth_choice(first, index) for index in range(request.n or 1)]


def calls_functions(request: ChatRequest) -> bool:
    """Whether tools are declared in the deprecated form only, so that they must be called in it."""
    return bool(request.functions) and not request.tools


def custom_tools(request: ChatRequest) -> frozenset[str]:
    """The names of the tools whose input is plain text."""
    return frozenset(tool.name for tool in _tools(request) if tool.freeform)


def left_out(request: ChatRequest) -> Iterator[str]:
    """The types of the declared tools that nobody here can run."""
    return (tool.type for tool in request.tools or () if tool.type not in ("function", "custom"))


def _effort(request: ChatRequest) -> ReasoningEffort:
    explicit = request.reasoning_effort or (request.reasoning.effort if request.reasoning else None)
    return reasoning_effort(explicit, request.temperature)


def _sampling(request: ChatRequest) -> Sampling:
    if request.top_logprobs and not request.logprobs:
        raise BadRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    return sampling(request, (request.top_logprobs or 0) if request.logprobs else None)


def _items(request: ChatRequest) -> tuple[Item, ...]:
    items = list(_conversation(request.messages))
    wishes = (VERBOSITY[request.verbosity] if request.verbosity else "", _format(request.response_format))
    leading = next((at for at, item in enumerate(items) if not isinstance(item, Instructions)), len(items))
    return (*items[:leading], *(Instructions(wish) for wish in wishes if wish), *items[leading:])


def _conversation(messages: Sequence[Message]) -> Iterator[Item]:
    called: dict[str, str] = {}
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        text = _text(message, f"{place}.content")
        match message.role:
            case "system" | "developer":
                yield Instructions(text)
            case "user":
                yield UserText(text, _plain_name(message.name))
            case "assistant":
                yield from _assistant(message, text)
                called |= {call.id: call.name for call in message.tool_calls or ()}
            case "tool":
                call_id = message.tool_call_id or ""
                yield ToolResult(call_id, _called(called.get(call_id, message.name), f"{place}.tool_call_id"), text)
            case "function":
                yield ToolResult("", _called(message.name, f"{place}.name"), text)


def _assistant(message: Message, text: str) -> Iterator[Item]:
    said = text or message.refusal
    if said:
        yield AssistantText(said)
    for call in message.tool_calls or ():
        yield ToolCall(call.id, call.name, call.arguments)
    if message.function_call:
        yield ToolCall("", message.function_call.name, message.function_call.arguments)


def _called(name: str | None, place: str) -> str:
    if name is None or not is_name(name):
        raise BadRequest(f"'{place}' answers no call of an earlier message.", param=place)
    return name


def _plain_name(name: str | None) -> str:
    """A participant's name, fit for a message's header."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name or "")[:64]


def _text(message: Message, place: str) -> str:
    lenient = message.role in ("tool", "function")
    silent = _SILENT if message.role == "assistant" else ()
    told = [(number, part) for number, part in enumerate(message.content or ()) if part.type not in silent]
    return "\n".join(_part(part, f"{place}[{number}]", lenient) for number, part in told)


def _part(part: Part, place: str, lenient: bool) -> str:
    """Unlike what the user sends, media in a tool's result are not refused: that would end an agent's session."""
    if part.type == "refusal":
        return part.refusal or ""
    if part.type not in _TEXT and lenient:
        return f"[{_MEDIA.get(part.type, 'a part')} left out: this model reads text only]"
    if part.type not in _TEXT:
        kind = _MEDIA.get(part.type, "parts of this type")
        raise BadRequest(f"'{place}': this is a text model, it can not take {kind}.", param=place)
    if part.text is None:
        raise BadRequest(f"Missing required field '{place}.text'.", param=f"{place}.text")
    return part.text


def _tool_choice(request: ChatRequest) -> ToolChoice:
    choice, field = _chosen(request)
    names = _allowed(choice)
    declared = {tool.name for tool in _tools(request)}
    if names is not None and not names <= declared:
        raise BadRequest(f"'{field}' names a tool that is not declared.", param=field)
    mode = _mode(choice)
    if mode == "required" and not (declared if names is None else names):
        raise BadRequest(f"'{field}' requires a call, and there is no tool to call.", param=field)
    return ToolChoice(mode, names, 1 if _is_one(request, choice) else None)


def _is_one(request: ChatRequest, choice: wire.ToolChoice | None) -> bool:
    """A tool that is forced by its name is called exactly once, and the deprecated form has room for one call."""
    is_forced = choice is not None and choice.type in ("function", "custom")
    return is_forced or request.parallel_tool_calls is False or calls_functions(request)


def _chosen(request: ChatRequest) -> tuple[wire.ToolChoice | None, str]:
    """The caller's choice, and the field it came in."""
    if calls_functions(request):
        return request.function_call, "function_call"
    return request.tool_choice, "tool_choice"


def _mode(choice: wire.ToolChoice | None) -> ToolMode:
    match choice:
        case wire.ToolChoice(type="required" | "function" | "custom"):
            return "required"
        case wire.ToolChoice(type="allowed_tools", allowed_tools=subset) if subset and subset.mode == "required":
            return "required"
        case wire.ToolChoice(type="none"):
            return "none"
    return "auto"


def _tools(request: ChatRequest) -> tuple[Tool, ...]:
    """The tools by name. Of two with the same one, the later stands in the earlier's place."""
    return tuple({tool.name: tool for tool in _declared(request)}.values())


def _declared(request: ChatRequest) -> Iterator[Tool]:
    if calls_functions(request):
        yield from map(_function, request.functions or ())
    for tool in request.tools or ():
        match tool:
            case wire.Tool(type="function", function=function) if function:
                yield _function(function)
            case wire.Tool(type="custom", custom=custom) if custom:
                yield Tool(custom.name, custom.description or "", freeform=_freeform(custom.format))


def _allowed(choice: wire.ToolChoice | None) -> frozenset[str] | None:
    match choice:
        case wire.ToolChoice(type="function" | "custom", name=str(name)):
            return frozenset({name})
        case wire.ToolChoice(type="allowed_tools", allowed_tools=subset) if subset:
            return frozenset(tool.name for tool in subset.tools if tool.name)
    return None


def _function(function: Function) -> Tool:
    return Tool(function.name, function.description or "", function.parameters, strict=bool(function.strict))


def _freeform(wanted: CustomFormat | None) -> Freeform:
    grammar = wanted.grammar if wanted and wanted.type == "grammar" else None
    return Freeform(grammar.syntax, grammar.definition) if grammar else Freeform()


def _answer_schema(asked: ResponseFormat | None) -> Mapping[str, Any] | None:
    match asked:
        case ResponseFormat(type="json_schema", json_schema=schema) if schema:
            return schema.schema_
        case ResponseFormat(type="json_object"):
            return {"type": "object"}
    return None


def _is_strict(asked: ResponseFormat | None) -> bool:
    """Unless it says otherwise, as in Responses."""
    return asked is None or asked.json_schema is None or asked.json_schema.strict is not False


def _format(asked: ResponseFormat | None) -> str:
    match asked:
        case ResponseFormat(type="json_schema", json_schema=schema) if schema:
            return response_format(schema.name, schema.schema_, schema.description or "")
        case ResponseFormat(type="json_object"):
            return response_format("json_object", {"type": "object"}, "One JSON object, and no other text.")
    return ""
