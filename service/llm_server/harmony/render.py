"""Conversation to token ids: the prompt, with the place where each of its messages begins.

Built from `openai_harmony` message by message, which is how the library renders a whole conversation, too. Text is
encoded as ordinary text throughout, so nothing that a user, a tool or a document says can become a special token.
Knows nothing of the engine or of any API.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from openai_harmony import (
    Author,
    DeveloperContent,
    Message,
    ReasoningEffort,
    RenderOptions,
    Role,
    SystemContent,
    ToolDescription,
)

from llm_server.conversation import (
    AssistantText,
    Conversation,
    Instructions,
    Item,
    Tool,
    ToolCall,
    ToolResult,
    UserText,
)
from llm_server.errors import BadRequest
from llm_server.harmony.encoding import START, harmony_encoding

LONGEST_RUN = 100_000
"""The library's pattern matcher overflows its stack on a longer run of letters without a break."""

_UNBROKEN = re.compile(rf"[^\W\d_]{{{LONGEST_RUN}}}")


@dataclass(frozen=True, slots=True)
class Part:
    """One message of the prompt: what it is ("system", "developer", "message 3") and its first token's index."""

    name: str
    start: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids that end in `<|start|>assistant`, where the model goes on."""

    tokens: tuple[int, ...]
    parts: tuple[Part, ...]


def render(conversation: Conversation) -> Prompt:
    """Render a conversation for completion (Harmony guide, "Message format").

    Raises:
        BadRequest: a text that no tokeniser of this format can take.
    """
    tokens: list[int] = []
    parts: list[Part] = []
    options = RenderOptions(conversation_has_function_tools=bool(conversation.tools))
    for name, message in _messages(conversation):
        parts.append(Part(name, len(tokens)))
        tokens += _encode(message, options)
    parts.append(Part("reply", len(tokens)))
    tokens += [START, *harmony_encoding().encode("assistant")]
    return Prompt(tuple(tokens), tuple(parts))


def _encode(message: Message, options: RenderOptions) -> list[int]:
    for content in message.content:
        if _UNBROKEN.search(str(getattr(content, "text", "") or getattr(content, "instructions", "") or "")):
            raise BadRequest(f"A text holds a run of more than {LONGEST_RUN} letters without a break.")
    tokens: list[int] = harmony_encoding().render(message, options)
    return tokens


def _messages(conversation: Conversation) -> Iterator[tuple[str, Message]]:
    yield "system", _system(conversation)
    instructions, items = _split_leading_instructions(conversation.items)
    if instructions or conversation.tools:
        yield "developer", _developer(instructions, conversation.tools)
    for number, item in enumerate(items):
        yield f"message {number}", _message(item, _next(items, number))


def _split_leading_instructions(items: Sequence[Item]) -> tuple[str, Sequence[Item]]:
    texts: list[str] = []
    for count, item in enumerate(items):
        if not isinstance(item, Instructions):
            return "\n\n".join(texts), items[count:]
        texts.append(item.text)
    return "\n\n".join(texts), ()


def _next(items: Sequence[Item], number: int) -> Item | None:
    return items[number + 1] if number + 1 < len(items) else None


def _system(conversation: Conversation) -> Message:
    content = (
        SystemContent.new()
        .with_reasoning_effort(ReasoningEffort(conversation.reasoning_effort.capitalize()))
        .with_conversation_start_date(conversation.today.isoformat())
    )
    return Message.from_role_and_content(Role.SYSTEM, content)


def _developer(instructions: str, tools: Sequence[Tool]) -> Message:
    content = DeveloperContent.new()
    if instructions:
        content = content.with_instructions(instructions)
    if tools:
        content = content.with_function_tools([_description(tool) for tool in tools])
    return Message.from_role_and_content(Role.DEVELOPER, content)


def _description(tool: Tool) -> ToolDescription:
    return ToolDescription.new(tool.name, tool.description, dict(tool.parameters) if tool.parameters else None)


def _message(item: Item, following: Item | None) -> Message:
    match item:
        case Instructions(text):
            return _developer(text, ())
        case UserText(text):
            return Message.from_role_and_content(Role.USER, text)
        case AssistantText(text):
            channel = "commentary" if isinstance(following, ToolCall) else "final"
            return Message.from_role_and_content(Role.ASSISTANT, text).with_channel(channel)
        case ToolCall():
            return _call(item)
        case ToolResult(_, name, text):
            author = Author.new(Role.TOOL, f"functions.{name}")
            message = Message.from_author_and_content(author, text)
            return message.with_recipient("assistant").with_channel("commentary")
    assert_never(item)


def _call(call: ToolCall) -> Message:
    return (
        Message.from_role_and_content(Role.ASSISTANT, call.arguments)
        .with_channel("commentary")
        .with_recipient(f"functions.{call.name}")
        .with_content_type("<|constrain|>json")
    )
