"""A conversation's history with the assistant's reasoning put back, where the model was trained to see it.

Harmony's rule: as long as no final answer has followed, the turn is still going, and its analysis belongs into the
prompt; with the answer it is dropped. A user who speaks in between ends no turn, since only an answer does. What was
generated is known from the transcripts of this process, or from seals that the client handed back; otherwise a turn
is written as its client tells it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Any, TypeAlias

from llm_server.conversation import AssistantText, Instructions, Item, Reasoning, ToolCall, ToolResult, UserText
from llm_server.harmony.messages import thought
from llm_server.harmony.seal import Sealer
from llm_server.harmony.transcript import Call, Transcripts, Turn


@dataclass(frozen=True, slots=True)
class Memory:
    """Where reasoning is known from."""

    sealer: Sealer
    transcripts: Transcripts = field(default_factory=Transcripts)


@dataclass(frozen=True, slots=True)
class Preamble:
    """What the assistant told the user before it went on to think or to call. An `AssistantText` is an answer."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """Whole messages of the assistant, as tokens. `calls` are the ids of those that it made."""

    tokens: Sequence[int] = field(repr=False)
    calls: tuple[str, ...] = ()


Passage: TypeAlias = Instructions | UserText | AssistantText | ToolCall | ToolResult | Preamble | Generated


def recalled(items: Sequence[Item], memory: Memory | None) -> list[Passage]:
    """What the prompt tells of these items, in order."""
    answers = [index for index, item in enumerate(items) if isinstance(item, AssistantText) and _ends(items, index)]
    going = answers[-1] + 1 if answers else 0
    told = [*_told(items[:going], None), *_told(items[going:], memory)]
    return list(_in_order_of_calls(told))


def _ends(items: Sequence[Item], index: int) -> bool:
    """Whether the assistant's text at `index` was its answer: it went on neither to call nor to think and speak."""
    match items[index]:
        case AssistantText(preamble=True):
            return False
    place = index + 1
    while place < len(items) and isinstance(items[place], Reasoning):
        place += 1
    match items[place] if place < len(items) else None:
        case ToolCall():
            return False
        case AssistantText():
            return place == index + 1
        case _:
            return True


def _told(items: Sequence[Item], memory: Memory | None) -> Iterator[Passage]:
    """Each turn that is remembered as it was generated, once; everything else item by item."""
    owners = _owners(items)
    turns = _remembered(items, owners, memory) if memory else {}
    spliced: set[str] = set()
    for index, owner in enumerate(owners):
        turn = turns.get(owner)
        if turn is None:
            yield from _alone(items, index, memory)
        elif owner not in spliced:
            ids = tuple(call.call_id for call in turn.calls)
            spliced.update(ids)
            yield Generated(turn.tokens, ids)


def _alone(items: Sequence[Item], index: int, memory: Memory | None) -> Iterator[Passage]:
    match items[index]:
        case AssistantText(text) if not _ends(items, index):
            yield Preamble(text)
        case Reasoning(seal):
            body = memory.sealer.open(seal) if memory else None
            if body is not None:
                yield Generated(thought(body))
        case item:
            yield item


def _owners(items: Sequence[Item]) -> list[str]:
    """The id of the call to which each item belongs, or "".

    What the assistant said and thought belongs to its next call; what comes after the last one, to that.
    """
    owners: list[str] = []
    for _, run in groupby(items, lambda item: isinstance(item, AssistantText | Reasoning | ToolCall)):
        calls = [item.call_id if isinstance(item, ToolCall) else None for item in run]
        owner = next((call_id for call_id in reversed(calls) if call_id is not None), "")
        backwards: list[str] = []
        for call_id in reversed(calls):
            owner = owner if call_id is None else call_id
            backwards.append(owner)
        owners += reversed(backwards)
    return owners


def _remembered(items: Sequence[Item], owners: Sequence[str], memory: Memory) -> Mapping[str, Turn]:
    """The remembered turns by the ids of their calls, if the client tells of them what was generated."""
    calls = {item.call_id: item for item in items if isinstance(item, ToolCall)}
    said: dict[str, str] = {}
    for item, owner in zip(items, owners, strict=True):
        if isinstance(item, AssistantText):
            said[owner] = said.get(owner, "") + item.text
    found = ((call_id, memory.transcripts.find(call_id)) for call_id in calls)
    return {call_id: turn for call_id, turn in found if turn is not None and _is_retold(turn, calls, said)}


def _is_retold(turn: Turn, calls: Mapping[str, ToolCall], said: Mapping[str, str]) -> bool:
    """Whether all of the turn's calls are there, unchanged. Its text may be missing, but may not be another one."""
    retold = "".join(said.get(call.call_id, "") for call in turn.calls)
    same_text = not retold.strip() or _characters(retold) == _characters(turn.said)
    return same_text and all(_is_same(call, calls.get(call.call_id)) for call in turn.calls)


def _characters(text: str) -> str:
    """APIs join and trim texts in ways of their own."""
    return "".join(text.split())


def _is_same(made: Call, retold: ToolCall | None) -> bool:
    """Clients parse arguments and write them anew."""
    if retold is None or retold.name != made.name:
        return False
    if retold.arguments == made.arguments:
        return True
    try:
        return bool(_plain(json.loads(made.arguments)) == _plain(json.loads(retold.arguments)))
    except (ValueError, RecursionError):
        return False


def _plain(value: Any) -> Any:
    """The value so that `==` compares as JSON does: 1 is 1.0, and neither is true."""
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case bool():
            return (value,)
    return value


def _in_order_of_calls(passages: Iterable[Passage]) -> Iterator[Passage]:
    """Harmony's results bear no id: of two calls of one tool, the first result answers the first."""
    places: dict[str, int] = {}
    following = count()
    for are_results, run in groupby(passages, lambda passage: isinstance(passage, ToolResult)):
        if are_results:
            results = [passage for passage in run if isinstance(passage, ToolResult)]
            yield from sorted(results, key=lambda result: places.get(result.call_id, sys.maxsize))
            continue
        for passage in run:
            places |= {call_id: next(following) for call_id in _calls_in(passage)}
            yield passage


def _calls_in(passage: Passage) -> tuple[str, ...]:
    match passage:
        case Generated(calls=calls):
            return calls
        case ToolCall(call_id=call_id):
            return (call_id,)
    return ()
