"""Canonical events as Chat Completions chunks, and whole answers as their JSON. Pure; knows no HTTP.

The whole answer and the folded stream are the same, but for a call whose arguments the token limit cut off: a stream
has sent its beginning already, a whole answer leaves it out. `finish_reason` is "length" in both.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, assert_never

import msgspec

from llm_server.api.http import JSON
from llm_server.api.openai import finite, usage
from llm_server.events import (
    Alternative,
    BlockDelta,
    BlockStart,
    BlockStop,
    Completion,
    Event,
    Finish,
    TokenLogprob,
    Usage,
)

BREAK: Final = "\n\n"
"""Stands between two texts of one answer, a preamble and what follows it: this API has one content."""

PADDED_TO: Final = 64
"""Bytes: chunks of one token, and those of a few, are as long as each other."""

_FINISH: Final = {"stop": "stop", "stop_sequence": "stop", "length": "length", "tool_calls": "tool_calls"}

Chunks: TypeAlias = list[JSON]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all chunks of an answer share. `model` is the name that was asked for.

    `functions` answers with the deprecated `function_call` in place of `tool_calls`; `custom` names the tools whose
    input is plain text. `obfuscate` pads every chunk, so that its size tells less of what is in it.
    """

    model: str
    fingerprint: str
    functions: bool = False
    custom: frozenset[str] = frozenset()
    include_usage: bool = False
    obfuscate: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def wrap(self, kind: str, choices: list[JSON]) -> JSON:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }

    def call(self, name: str, call_id: str, arguments: str) -> JSON:
        if name in self.custom:
            return {"id": call_id, "type": "custom", "custom": {"name": name, "input": arguments}}
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def padded(self, chunk: JSON) -> JSON:
        """The chunk with as much of `obfuscation` as makes its size a multiple of `PADDED_TO` bytes."""
        if not self.obfuscate:
            return chunk
        missing = -len(msgspec.json.encode({**chunk, "obfuscation": ""})) % PADDED_TO
        return {**chunk, "obfuscation": secrets.token_hex(PADDED_TO // 2)[:missing]}

    def finish_reason(self, finish: Finish) -> str:
        reason = _FINISH[finish.reason]
        return "function_call" if self.functions and reason == "tool_calls" else reason


def completion(envelope: Envelope, answers: Sequence[Completion]) -> JSON:
    """The body of a whole answer, one choice for each of `answers`."""
    choices = [_choice(envelope, index, answer) for index, answer in enumerate(answers)]
    body = envelope.wrap("chat.completion", choices)
    return {**body, "usage": usage([[answer.finish.usage for answer in answers]])}


class ChunkWriter:
    """Events in, chunks out, in OpenAI's order: roles, deltas, a finish for each choice, usage if it was asked for."""

    def __init__(self, envelope: Envelope, choices: int) -> None:
        self._envelope = envelope
        self._choices = [_Choice(envelope, index) for index in range(choices)]

    def start(self) -> Chunks:
        role = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk(choice.delta(role)) for choice in self._choices]

    def feed(self, index: int, event: Event) -> Chunks:
        """The chunks of one event of the choice `index`: most often one, for reasoning none."""
        return [self._chunk(choice) for choice in self._choices[index].feed(event)]

    def end(self) -> Chunks:
        if not self._envelope.include_usage:
            return []
        total = usage([[choice.usage for choice in self._choices]])
        return [self._envelope.padded({**self._envelope.wrap("chat.completion.chunk", []), "usage": total})]

    def _chunk(self, choice: JSON) -> JSON:
        chunk = self._envelope.wrap("chat.completion.chunk", [choice])
        return self._envelope.padded({**chunk, "usage": None} if self._envelope.include_usage else chunk)


class _Choice:
    """One choice of a stream: what its next delta depends on."""

    def __init__(self, envelope: Envelope, index: int) -> None:
        self.usage = Usage()
        self._envelope = envelope
        self._index = index
        self._block = BlockStart(0, "text")
        self._calls = 0
        self._has_text = False
        self._break = ""

    def feed(self, event: Event) -> list[JSON]:
        match event:
            case BlockStart(kind="tool_call"):
                self._block = event
                self._calls += 1
                return [self.delta(self._call_starts(event))]
            case BlockStart():
                self._block = event
                self._break = BREAK if self._has_text else ""
                return []
            case BlockDelta(text=text) if self._block.kind == "tool_call":
                return [self.delta(self._call_goes_on(text))]
            case BlockDelta(text=text, logprobs=logprobs):
                content, self._break, self._has_text = self._break + text, "", True
                return [self.delta({"content": content}, logprobs)]
            case BlockStop():
                return []
            case Finish():
                self.usage = event.usage
                return [{**self.delta({}), "finish_reason": self._envelope.finish_reason(event)}]
        assert_never(event)

    def delta(self, delta: JSON, logprobs: Sequence[TokenLogprob] = ()) -> JSON:
        return {"index": self._index, "delta": delta, "logprobs": _logprobs(logprobs), "finish_reason": None}

    def _call_starts(self, block: BlockStart) -> JSON:
        call = self._envelope.call(block.tool_name, block.call_id, "")
        if self._envelope.functions:
            return {"function_call": call["function"]}
        return {"tool_calls": [{"index": self._calls - 1, **call}]}

    def _call_goes_on(self, arguments: str) -> JSON:
        if self._envelope.functions:
            return {"function_call": {"arguments": arguments}}
        if self._block.tool_name in self._envelope.custom:
            return {"tool_calls": [{"index": self._calls - 1, "custom": {"input": arguments}}]}
        return {"tool_calls": [{"index": self._calls - 1, "function": {"arguments": arguments}}]}


def _choice(envelope: Envelope, index: int, answer: Completion) -> JSON:
    logprobs = [logprob for block in answer.blocks if block.kind == "text" for logprob in block.logprobs]
    return {
        "index": index,
        "message": _message(envelope, answer),
        "logprobs": _logprobs(logprobs),
        "finish_reason": envelope.finish_reason(answer.finish),
    }


def _message(envelope: Envelope, answer: Completion) -> JSON:
    calls = answer.tool_calls
    content = BREAK.join(block.text for block in answer.blocks if block.kind == "text" and block.text)
    message: JSON = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if calls and not content:
        message["content"] = None
    if calls and envelope.functions:
        message["function_call"] = envelope.call(calls[0].tool_name, "", calls[0].text)["function"]
    elif calls:
        message["tool_calls"] = [envelope.call(call.tool_name, call.call_id, call.text) for call in calls]
    return message


def _logprobs(logprobs: Iterable[TokenLogprob]) -> JSON | None:
    content = [{**_token(each.chosen), "top_logprobs": [_token(other) for other in each.top]} for each in logprobs]
    return {"content": content, "refusal": None} if content else None


def _token(token: Alternative) -> JSON:
    return {"token": token.token, "logprob": finite(token.logprob), "bytes": list(token.bytes)}
