"""Messages of the API to canonical items. Pure; knows no other field of a request.

Each message's neighbouring texts become one text, as the API's own servers combine them. What another server's tools
did is told as calls and results like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from llm_server.api.anthropic.blocks import (
    TOOL_NAME,
    Block,
    CompactionBlock,
    DocumentBlock,
    DocumentSource,
    MediaBlock,
    OtherBlock,
    ReasoningBlock,
    SearchResultBlock,
    ServerToolResultBlock,
    ServerToolUseBlock,
    TextBlock,
    ToolReferenceBlock,
    ToolRemovalBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from llm_server.api.anthropic.schema import Message
from llm_server.api.anthropic.tools import mentioned
from llm_server.conversation import AssistantText, Instructions, Item, Reasoning, ToolCall, ToolResult, UserText
from llm_server.errors import BadRequest

SUMMARY: Final = "What happened in this conversation so far, in short:\n\n"

_Reading: TypeAlias = Callable[[Block], str | None]

_TEXT_ITEM: Final[Mapping[str, Callable[[str], Item]]] = {
    "system": Instructions,
    "user": UserText,
    "assistant": AssistantText,
}


def system_items(blocks: Sequence[Block]) -> Iterator[Item]:
    """Each block of `system` stays its own, so that one of them may change without the others."""
    for number, block in enumerate(blocks):
        if text := _text(block, f"system[{number}]"):
            yield Instructions(text)


def message_items(messages: Sequence[Message], deferred: Set[str]) -> list[Item]:
    """What was said, in order. `deferred` tools are declared after the message that first mentions them.

    Raises:
        BadRequest: what can not be read as text, or the result of a call that nobody made.
    """
    reader = _Reader(deferred)
    last_user = max((number for number, message in enumerate(messages) if message.role == "user"), default=0)
    said: list[Item] = []
    for number, message in enumerate(messages):
        if message.clear_at == "next_user_message" and number < last_user:
            continue
        for item in reader.items(message, f"messages[{number}].content"):
            if item is reader.summary:
                said = list(filter(_is_offer, said))
            said.append(item)
        said += reader.offers(message)
    return said


def _is_offer(item: Item) -> bool:
    return isinstance(item, Instructions) and bool(item.tools)


@dataclass(slots=True)
class _Reader:
    """Reads one conversation. `called` gives the tool of each call id so far, `offered` the deferred tools.

    `summary` stands for all that was said before it.
    """

    deferred: Set[str]
    called: dict[str, str] = field(default_factory=dict)
    offered: set[str] = field(default_factory=set)
    summary: Instructions | None = None

    def items(self, message: Message, place: str) -> list[Item]:
        """A message's items in order, but for results, which come first in a user's message as the API wants it."""
        items = list(self._items(message, place))
        if message.role == "user":
            items.sort(key=lambda item: not isinstance(item, ToolResult))
        return items

    def _items(self, message: Message, place: str) -> Iterator[Item]:
        texts: list[str] = []
        for number, block in enumerate(message.content):
            item = self._whole_item(block, message.role, f"{place}[{number}]")
            if item is None:
                texts.append(_text(block, f"{place}[{number}]"))
                continue
            yield from _said(message.role, texts)
            yield item
            texts = []
        yield from _said(message.role, texts)

    def offers(self, message: Message) -> Iterator[Item]:
        new = [name for name in mentioned(message) if name in self.deferred and name not in self.offered]
        if new:
            self.offered.update(new)
            yield Instructions("", tuple(dict.fromkeys(new)))

    def _whole_item(self, block: Block, role: str, place: str) -> Item | None:
        """The item that a block is by itself, or None if it is, or may be, a part of the message's text."""
        match block:
            case ReasoningBlock(seal=seal) if seal and role == "assistant":
                return Reasoning(seal)
            case ToolUseBlock(id=call_id, name=name, input=arguments):
                self.called[call_id] = name
                return ToolCall(call_id, name, _arguments(arguments))
            case ToolResultBlock():
                return self._result(block, place)
            case ServerToolUseBlock(id=call_id, name=name, type=kind, input=arguments):
                self.called[call_id] = name if re.fullmatch(TOOL_NAME, name) else kind
                return ToolCall(call_id, self.called[call_id], _arguments(arguments))
            case ServerToolResultBlock(tool_use_id=call_id) if call_id in self.called:
                return ToolResult(call_id, self.called[call_id], _failed(_plain(block.content), block.is_error))
            case CompactionBlock(content=str(summary)):
                self.summary = Instructions(SUMMARY + summary)
                return self.summary
        return None

    def _result(self, block: ToolResultBlock, place: str) -> ToolResult:
        if block.tool_use_id not in self.called:
            raise BadRequest(
                f"{place}: unexpected `tool_use_id` found in `tool_result` blocks. Each `tool_result` block must have"
                " a corresponding `tool_use` block in an earlier message.",
                param=place,
            )
        text = "\n\n".join(filter(None, (_result_text(part) for part in block.content)))
        return ToolResult(block.tool_use_id, self.called[block.tool_use_id], _failed(text, block.is_error))


