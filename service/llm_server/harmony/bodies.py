"""What becomes of a message's body: one class per kind of message, text in and events out. `calls.py` has the calls.

A body never knows how its message was written. Those that hide their text have nowhere to put it: the event of a
reasoning block carries a size and no text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from llm_server.events import BlockDelta, BlockKind, BlockStart, BlockStop, Event, TokenLogprob
from llm_server.harmony.arguments import Ending
from llm_server.harmony.broken_header import may_be_addressed
from llm_server.harmony.header import LONGEST_SECTION, is_addressed
from llm_server.harmony.names import ToolNames, sanitise
from llm_server.harmony.repairs import Repair, RepairKind
from llm_server.harmony.unfinished import begins_as_thought

LONGEST_HELD: Final = 32_768
"""Characters of a body that are held back at most, to see what they are."""

MOST_REPAIRS: Final = 1_000
"""A stream of nonsense can not fill the memory with notes about it."""


class Outcome(Enum):
    """What a closed message was to the user. PENDING: unlabelled text, shown only if nothing better comes."""

    HIDDEN = auto()
    ANSWER = auto()
    PREAMBLE = auto()
    CALL = auto()
    CUT_CALL = auto()
    PENDING = auto()


@dataclass(slots=True)
class Ledger:
    """What the messages of one turn share. `position` is the index of the token at hand.

    `freeform` are those of the tools whose input is no JSON.
    """

    names: ToolNames
    new_call_id: Callable[[], str]
    freeform: Collection[str] = ()
    position: int = -1
    blocks: int = 0
    repairs: list[Repair] = field(default_factory=list)
    undeclared: list[str] = field(default_factory=list)

    def start(self, kind: BlockKind, *, preamble: bool = False, tool: str = "") -> BlockStart:
        start = BlockStart(self.blocks, kind, preamble, self.new_call_id() if tool else "", tool)
        self.blocks += 1
        return start

    def repair(self, kind: RepairKind) -> None:
        if len(self.repairs) < MOST_REPAIRS:
            self.repairs.append(Repair(kind, self.position))

    def refuse(self, name: str) -> None:
        if len(self.undeclared) < MOST_REPAIRS:
            self.undeclared.append(sanitise(name))


class Body:
    """A body without events. `silent` ones do not even need their text."""

    silent = False
    outcome = Outcome.HIDDEN

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def looks_cut(self) -> bool:
        """Whether a stream that ends here, with no marker, was most likely cut off."""
        return False

    def open(self) -> list[Event]:
        return []

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:  # noqa: ARG002
        return []

    def close(self, ending: Ending, tokens: int) -> list[Event]:  # noqa: ARG002
        return []


class Hidden(Body):
    """Somebody else's message, or one that came after the turn was over."""

    silent = True


class Broken(Hidden):
    """A header that never came to a body, and what followed it."""

    @property
    def looks_cut(self) -> bool:
        return True


class Reasoning(Body):
    """The analysis channel: a size, and no text."""

    silent = True
    _index = -1

    @property
    def looks_cut(self) -> bool:
        return True

    def open(self) -> list[Event]:
        start = self._ledger.start("reasoning")
        self._index = start.index
        return [start]

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        return [BlockStop(self._index, tokens, ending is not Ending.CUT)]


class Answer(Body):
    """Text for the user, shown as it comes. The block starts with its first text, so that none is empty."""

    preamble = False

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._index = -1
        self._logprobs: list[TokenLogprob] = []

    @property
    def looks_cut(self) -> bool:
        """An answer that says nothing was not meant to."""
        return self._index < 0

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        if logprob is not None:
            self._logprobs.append(logprob)
        if not text:
            return []
        if self._index >= 0 and not self._logprobs:
            return [BlockDelta(self._index, text)]
        return self._show(text)

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        if self._index < 0:
            return []
        self.outcome = Outcome.PREAMBLE if self.preamble else Outcome.ANSWER
        return [BlockStop(self._index, tokens, ending is not Ending.CUT)]

    def _show(self, text: str) -> list[Event]:
        """Logprobs of tokens whose text was held back come with the text."""
        events: list[Event] = []
        if self._index < 0:
            start = self._ledger.start("text", preamble=self.preamble)
            self._index = start.index
            events.append(start)
        events.append(BlockDelta(self._index, text, tuple(self._logprobs)))
        self._logprobs.clear()
        return events


class Preamble(Answer):
    """Text before a call. JSON is held back, since it may be arguments that lack their recipient.

    So is what begins like the rest of a header.
    """

    preamble = True

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._held: str | None = ""

    @property
    def looks_cut(self) -> bool:
        return super().looks_cut and not self._held

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        if self._held is None:
            return super().take(text, logprob)
        self._held += text
        if not self._may_be_a_call(self._held):
            text, self._held = self._held, None
            return super().take(text, logprob)
        return super().take("", logprob)

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        held, self._held = self._held, None
        if not held or held.isspace():
            return super().close(ending, tokens)
        if ending is Ending.CALL and (held.lstrip().startswith("{") or is_addressed(held)):
            self._ledger.repair("missing_recipient")
            self._ledger.refuse("")
            return []
        return [*super().take(held, None), *super().close(ending, tokens)]

    @staticmethod
    def _may_be_a_call(text: str) -> bool:
        if text.lstrip()[:1] in ("", "{"):
            return len(text) <= LONGEST_HELD
        return len(text) <= LONGEST_SECTION and may_be_addressed(text)


class Unlabelled(Answer):
    """Text of no channel. It is the answer if the turn ends with it, and a thought if anything follows."""

    def __init__(self, ledger: Ledger, *, wanted: bool) -> None:
        super().__init__(ledger)
        self._held: list[tuple[str, TokenLogprob | None]] | None = []
        self._length = 0
        self.tokens = 0
        self._wanted = wanted

    @property
    def looks_cut(self) -> bool:
        return False

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        if self._held is None:
            return super().take(text, logprob)
        self._held.append((text, logprob))
        self._length += len(text)
        if self._length <= LONGEST_HELD and len(self._held) <= LONGEST_HELD:
            return []
        self._wanted = self._wanted and not begins_as_thought(self._text)
        return self._let_go() if self._wanted else self._forget()

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        self.tokens = tokens
        if self._held is None:
            return super().close(ending, tokens)
        if ending is Ending.END:
            self.outcome = Outcome.PENDING
            return []
        lost_call = ending is Ending.CALL and self._text.lstrip().startswith("{")
        if lost_call:
            self._ledger.repair("missing_recipient")
            self._ledger.refuse("")
        if ending is Ending.INTERRUPTED or lost_call or not self._wanted:
            return self._forget()
        return self.release(ending)

    def release(self, ending: Ending) -> list[Event]:
        """Show what was held back: the turn has ended and there is no better answer."""
        if begins_as_thought(self._text):
            return self._forget()
        return [*self._let_go(), *super().close(ending, self.tokens)]

    @property
    def _text(self) -> str:
        return "".join(text for text, _ in self._held or ())

    def _let_go(self) -> list[Event]:
        text = self._text
        self._logprobs += [logprob for _, logprob in self._held or () if logprob is not None]
        self._held = None
        return self._show(text) if text.strip() else []

    def _forget(self) -> list[Event]:
        self._held = []
        return []


class Garbled(Unlabelled):
    """What followed `<|channel|>` and was neither header nor body. It is shown only if the turn ends right with it."""

    @property
    def looks_cut(self) -> bool:
        return True

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        return super().close(ending if ending is Ending.RETURN else Ending.INTERRUPTED, tokens)
