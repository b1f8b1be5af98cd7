"""Conversation to token ids: the prompt, with the place where each of its messages begins.

Token for token what `openai_harmony` renders, with two things it can not do: long runs of one character cost no time
(see `encode`), and tools are written out in full (see `tools`). Text is encoded as ordinary text throughout, so
nothing that a user, a tool or a document says can become a special token. What the assistant thought is in a prompt
if `recall` says so. Knows nothing of the engine or of any API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, assert_never

from openai_harmony import Message, ReasoningEffort, RenderOptions, Role, SystemContent

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
from llm_server.harmony.encoding import harmony_encoding, is_special, token_bytes
from llm_server.harmony.messages import assistant_start, call, framed, preamble
from llm_server.harmony.recall import Generated, Memory, Passage, Preamble, recalled
from llm_server.harmony.tools import render_tools

_TOOLS: Final = b"# Tools"


@dataclass(frozen=True, slots=True)
class Part:
    """One message of the prompt: what it is ("system", "developer", "message 3") and its first token's index."""

    name: str
    start: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids that end in `<|start|>assistant`, where the model goes on. They may hold analysis."""

    tokens: tuple[int, ...] = field(repr=False)
    parts: tuple[Part, ...]

    def part_at(self, index: int) -> str:
        """What the token at `index` belongs to; of the developer message, "instructions" or "tools". "" before 0."""
        part = next((part for part in reversed(self.parts) if part.start <= index), None)
        if part is None or part.name != "developer":
            return part.name if part else ""
        before = b"".join(token_bytes(token) for token in self.tokens[part.start : index + 1] if not is_special(token))
        return "tools" if _TOOLS in before else "instructions"


def render(conversation: Conversation, memory: Memory | None = None) -> Prompt:
    """Render a conversation for completion (Harmony guide, "Message format").

    With a `memory`, a turn that is still going has its analysis in it, as far as it is known.
    """
    tokens: list[int] = []
    parts: list[Part] = []
    for name, message in _messages(conversation, memory):
        parts.append(Part(name, len(tokens)))
        tokens += message
    parts.append(Part("reply", len(tokens)))
    return Prompt((*tokens, *assistant_start()), tuple(parts))


def _messages(conversation: Conversation, memory: Memory | None) -> Iterator[tuple[str, Sequence[int]]]:
    yield "system", _system(conversation.reasoning_effort, conversation.today.isoformat(), bool(conversation.tools))
    instructions, items = _split_leading_instructions(conversation.items)
    declared = [tool for tool in conversation.tools if not tool.deferred]
    if instructions or declared:
        yield "developer", _developer(instructions, declared)
    tools = {tool.name: tool for tool in conversation.tools}
    for number, passage in enumerate(recalled(items, memory)):
        yield f"message {number}", _message(passage, tools)


def _split_leading_instructions(items: Sequence[Item]) -> tuple[str, Sequence[Item]]:
    texts: list[str] = []
    for count, item in enumerate(items):
        if not isinstance(item, Instructions) or item.tools:
            return "\n\n".join(texts), items[count:]
        texts.append(item.text)
    return "\n\n".join(texts), ()


@lru_cache(maxsize=64)
def _system(effort: str, today: str, has_tools: bool) -> tuple[int, ...]:
    content = SystemContent.new().with_reasoning_effort(ReasoningEffort(effort.capitalize()))
    message = Message.from_role_and_content(Role.SYSTEM, content.with_conversation_start_date(today))
    return tuple(harmony_encoding().render(message, RenderOptions(conversation_has_function_tools=has_tools)))


def _developer(instructions: str, tools: Sequence[Tool]) -> list[int]:
    sections = [f"# Instructions\n\n{instructions}"] if instructions else []
    if tools:
        sections.append(render_tools(tools))
    return framed("developer", "\n\n".join(sections))


def _message(passage: Passage, tools: Mapping[str, Tool]) -> Sequence[int]:
    match passage:
        case Instructions(text, names):
            return _developer(text, [tools[name] for name in names if name in tools])
        case UserText(text, name):
            return framed(f"user:{name}" if name else "user", text)
        case AssistantText(text):
            return framed("assistant", text, channel="final")
        case Preamble(text):
            return preamble(text)
        case Generated(tokens):
            return tokens
        case ToolCall(_, name, arguments):
            tool = tools.get(name)
            return call(name, arguments, freeform=tool is not None and tool.freeform is not None)
        case ToolResult(_, name, text):
            return framed(f"functions.{name} to=assistant", text, channel="commentary")
    assert_never(passage)