def _said(role: str, texts: Sequence[str]) -> Iterator[Item]:
    if text := "\n\n".join(filter(None, texts)):
        yield _TEXT_ITEM[role](text)


def _arguments(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments or {}, ensure_ascii=False, separators=(",", ":"))


def _failed(text: str, is_error: bool | None) -> str:
    if not is_error or text.lower().startswith("error"):
        return text
    return f"Error: {text}" if text else "Error"


def _plain(content: Any) -> str:
    """What some server's tool returned, without what is encrypted for that server."""
    match content:
        case None:
            return ""
        case str():
            return content
        case [*parts]:
            return "\n\n".join(filter(None, map(_plain, parts)))
        case {"type": "text", "text": str(text)}:
            return text
        case dict():
            told = {key: value for key, value in content.items() if key != "type" and not key.startswith("encrypted")}
            return json.dumps(told, ensure_ascii=False) if told else ""
    return json.dumps(content)


def _result_text(block: Block) -> str:
    """Unlike what the user sends, media in a tool's result are not refused: that would end an agent's session."""
    text = _readable(block, of_parts=_result_text)
    return f"[{block.type} left out: this model reads text only]" if text is None else text


def _text(block: Block, place: str) -> str:
    text = _readable(block)
    if text is None:
        raise BadRequest(f"{place}: this is a text model, which cannot take {_described(block)}", param=place)
    return text


def _described(block: Block) -> str:
    match block:
        case DocumentBlock(source=source) if source.type not in ("text", "content"):
            return f"a document as {source.type}, only its text (source.type 'text' or 'content')"
    return f"{block.type} content"


def _readable(block: Block, of_parts: _Reading | None = None) -> str | None:
    """What the block says to a text model: perhaps nothing, or None if only its media say it.

    `of_parts` is what the blocks within it say, by default the same.
    """
    of_parts = of_parts or _readable
    match block:
        case TextBlock(text=text):
            return text
        case ToolReferenceBlock(tool_name=name):
            return f"The tool {name} can now be called."
        case ToolRemovalBlock(tool=tool):
            return f"The tool {tool.called} can no longer be called."
        case SearchResultBlock():
            return _tagged("search_result", block.title, block.source, _joined(map(of_parts, block.content)))
        case DocumentBlock(source=source):
            return _tagged("document", block.title, block.context, _document_text(source, of_parts))
        case MediaBlock():
            return None
        case OtherBlock(text=text):
            return text or ""
        case _:
            return ""


def _document_text(source: DocumentSource, of_parts: _Reading) -> str | None:
    match source.type:
        case "text":
            return source.data or ""
        case "content":
            return _joined(map(of_parts, source.content))
        case _:
            return None


def _joined(texts: Iterable[str | None]) -> str | None:
    """All of them, or None if one of them is."""
    known = list(texts)
    return None if None in known else "\n\n".join(filter(None, known))


def _tagged(tag: str, title: str | None, about: str | None, text: str | None) -> str | None:
    if text is None:
        return None
    return "\n".join(filter(None, (f"<{tag}>", title, about, text, f"</{tag}>")))
