"""Whole recorded streams, from this server or another, through the same parser as a live one.

A recording may have lost its last token, since engines often do not report the one that ended the turn; whether the
stream was cut off is then judged by what is there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Literal, TypeAlias

from llm_server.events import Block, Event, Finish, FinishReason, fold
from llm_server.harmony.encoding import encode, special_tokens
from llm_server.harmony.parse import HarmonyParser
from llm_server.harmony.repairs import Repair

Segment: TypeAlias = tuple[Literal["special", "text"], str]

_NAME: Final = re.compile(r"<\|\w+\|>")
_ALSO_CALLED: Final = {"<|endofprompt|>": 200_018}
"""What other tokenizers of the model call `<|reserved_200018|>`."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a stream of tokens meant. `events` end in `Finish`, without usage."""

    events: tuple[Event, ...]
    finish_reason: FinishReason
    channel_tokens: Mapping[str, int]
    repairs: Sequence[Repair]
    undeclared_calls: Sequence[str]

    @property
    def blocks(self) -> tuple[Block, ...]:
        return fold(self.events).blocks


def parse_tokens(
    tokens: Iterable[int],
    tools: Collection[str] = (),
    *,
    truncated: bool | None = None,
    freeform: Collection[str] = (),
    continued: Iterable[int] = (),
) -> Recording:
    """Parse what follows the prompt's `<|start|>assistant`, or what goes on where `continued` leaves off.

    `truncated` None: judge by what is there.
    """
    numbers = count()
    parser = HarmonyParser(tools, new_call_id=lambda: f"call_{next(numbers)}", freeform=freeform)
    begun = parser.resume(continued) if continued else None
    events: list[Event] = [begun] if begun else []
    events += [event for token in tokens for event in parser.feed(token)]
    events += parser.finish(truncated=truncated)
    events.append(Finish(parser.finish_reason))
    return Recording(
        tuple(events), parser.finish_reason, parser.channel_tokens, parser.repairs, parser.undeclared_calls
    )


def encode_segments(segments: Iterable[Segment]) -> list[int]:
    """Text as tokens: special tokens' names become them in "special" segments, and stay text in "text" segments."""
    tokens: list[int] = []
    for kind, text in segments:
        special = {**special_tokens(), **_ALSO_CALLED} if kind == "special" else {}
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for piece in _split(text, special):
            tokens += [special[piece]] if piece in special else encode(piece)
    return tokens


def _split(text: str, names: Container[str]) -> Iterator[str]:
    """The text cut around whatever of it is a name."""
    begin = 0
    for match in _NAME.finditer(text):
        if match[0] in names:
            yield from (text[begin : match.start()], match[0])
            begin = match.end()
    yield text[begin:]
