"""Canonical events to Messages wire JSON: the whole message, and the stream's events. Pure; knows no HTTP.

Reasoning is a sealed block if the caller asked for one, and nothing otherwise; texts without a character are dropped.
The blocks that remain are numbered without gaps.
A call's arguments are streamed as the model writes them, and are never repaired: a command that lost its end could do
anything. Arguments that are no JSON object become `{}`, which the tool's own check of its input refuses.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec

from llm_server.events import Block, BlockDelta, BlockStart, BlockStop, Completion, Event, Finish, FinishReason, Usage

JSON: TypeAlias = dict[str, Any]

ReasoningBlocks: TypeAlias = Literal["none", "redacted_thinking", "thinking"]
"""The blocks in which reasoning travels: none, wholly sealed ones, or ones with an empty text and a signature."""

STOP_REASON: Final[dict[FinishReason, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What is known of a message before the model has said anything. `model` is the name that the request used.

    `caches`: the caller has asked for the prompt to be kept, so what was newly kept of it counts as written.
    `applied_edits` is None if the request spoke of no `context_management`. With `max_tokens` 0
    nothing is said: the prompt was only to be read.
    """

    message_id: str
    model: str
    prompt_tokens: int
    reasoning: ReasoningBlocks = "none"
    max_tokens: int = 1
    caches: bool = False
    applied_edits: Sequence[JSON] | None = None


def new_message_id() -> str:
    return f"msg_{secrets.token_hex(12)}"


def message(reply: Reply, completion: Completion) -> JSON:
    """The whole answer. A call that the token limit cut off is left out: it is no call."""
    finish = completion.finish
    blocks = completion.blocks if reply.max_tokens else ()
    content = [wire for block in blocks if (wire := _content(block, reply.reasoning))]
    return {
        **_head(reply, finish.usage),
        "content": content,
        **_stop(finish),
        **_context_management(reply),
    }


async def stream(reply: Reply, events: AsyncIterable[Event]) -> AsyncGenerator[JSON, None]:
    """The events of a streamed answer, in the API's order. The `type` of each is its event name, too.

    The first two come before the first token, so that the client knows that it was admitted.
    """
    yield {"type": "message_start", "message": _head(reply, Usage(prompt=reply.prompt_tokens))}
    yield {"type": "ping"}
    projection = Projection(reply)
    async for event in events:
        if reply.max_tokens or isinstance(event, Finish):
            for wire in projection.feed(event):
                yield wire


class Projection:
    """Canonical events in, wire events out: a block appears once it is known to have something to show."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._reasoning = reply.reasoning
        self._index = 0
        self._kind: str = ""
        self._started = False
        self._is_object: bool | None = None

    def feed(self, event: Event) -> Iterator[JSON]:
        match event:
            case BlockStart():
                yield from self._block(event)
            case BlockDelta(text=text) if self._kind == "text":
                yield from self._text(text)
            case BlockDelta(text=text) if self._kind == "tool_call":
                yield from self._arguments(text)
            case BlockStop(seal=seal):
                if self._kind == "reasoning":
                    yield from self._seal(seal)
                yield from self._block_stop()
            case Finish():
                yield {
                    "type": "message_delta",
                    "delta": _stop(event),
                    "usage": _usage(self._reply, event.usage),
                    **_context_management(self._reply),
                }
                yield {"type": "message_stop"}

    def _block(self, start: BlockStart) -> Iterator[JSON]:
        self._kind, self._started, self._is_object = start.kind, False, None
        if start.kind == "tool_call":
            yield self._start(_tool_use(start.call_id, start.tool_name, {}))
        if start.kind == "reasoning" and self._reasoning == "thinking":
            yield self._start(_thinking(""))

    def _seal(self, seal: str) -> Iterator[JSON]:
        if self._started and seal:
            yield self._delta({"type": "signature_delta", "signature": seal})
        elif self._reasoning == "redacted_thinking" and seal:
            yield self._start(_redacted_thinking(seal))

    def _text(self, text: str) -> Iterator[JSON]:
        if not self._started:
            yield self._start({"type": "text", "text": ""})
        yield self._delta({"type": "text_delta", "text": text})

    def _arguments(self, text: str) -> Iterator[JSON]:
        """What does not even begin as an object is held back for good: it could not be taken back later."""
        if self._is_object is None:
            text = text.lstrip(" \t\r\n")
            self._is_object = text.startswith("{") if text else None
        if self._is_object:
            yield self._delta({"type": "input_json_delta", "partial_json": text})

    def _block_stop(self) -> Iterator[JSON]:
        if not self._started:
            return
        if self._kind == "tool_call" and not self._is_object:
            yield self._delta({"type": "input_json_delta", "partial_json": "{}"})
        yield {"type": "content_block_stop", "index": self._index}
        self._index += 1

    def _start(self, content_block: JSON) -> JSON:
        self._started = True
        return {"type": "content_block_start", "index": self._index, "content_block": content_block}

    def _delta(self, delta: JSON) -> JSON:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}


def _content(block: Block, reasoning: ReasoningBlocks) -> JSON | None:
    match block.kind:
        case "text":
            return {"type": "text", "text": block.text} if block.text else None
        case "tool_call":
            return _tool_use(block.call_id, block.tool_name, _input(block.text)) if block.complete else None
        case "reasoning" if reasoning == "thinking":
            return _thinking(block.seal)
        case "reasoning" if reasoning == "redacted_thinking" and block.seal:
            return _redacted_thinking(block.seal)
    return None


def _thinking(seal: str) -> JSON:
    return {"type": "thinking", "thinking": "", "signature": seal}


def _redacted_thinking(seal: str) -> JSON:
    return {"type": "redacted_thinking", "data": seal}


def _tool_use(call_id: str, name: str, arguments: JSON) -> JSON:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def _input(arguments: str) -> JSON:
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _head(reply: Reply, usage: Usage) -> JSON:
    return {
        "id": reply.message_id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [],
        "container": None,
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {**_usage(reply, usage), "service_tier": "standard"},
    }


def _stop(finish: Finish) -> JSON:
    reason = "model_context_window_exceeded" if finish.context_full else STOP_REASON[finish.reason]
    return {"stop_reason": reason, "stop_sequence": finish.stop_sequence}


def _usage(reply: Reply, usage: Usage) -> JSON:
    """Cumulative, as all of this API's counts. `input_tokens` are those that no cache has saved or will save.

    Of a prompt that was only to be read, the one token that the engine made all the same is nobody's.
    """
    written = usage.stored if reply.caches else 0
    generated, thought = (usage.completion, usage.reasoning) if reply.max_tokens else (0, 0)
    return {
        "input_tokens": usage.prompt - usage.cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": generated,
        "output_tokens_details": {"thinking_tokens": thought},
    }


def _context_management(reply: Reply) -> JSON:
    return {} if reply.applied_edits is None else {"context_management": {"applied_edits": list(reply.applied_edits)}}
