"""The items of a Responses conversation as canonical items. Pure; knows no other field of a request.

Calls of tools that this server offers nobody, and their outputs, are told as calls like any other: the answers that
followed make sense with them only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from llm_server.api.openai_responses import items as wire
from llm_server.api.openai_responses.items import CallOutput, ClientCall, ClientOutput, Part
from llm_server.api.openai_responses.tools import Toolbox, full_name
from llm_server.conversation import AssistantText, Instructions, Item, Reasoning, ToolCall, ToolResult, UserText
from llm_server.errors import BadRequest

OpenText: TypeAlias = Callable[[str], str | None]
"""What was sealed here as text, or None if it was not."""

SUMMARY: Final = "What happened in this conversation so far, in short:\n\n"

_MEDIA: Final = {
    "input_image": "images",
    "image_url": "images",
    "input_file": "files",
    "file": "files",
    "input_audio": "audio",
    "input_video": "video",
    "computer_screenshot": "images",
}
_SILENT: Final = frozenset({"reasoning_text", "summary_text"})
"""Parts of a message in which other servers tell what their model thought."""


@dataclass(frozen=True, slots=True)
class History:
    """The items that a request goes on from, of which there are `prior`, then its own; how to read what was sealed."""

    items: Sequence[wire.Item]
    open_text: OpenText
    prior: int = 0


@dataclass(slots=True)
class Reader:
    """Reads items in order: an output is told under the name that its call had, and a call that was cut off only if
    an output answers it.

    Raises `BadRequest` for what a text model can not take, and for outputs that answer nothing.
    """

    tools: Toolbox
    open_text: OpenText
    called: dict[str, str] = field(default_factory=dict)
    answered: Set[str | None] = frozenset()

    def read(self, history: History) -> Iterator[Item]:
        self.answered = {item.call_id for item in history.items if isinstance(item, CallOutput)}
        for number, item in enumerate(history.items, -history.prior):
            yield from self._item(item, f"input[{number}]" if number >= 0 else "previous_response_id")

    def _item(self, item: wire.Item, place: str) -> Iterator[Item]:
        match item:
            case wire.Message():
                yield from _message(item, f"{place}.content")
            case wire.FunctionCall(status="incomplete", call_id=call_id) if call_id not in self.answered:
                pass
            case wire.FunctionCall():
                yield self._call(item, item.arguments)
            case wire.CustomCall():
                yield self._call(item, item.input)
            case CallOutput():
                yield ToolResult(item.call_id or "", self._answered(item, place), _output(item.output))
            case wire.Reasoning(encrypted_content=seal) if seal:
                yield Reasoning(seal)
            case wire.Compaction(encrypted_content=seal):
                yield UserText(self._summary(seal, place))
            case wire.ToolsItem():
                if names := self.tools.found(item.tools):
                    yield Instructions("", names)
            case _:
                yield from self._run_elsewhere(item, place)

    def _call(self, item: wire.FunctionCall | wire.CustomCall, arguments: str) -> ToolCall:
        name = self.called[item.call_id] = self.tools.called(item.name, item.namespace)
        return ToolCall(item.call_id, name, arguments)

    def _answered(self, item: CallOutput, place: str) -> str:
        if item.call_id is not None and item.call_id in self.called:
            return self.called[item.call_id]
        if item.name is not None:
            return full_name(item.name, item.namespace)
        message = f"'{place}.call_id': no tool call was found for this output."
        raise BadRequest(message, param=f"{place}.call_id")

    def _summary(self, seal: str, place: str) -> str:
        summary = self.open_text(seal)
        if summary is None:
            where = f"{place}.encrypted_content"
            raise BadRequest(f"'{where}' was not made by this server, which can not read it.", param=where)
        return SUMMARY + summary

    def _run_elsewhere(self, item: wire.Item, place: str) -> Iterator[Item]:
        """Calls of tools that this server offers nobody. What else there is says nothing to a text model."""
        match item:
            case ClientCall():
                call_id, name = item.call_id or item.id, item.type.removesuffix("_call")
                self.called[call_id] = name
                yield ToolCall(call_id, name, _json(item.action or item.operation or {}))
            case ClientOutput():
                call_id = item.call_id or item.id
                name = item.type.removesuffix("_call_output")
                yield ToolResult(call_id, self.called.get(call_id, name), _client_output(item))
            case wire.ServerCall():
                call_id = item.call_id or item.id
                yield ToolCall(call_id, item.name, item.arguments or "{}")
                yield ToolResult(call_id, item.name, item.output)
            case wire.OtherItem(type="compaction_trigger"):
                raise BadRequest(f"'{place}': use POST /v1/responses/compact.", param=place)


def _message(message: wire.Message, place: str) -> Iterator[Item]:
    text = "\n".join(_texts(message.content, place))
    match message.role:
        case "user":
            yield UserText(text)
        case "assistant" if text:
            yield AssistantText(text, preamble=message.phase == "commentary")
        case "system" | "developer" if text:
            yield Instructions(text)


def _texts(parts: Sequence[Part], place: str) -> Iterator[str]:
    for number, part in enumerate(parts):
        if part.type in _SILENT:
            continue
        text = part.refusal if part.type == "refusal" else part.text
        if part.type in _MEDIA or text is None:
            what = _MEDIA.get(part.type, "parts without text")
            where = f"{place}[{number}]"
            raise BadRequest(f"'{where}': this is a text model, it can not take {what}.", param=where)
        yield text


def _output(parts: Sequence[Part]) -> str:
    return "\n".join(output_text(part.type, part.text) for part in parts)


def output_text(kind: str, text: str | None) -> str:
    """What a part of a tool's output says. Unlike what the user sends, media are not refused here: that would end an
    agent's session."""
    if kind in _MEDIA or text is None:
        return f"[{_MEDIA.get(kind, 'content')} left out: this model reads text only]"
    return text


def _client_output(item: ClientOutput) -> str:
    match item.output:
        case str(text):
            return text
        case None:
            return item.status
        case [*runs]:
            return "\n".join(_run(run) for run in runs)
    return _json(item.output)


def _run(run: Any) -> str:
    """What one command of a shell has written, and how it ended."""
    match run:
        case {"stdout": str(out), "stderr": str(err), "outcome": {"type": "exit", "exit_code": int(code)}}:
            return "\n".join(filter(None, (out, err, f"Exit code: {code}")))
        case {"stdout": str(out), "stderr": str(err)}:
            return "\n".join(filter(None, (out, err, "Timed out.")))
    return _json(run)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
