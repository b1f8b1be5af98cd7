"""Canonical events as Completions chunks, and whole answers as their JSON. Pure; knows no HTTP.

What is shown is text, be it an answer or said before one. Analysis has no text here, and calls have no place.
"""

from __future__ import annotations

import codecs
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from llm_server.api.http import JSON
from llm_server.api.openai import finite, usage
from llm_server.events import Alternative, Block, BlockDelta, BlockStart, Completion, Event, Finish, TokenLogprob, Usage

_FINISH: Final = {"stop": "stop", "stop_sequence": "stop", "length": "length", "tool_calls": "stop"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all chunks of an answer share. `model` is the name that was asked for.

    `prompts` are the texts that come before the choices of each prompt, of which there are `choices`. `logprobs` is
    how many alternatives are told of each token, None for no probabilities.
    """

    model: str
    fingerprint: str
    prompts: Sequence[str]
    choices: int = 1
    echo: bool = False
    logprobs: int | None = None
    include_usage: bool = False
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def wrap(self, choices: list[JSON]) -> JSON:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }

    def prompt(self, index: int) -> str:
        """That of the choice."""
        return self.prompts[index // self.choices]


def completion(envelope: Envelope, answers: Sequence[Sequence[Completion]]) -> JSON:
    """The body of a whole answer. `answers` are those of each prompt: its choices are the best of them."""
    best = [answer for candidates in answers for answer in _best(candidates, envelope.choices)]
    body = envelope.wrap([_choice(envelope, index, answer) for index, answer in enumerate(best)])
    return {**body, "usage": usage([[answer.finish.usage for answer in candidates] for candidates in answers])}


class ChunkWriter:
    """Events in, chunks out: for each choice its text, and why it ended; usage if it was asked for."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._choices = [_Choice(envelope, index) for index in range(len(envelope.prompts) * envelope.choices)]

    def start(self) -> list[JSON]:
        if not self._envelope.echo:
            return []
        return [self._chunk(choice.part(self._envelope.prompt(index))) for index, choice in enumerate(self._choices)]

    def feed(self, index: int, event: Event) -> list[JSON]:
        """The chunks of one event of the choice `index`."""
        return [self._chunk(choice) for choice in self._choices[index].feed(event)]

    def end(self) -> list[JSON]:
        if not self._envelope.include_usage:
            return []
        size = self._envelope.choices
        usages = [choice.usage for choice in self._choices]
        prompts = [usages[start : start + size] for start in range(0, len(usages), size)]
        return [{**self._envelope.wrap([]), "usage": usage(prompts)}]

    def _chunk(self, choice: JSON) -> JSON:
        chunk = self._envelope.wrap([choice])
        return {**chunk, "usage": None} if self._envelope.include_usage else chunk


class _Choice:
    """One choice of a stream."""

    def __init__(self, envelope: Envelope, index: int) -> None:
        self.usage = Usage()
        self._envelope = envelope
        self._index = index
        self._is_text = False
        self._tokens = _Tokens(envelope, index)

    def feed(self, event: Event) -> Iterator[JSON]:
        match event:
            case BlockStart(kind=kind):
                self._is_text = kind == "text"
            case BlockDelta(text=text, logprobs=logprobs) if self._is_text:
                yield {**self.part(text), "logprobs": self._tokens.told(logprobs)}
            case Finish():
                self.usage = event.usage
                yield {**self.part(""), "finish_reason": _FINISH[event.reason]}

    def part(self, text: str) -> JSON:
        return {"index": self._index, "text": text, "logprobs": None, "finish_reason": None}


class _Tokens:
    """The tokens of one choice in the shape of this API, each with its place in prompt and answer together."""

    def __init__(self, envelope: Envelope, index: int) -> None:
        self._alternatives = envelope.logprobs
        self._offset = len(envelope.prompt(index))
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def told(self, logprobs: Iterable[TokenLogprob]) -> JSON | None:
        if self._alternatives is None:
            return None
        tokens = [(self._place(each.chosen), each) for each in logprobs]
        return {
            "tokens": [_name(each.chosen) for _, each in tokens],
            "token_logprobs": [finite(each.chosen.logprob) for _, each in tokens],
            "top_logprobs": [_top(each) for _, each in tokens] if self._alternatives else None,
            "text_offset": [place for place, _ in tokens],
        }

    def _place(self, token: Alternative) -> int:
        place = self._offset
        self._offset += len(self._decoder.decode(token.bytes))
        return place


def _choice(envelope: Envelope, index: int, answer: Completion) -> JSON:
    blocks = _shown(answer)
    text = "".join(block.text for block in blocks)
    return {
        "index": index,
        "text": envelope.prompt(index) + text if envelope.echo else text,
        "logprobs": _Tokens(envelope, index).told(_logprobs(blocks)),
        "finish_reason": _FINISH[answer.finish.reason],
    }


def _best(candidates: Sequence[Completion], count: int) -> Sequence[Completion]:
    """Those whose tokens are the likeliest on average, best first."""
    if len(candidates) == count:
        return candidates
    return sorted(candidates, key=_likelihood, reverse=True)[:count]


def _likelihood(answer: Completion) -> float:
    tokens = [finite(each.chosen.logprob) for each in _logprobs(_shown(answer))]
    return sum(tokens) / len(tokens) if tokens else float("-inf")


def _shown(answer: Completion) -> list[Block]:
    return [block for block in answer.blocks if block.kind == "text"]


def _logprobs(blocks: Iterable[Block]) -> Iterator[TokenLogprob]:
    for block in blocks:
        yield from block.logprobs


def _top(token: TokenLogprob) -> dict[str, float]:
    """The likeliest tokens, the chosen one among them, by name. Of two with one name, the likelier one."""
    likeliest = sorted((*token.top, token.chosen), key=lambda each: each.logprob)
    return {_name(each): finite(each.logprob) for each in likeliest}


def _name(token: Alternative) -> str:
    """A token's text, or its bytes as OpenAI writes them if they are no whole characters."""
    try:
        return token.bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)
