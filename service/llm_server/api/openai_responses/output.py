"""The items of an answer as they grow: each kind is added, goes on and is done in events of its own. Pure.

An item that is done is the same in the stream and in the whole response. Reasoning is an item without a word in it;
its seal is always there, and `visible` takes it away from those who have not asked for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias

from llm_server.api.http import JSON
from llm_server.api.openai_responses.tools import Known
from llm_server.events import Alternative, BlockDelta, BlockStart, BlockStop, TokenLogprob

LOWEST_LOGPROB: Final = -9999.0
"""What OpenAI sends for a token that can not occur. JSON has no infinity."""

Piece: TypeAlias = tuple[str, JSON]
"""An event's type, without its `response.`, and its own fields."""


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


class OutputItem(Protocol):
    """One item while it grows. The methods are called in this order, `go_on` any number of times."""

    id: str

    def added(self) -> JSON:
        """The item as it begins."""

    def begin(self) -> Iterator[Piece]:
        """What follows at once."""

    def go_on(self, delta: BlockDelta) -> Iterator[Piece]: ...

    def end(self, stop: BlockStop) -> Iterator[Piece]: ...

    def done(self, stop: BlockStop) -> JSON | None:
        """The whole item, or None for one that has come to nothing."""


def output_item(start: BlockStart, known: Known | None) -> OutputItem:
    """The item of a block; `known` is the called tool as its client knows it, None if it declared no such tool."""
    match start.kind:
        case "reasoning":
            return ReasoningItem()
        case "text":
            return MessageItem(start.preamble)
    known = known or Known(start.tool_name)
    return CustomCallItem(start.call_id, known) if known.is_custom else FunctionCallItem(start.call_id, known)


class ReasoningItem:
    def __init__(self) -> None:
        self.id = new_id("rs")

    def added(self) -> JSON:
        return {"id": self.id, "type": "reasoning", "summary": []}

    def begin(self) -> Iterator[Piece]:
        yield from ()

    def go_on(self, delta: BlockDelta) -> Iterator[Piece]:  # noqa: ARG002
        yield from ()

    def end(self, stop: BlockStop) -> Iterator[Piece]:  # noqa: ARG002
        yield from ()

    def done(self, stop: BlockStop) -> JSON:
        return {**self.added(), **({"encrypted_content": stop.seal} if stop.seal else {})}


class MessageItem:
    def __init__(self, preamble: bool) -> None:
        self.id = new_id("msg")
        self._phase = "commentary" if preamble else "final_answer"
        self._text: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def added(self) -> JSON:
        return self._item("in_progress", [])

    def begin(self) -> Iterator[Piece]:
        yield "content_part.added", {"content_index": 0, "part": text_part("")}

    def go_on(self, delta: BlockDelta) -> Iterator[Piece]:
        self._text.append(delta.text)
        self._logprobs += delta.logprobs
        fields = {"content_index": 0, "delta": delta.text, "logprobs": _event_logprobs(delta.logprobs)}
        yield "output_text.delta", fields

    def end(self, stop: BlockStop) -> Iterator[Piece]:  # noqa: ARG002
        text = "".join(self._text)
        yield "output_text.done", {"content_index": 0, "text": text, "logprobs": _event_logprobs(self._logprobs)}
        yield "content_part.done", {"content_index": 0, "part": text_part(text, self._logprobs)}

    def done(self, stop: BlockStop) -> JSON:
        part = text_part("".join(self._text), self._logprobs)
        return self._item("completed" if stop.complete else "incomplete", [part])

    def _item(self, status: str, content: list[JSON]) -> JSON:
        item = {"id": self.id, "type": "message", "status": status, "role": "assistant"}
        return {**item, "phase": self._phase, "content": content}


class FunctionCallItem:
    """A call that the token limit cut off is `incomplete`, and its arguments are no JSON: it can not be run."""

    def __init__(self, call_id: str, known: Known) -> None:
        self.id = new_id("fc")
        self._call_id = call_id
        self._known = known
        self._arguments: list[str] = []

    def added(self) -> JSON:
        return self._item("in_progress")

    def begin(self) -> Iterator[Piece]:
        yield from ()

    def go_on(self, delta: BlockDelta) -> Iterator[Piece]:
        self._arguments.append(delta.text)
        yield "function_call_arguments.delta", {"delta": delta.text}

    def end(self, stop: BlockStop) -> Iterator[Piece]:
        if stop.complete:
            yield "function_call_arguments.done", {"arguments": "".join(self._arguments)}

    def done(self, stop: BlockStop) -> JSON:
        return self._item("completed" if stop.complete else "incomplete")

    def _item(self, status: str) -> JSON:
        item = {"id": self.id, "type": "function_call", "status": status, "call_id": self._call_id}
        return {**item, **_named(self._known), "arguments": "".join(self._arguments)}


class CustomCallItem:
    """A call that the token limit cut off comes to nothing: half of a text looks like a whole one, and could be run."""

    def __init__(self, call_id: str, known: Known) -> None:
        self.id = new_id("ctc")
        self._call_id = call_id
        self._known = known
        self._input: list[str] = []

    def added(self) -> JSON:
        item = {"id": self.id, "type": "custom_tool_call", "call_id": self._call_id}
        return {**item, **_named(self._known), "input": "".join(self._input)}

    def begin(self) -> Iterator[Piece]:
        yield from ()

    def go_on(self, delta: BlockDelta) -> Iterator[Piece]:
        self._input.append(delta.text)
        yield "custom_tool_call_input.delta", {"delta": delta.text}

    def end(self, stop: BlockStop) -> Iterator[Piece]:
        if stop.complete:
            yield "custom_tool_call_input.done", {"input": "".join(self._input)}

    def done(self, stop: BlockStop) -> JSON | None:
        return self.added() if stop.complete else None


def visible(item: JSON, *, encrypted: bool) -> JSON:
    """The item for a client that has, or has not, asked for sealed reasoning."""
    if encrypted or item.get("type") != "reasoning":
        return item
    return {key: value for key, value in item.items() if key != "encrypted_content"}


def text_part(text: str, logprobs: Sequence[TokenLogprob] = ()) -> JSON:
    """A part of a message of the assistant."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": _part_logprobs(logprobs)}


def _named(known: Known) -> JSON:
    return {"name": known.name, **({"namespace": known.namespace} if known.namespace else {})}


def _part_logprobs(logprobs: Iterable[TokenLogprob]) -> list[JSON]:
    return [{**_token(each.chosen), "top_logprobs": [_token(other) for other in each.top]} for each in logprobs]


def _event_logprobs(logprobs: Iterable[TokenLogprob]) -> list[JSON]:
    """As in a part, without the bytes: the events of this API have none."""
    return [{**_brief(each.chosen), "top_logprobs": [_brief(other) for other in each.top]} for each in logprobs]


def _token(token: Alternative) -> dict[str, Any]:
    return {**_brief(token), "bytes": list(token.bytes)}


def _brief(token: Alternative) -> dict[str, Any]:
    return {"token": token.token, "logprob": max(token.logprob, LOWEST_LOGPROB)}
