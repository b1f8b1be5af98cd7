"""Messages wire types to the canonical request. Pure; knows no token and no HTTP.

Each message's neighbouring texts become one text, as the API's own servers combine them. Tools that only Anthropic's
servers could run are left out: the model is not told of what nobody can execute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from llm_server.api.anthropic import schema as wire
from llm_server.api.anthropic.errors import ThreadsUnsupported
from llm_server.api.anthropic.response import ReasoningBlocks
from llm_server.api.anthropic.schema import (
    TOOL_NAME,
    Block,
    CountTokensRequest,
    DocumentBlock,
    DocumentSource,
    MediaBlock,
    Message,
    MessagesRequest,
    OtherBlock,
    ReasoningBlock,
    SearchResultBlock,
    TextBlock,
    ToolAdditionBlock,
    ToolDefinition,
    ToolReferenceBlock,
    ToolRemovalBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from llm_server.api.reasoning import EFFORTS, reasoning_effort
from llm_server.api.structured import response_format
from llm_server.conversation import (
    AssistantText,
    Conversation,
    GenerationRequest,
    Instructions,
    Item,
    Reasoning,
    ReasoningEffort,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UserText,
)
from llm_server.errors import BadRequest

_TEXT_ITEM: Final[Mapping[str, Callable[[str], Item]]] = {
    "system": Instructions,
    "user": UserText,
    "assistant": AssistantText,
}

LOW_BUDGET: Final = 4096
MEDIUM_BUDGET: Final = 16384
"""Thinking budgets, in tokens, up to which low and medium effort stand for them."""


def to_generation(body: MessagesRequest) -> GenerationRequest:
    """The whole request in canonical form.

    Raises:
        BadRequest: it is no text, ends with the assistant's words, names a tool or a call that does not exist, or goes
            on from a history that is not in it.
    """
    if body.thread:
        raise ThreadsUnsupported()
    conversation = to_conversation(body)
    if isinstance(conversation.items[-1], AssistantText | Reasoning | ToolCall):
        raise BadRequest(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
            param="messages",
        )
    return GenerationRequest(
        conversation=conversation,
        sampling=_sampling(body),
        max_tokens=body.max_tokens,
        stop=body.stop_sequences or (),
        tool_choice=_tool_choice(body.tool_choice, conversation.tools),
        answer_schema=_answer_schema(body),
        reasoning_budget=body.thinking.budget_tokens if body.thinking else None,
    )


def reasoning_blocks(body: MessagesRequest) -> ReasoningBlocks:
    """How the caller is given reasoning: not at all, unless it asked the model to think."""
    thinking = body.thinking
    if thinking is None or thinking.type not in ("enabled", "adaptive", "between_tools"):
        return "none"
    return "thinking" if thinking.display == "omitted" else "redacted_thinking"


def to_conversation(body: CountTokensRequest) -> Conversation:
    """All that decides the prompt, for generating as for counting.

    Raises:
        BadRequest: as `to_generation`, but the conversation may end with anything.
    """
    messages = tuple(_messages(body.messages))
    if not messages:
        raise BadRequest("messages: at least one message is required", param="messages")
    return Conversation(
        items=(*_system(body), *_format(body), *messages),
        tools=_offered(body),
        reasoning_effort=_effort(body),
    )


def _system(body: CountTokensRequest) -> Iterator[Item]:
    for number, block in enumerate(body.system):
        if text := _text(block, f"system[{number}]"):
            yield Instructions(text)


def _messages(messages: Sequence[Message]) -> Iterator[Item]:
    names: dict[str, str] = {}
    last_user = max((number for number, message in enumerate(messages) if message.role == "user"), default=0)
    for number, message in enumerate(messages):
        if message.clear_at == "next_user_message" and number < last_user:
            continue
        yield from _items(message, f"messages[{number}].content", names)


def _items(message: Message, place: str, names: dict[str, str]) -> Iterator[Item]:
    """The items of one message. `names` gives the tool of each call id so far, and learns of new ones."""
    texts: list[str] = []
    for number, block in enumerate(message.content):
        item = _whole_item(block, message.role, f"{place}[{number}]", names)
        if item is None:
            texts.append(_text(block, f"{place}[{number}]"))
            continue
        yield from _said(message.role, texts)
        yield item
        texts = []
    yield from _said(message.role, texts)


def _said(role: str, texts: Sequence[str]) -> Iterator[Item]:
    if text := "\n\n".join(filter(None, texts)):
        yield _TEXT_ITEM[role](text)


def _whole_item(block: Block, role: str, place: str, names: dict[str, str]) -> Item | None:
    """The item that a block is by itself, or None if it is, or may be, a part of the message's text."""
    match block:
        case ReasoningBlock(seal=seal) if seal and role == "assistant":
            return Reasoning(seal)
        case ToolUseBlock():
            names[block.id] = block.name
            return ToolCall(block.id, block.name, _arguments(block))
        case ToolResultBlock():
            return _result(block, place, names)
        case _:
            return None


def _arguments(block: ToolUseBlock) -> str:
    match block.input:
        case str() as text:
            return text
        case arguments:
            return json.dumps(arguments or {}, ensure_ascii=False, separators=(",", ":"))


def _result(block: ToolResultBlock, place: str, names: Mapping[str, str]) -> ToolResult:
    if block.tool_use_id not in names:
        raise BadRequest(
            f"{place}: unexpected `tool_use_id` found in `tool_result` blocks. Each `tool_result` block must have a"
            " corresponding `tool_use` block in an earlier message.",
            param=place,
        )
    text = "\n\n".join(filter(None, (_result_text(part) for part in block.content)))
    if block.is_error and not text.lower().startswith("error"):
        text = f"Error: {text}" if text else "Error"
    return ToolResult(block.tool_use_id, names[block.tool_use_id], text)


