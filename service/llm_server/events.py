"""What comes out: one answer as a stream of events, the same for every API.

Events have the shape of the richest wire formats (blocks, as Responses and Messages have them); flat ones are
projected from blocks. Reasoning is a block that has a size, a seal that this server alone can open, and no text: no
event can carry the words of the analysis channel, so no adapter can print them. The whole answer is `collect()` of the
stream and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

BlockKind: TypeAlias = Literal["reasoning", "text", "tool_call"]
FinishReason: TypeAlias = Literal["stop", "stop_sequence", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token of the final channel as text, with its natural-log probability under the unsampled distribution."""

    token: str
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    chosen: Alternative
    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockStart:
    """A block begins. Blocks are numbered from 0 and never overlap.

    `preamble` marks text said before a tool call (Harmony's commentary channel), which users see, too.
    """

    index: int
    kind: BlockKind
    preamble: bool = False
    call_id: str = ""
    tool_name: str = ""


@dataclass(frozen=True, slots=True)
class BlockDelta:
    """More of the open block: visible text, or more of a tool call's JSON arguments. Never empty, never reasoning."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockStop:
    """The block has ended. `tokens` counts all that was generated for it, its header included.

    `complete` is False for what the token limit cut off: arguments that were cut off are never a call. `seal`, of a
    reasoning block, is what a client may hand back, so that the model sees its thought again; "" if there is none.
    """

    index: int
    tokens: int = 0
    complete: bool = True
    seal: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `completion` includes `reasoning`; `prompt` includes `cached`, and `stored` that nobody knew before."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """The last event of every answer that did not fail. `stop_sequence` is the caller's string that ended it.

    `context_full`, of an answer that was cut off: it was allowed more tokens than the context had room for.
    """

    reason: FinishReason
    usage: Usage = Usage()
    stop_sequence: str | None = None
    context_full: bool = False


Event: TypeAlias = BlockStart | BlockDelta | BlockStop | Finish


@dataclass(frozen=True, slots=True)
class Block:
    """One whole block, as the fold of its events."""

    kind: BlockKind
    preamble: bool
    call_id: str
    tool_name: str
    text: str
    tokens: int
    complete: bool
    logprobs: tuple[TokenLogprob, ...]
    seal: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    blocks: tuple[Block, ...]
    finish: Finish

    @property
    def text(self) -> str:
        return "".join(block.text for block in self.blocks if block.kind == "text")

    @property
    def tool_calls(self) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.kind == "tool_call" and block.complete)


@dataclass(slots=True)
class _OpenBlock:
    start: BlockStart
    text: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def close(self, stop: BlockStop) -> Block:
        start = self.start
        return Block(
            start.kind,
            start.preamble,
            start.call_id,
            start.tool_name,
            "".join(self.text),
            stop.tokens,
            stop.complete,
            tuple(self.logprobs),
            stop.seal,
        )


class Fold:
    """Events in, the whole answer out."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._open: _OpenBlock | None = None
        self._finish: Finish | None = None

    def add(self, event: Event) -> None:
        match event:
            case BlockStart():
                self._open = _OpenBlock(event)
            case BlockDelta(_, text, logprobs):
                assert self._open is not None, "a delta belongs to an open block"
                self._open.text.append(text)
                self._open.logprobs += logprobs
            case BlockStop():
                assert self._open is not None, "only an open block can stop"
                self._blocks.append(self._open.close(event))
                self._open = None
            case Finish():
                self._finish = event

    @property
    def completion(self) -> Completion:
        assert self._finish is not None, "an answer ends with Finish or an exception"
        return Completion(tuple(self._blocks), self._finish)


def fold(events: Iterable[Event]) -> Completion:
    whole = Fold()
    for event in events:
        whole.add(event)
    return whole.completion


async def collect(events: AsyncIterable[Event]) -> Completion:
    """The non-streamed answer is the fold of the streamed one, so the two can not disagree."""
    whole = Fold()
    async for event in events:
        whole.add(event)
    return whole.completion
