"""What the model really generated in the turns that ended in tool calls, kept until the calls come back.

gpt-oss is trained to see its own analysis between the calls of one turn, and no client sends it back. So the tokens of
such a turn are remembered here under the ids of its calls, in bounded memory. Nothing of it is ever shown: a turn's
tokens go into prompts only (`recall.py`), and have no representation.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from llm_server.events import BlockDelta, BlockStart, BlockStop, Event
from llm_server.harmony.encoding import CALL, MESSAGE, is_special
from llm_server.harmony.messages import assistant_start, call, preamble, thought
from llm_server.harmony.repairs import Repair, RepairKind
from llm_server.harmony.seal import Sealer

MOST_TOKENS: Final = 4_000_000
"""Tokens of all remembered turns together: 16 MB, about a thousand turns with long thoughts."""

_TURN_OVERHEAD: Final = 256
"""What a turn costs besides its tokens, in tokens: ids, names and arguments of its calls."""

_HARMLESS: Final[frozenset[RepairKind]] = frozenset({"call_channel", "empty_arguments", "arguments_not_json"})
"""Repairs of a turn that may stand in a prompt as it was generated. The others would teach the model its mistakes."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the client was told of it. `arguments` is its JSON text."""

    call_id: str
    name: str
    arguments: str = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """An assistant's turn that ended in calls, of which there is at least one.

    `said` is what the user saw before them. `tokens` begin with `<|start|>assistant` and end with `<|call|>`.
    """

    calls: tuple[Call, ...]
    said: str = field(repr=False)
    tokens: Sequence[int] = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.tokens) + _TURN_OVERHEAD * len(self.calls)


class Transcripts:
    """The turns that were used last, under the ids of their calls, up to a number of tokens. Safe for threads."""

    def __init__(self, most_tokens: int = MOST_TOKENS) -> None:
        self._most = most_tokens
        self._size = 0
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._keys: dict[str, str] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._turns)

    def remember(self, turn: Turn) -> None:
        """Keep the turn, whose ids are new, and forget those that were used the longest ago, as far as need be."""
        if turn.size > self._most:
            return
        with self._lock:
            key = turn.calls[0].call_id
            self._turns[key] = turn
            self._keys |= {made.call_id: key for made in turn.calls}
            self._size += turn.size
            while self._size > self._most:
                self._forget_oldest()

    def find(self, call_id: str) -> Turn | None:
        """The turn that made this call."""
        with self._lock:
            key = self._keys.get(call_id)
            if key is None:
                return None
            self._turns.move_to_end(key)
            return self._turns[key]

    def _forget_oldest(self) -> None:
        _, oldest = self._turns.popitem(last=False)
        self._size -= oldest.size
        for made in oldest.calls:
            del self._keys[made.call_id]


class TurnRecorder:
    """Takes down one turn as it is generated: its tokens, and the events that they became. Seals its reasoning."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._tokens = array("I")
        self._messages: list[int] = []
        self._before_call: list[int] = []
        self._calls: list[Call] = []
        self._said: list[str] = []
        self._start: BlockStart | None = None
        self._text: list[str] = []

    def take(self, token: int) -> None:
        """A token that the engine generated. It comes before the events that it led to."""
        self._tokens.append(token)

    def read(self, event: Event) -> Event:
        """The same event; if it ends a reasoning block, with the block's seal."""
        match event:
            case BlockStart():
                self._start, self._text = event, []
            case BlockDelta(text=text):
                self._text.append(text)
            case BlockStop() if self._start is not None:
                return self._close(self._start, event)
        return event

    def turn(self, repairs: Collection[Repair]) -> Turn | None:
        """The whole turn, or None if it made no call.

        As it was generated, if it was generated as it should be; otherwise its messages as they were understood, each
        written as the model was trained to write it.
        """
        if not self._calls:
            return None
        is_sound = self._tokens[-1] == CALL and {repair.kind for repair in repairs} <= _HARMLESS
        tokens = [*assistant_start(), *self._tokens] if is_sound else self._messages
        return Turn(tuple(self._calls), "".join(self._said), array("I", tokens))

    def _close(self, start: BlockStart, stop: BlockStop) -> BlockStop:
        text = "".join(self._text)
        match start.kind:
            case "reasoning":
                body = self._thought(stop.tokens)
                if body is None:
                    return stop
                self._before_call += thought(body)
                return BlockStop(stop.index, stop.tokens, stop.complete, self._sealer.seal(body))
            case "text":
                self._before_call += preamble(text)
                self._said.append(text)
            case "tool_call" if stop.complete:
                self._messages += [*self._before_call, *call(start.tool_name, text)]
                self._before_call = []
                self._calls.append(Call(start.call_id, start.tool_name, text))
        return stop

    def _thought(self, size: int) -> Sequence[int] | None:
        """The body of the message of `size` tokens that has just ended, or None if it did not begin as one.

        The last token is the message's own end or, if it was not closed, the beginning of the next one.
        """
        message = self._tokens[len(self._tokens) - size :]
        if MESSAGE not in message:
            return None
        return [token for token in message[message.index(MESSAGE) + 1 :] if not is_special(token)]