def _result_text(block: Block) -> str:
    """Unlike what the user sends, media in a tool's result are not refused: that would end an agent's session."""
    text = _readable(block)
    return f"[{block.type} left out: this model reads text only]" if text is None else text


def _text(block: Block, place: str) -> str:
    text = _readable(block)
    if text is None:
        raise BadRequest(f"{place}: this is a text model, which cannot take {block.type} content", param=place)
    return text


def _readable(block: Block) -> str | None:
    """What the block says to a text model: perhaps nothing, or None if only its media say it."""
    match block:
        case TextBlock(text=text):
            return text
        case ToolReferenceBlock(tool_name=name):
            return f"The tool {name} can now be called."
        case SearchResultBlock():
            return _tagged("search_result", block.title, block.source, _all_readable(block.content))
        case DocumentBlock(source=source):
            return _tagged("document", block.title, block.context, _document_text(source))
        case MediaBlock():
            return None
        case OtherBlock(text=text):
            return text or ""
        case _:
            return ""


def _document_text(source: DocumentSource) -> str | None:
    match source.type:
        case "text":
            return source.data or ""
        case "content":
            return _all_readable(source.content)
        case _:
            return None


def _all_readable(blocks: Sequence[Block]) -> str | None:
    texts = [_readable(block) for block in blocks]
    return None if None in texts else "\n\n".join(filter(None, texts))


def _tagged(tag: str, title: str | None, about: str | None, text: str | None) -> str | None:
    if text is None:
        return None
    return "\n".join(filter(None, (f"<{tag}>", title, about, text, f"</{tag}>")))


def _offered(body: CountTokensRequest) -> tuple[Tool, ...]:
    """The tools that the model is told of: the caller's own that are not deferred, or have been named since."""
    additions = [block.tool.definition for block in _blocks(body.messages) if isinstance(block, ToolAdditionBlock)]
    declared = (*(body.tools or ()), *filter(None, additions))
    searchable = any((tool.type or "").startswith("tool_search_tool") for tool in declared)
    changes = dict(_tool_changes(body.messages))
    offered = [
        _tool(tool, f"tools[{number}]")
        for number, tool in enumerate(declared)
        if _is_callers(tool) and changes.get(tool.name or "", searchable or not tool.defer_loading)
    ]
    may_call = body.tool_choice is None or body.tool_choice.type != "none"
    return tuple({tool.name: tool for tool in offered}.values()) if may_call else ()


def _blocks(messages: Sequence[Message]) -> Iterator[Block]:
    for message in messages:
        yield from message.content


def _tool_changes(messages: Sequence[Message]) -> Iterator[tuple[str, bool]]:
    """Tools by name, in the order in which the conversation offers or withdraws them."""
    for block in _blocks(messages):
        match block:
            case ToolResultBlock(content=parts):
                yield from ((part.tool_name, True) for part in parts if isinstance(part, ToolReferenceBlock))
            case ToolAdditionBlock(tool=tool):
                yield tool.called, True
            case ToolRemovalBlock(tool=tool):
                yield tool.called, False
            case _:
                pass


def _is_callers(tool: ToolDefinition) -> bool:
    return tool.type in (None, "custom") or tool.input_schema is not None


def _tool(tool: ToolDefinition, place: str) -> Tool:
    if not re.fullmatch(TOOL_NAME, tool.name or ""):
        raise BadRequest(f"{place}.name: must match {TOOL_NAME}", param=f"{place}.name")
    return Tool(tool.name or "", tool.description or "", tool.input_schema, strict=bool(tool.strict))


def _tool_choice(choice: wire.ToolChoice | None, tools: tuple[Tool, ...]) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    parallel = not choice.disable_parallel_tool_use
    match choice.type:
        case "none":
            return ToolChoice("none")
        case "auto":
            return ToolChoice("auto", None, parallel)
        case "any" if tools:
            return ToolChoice("required", None, parallel)
        case "tool" if choice.name in {tool.name for tool in tools}:
            return ToolChoice("required", frozenset({choice.name or ""}), parallel)
    raise BadRequest(f"tool_choice: no tool is offered that '{choice.type}' could call", param="tool_choice")


def _answer_schema(body: CountTokensRequest) -> dict[str, Any] | None:
    asked = (body.output_config.format if body.output_config else None) or body.output_format
    return asked.schema_ if asked and asked.type == "json_schema" else None


def _format(body: CountTokensRequest) -> Iterator[Item]:
    if (schema := _answer_schema(body)) is not None:
        yield Instructions(response_format("answer", schema))


def _effort(body: CountTokensRequest) -> ReasoningEffort:
    return reasoning_effort(_explicit_effort(body), body.temperature)


def _explicit_effort(body: CountTokensRequest) -> str | None:
    """Thinking switched off is the plainest choice, then the effort of the latest message that has one."""
    thinking = body.thinking
    if thinking is not None and thinking.type == "disabled":
        return "low"
    configs = (body.output_config, *(message.output_config for message in body.messages))
    named = [config.effort for config in configs if config is not None and config.effort in EFFORTS]
    if named:
        return named[-1]
    if thinking is None or thinking.type != "enabled" or thinking.budget_tokens is None:
        return None
    if thinking.budget_tokens <= LOW_BUDGET:
        return "low"
    return "medium" if thinking.budget_tokens <= MEDIUM_BUDGET else "high"


def _sampling(body: MessagesRequest) -> Sampling:
    default = Sampling()
    return Sampling(
        temperature=default.temperature if body.temperature is None else body.temperature,
        top_p=default.top_p if body.top_p is None else body.top_p,
        top_k=max(0, body.top_k or 0),
    )
