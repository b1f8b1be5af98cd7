"""Which body a heading announces."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from llm_server.harmony.bodies import (
    Answer,
    Body,
    Broken,
    Garbled,
    Hidden,
    Ledger,
    Outcome,
    Preamble,
    Reasoning,
    Unlabelled,
)
from llm_server.harmony.calls import Call, DoubtfulCall, UndeclaredCall
from llm_server.harmony.heading import Heading, Otherwise, Purpose

FINAL: Final = frozenset({Outcome.ANSWER, Outcome.CALL})
"""What a turn is about."""

_VISIBLE: Final = FINAL | {Outcome.PREAMBLE}

_UNWANTED: Final = FINAL | {Outcome.CUT_CALL}
"""After one of these, text of no channel is not wanted any more: it may be the rest of a call's arguments."""

_PLAIN: Final[Mapping[Purpose, type[Body]]] = {
    "reasoning": Reasoning,
    "answer": Answer,
    "preamble": Preamble,
    "foreign": Hidden,
    "prompt": Hidden,
    "broken": Broken,
}

_OTHER: Final[Mapping[Otherwise, type[Reasoning | Preamble]]] = {"reasoning": Reasoning, "preamble": Preamble}


def is_next_turn(heading: Heading, outcomes: Set[Outcome]) -> bool:
    """Whether, after messages with these outcomes, somebody else speaks: a conversation that the model makes up.

    Between a preamble and a call a tool's name may stand for the assistant's, but nobody's who writes prompts.
    """
    match heading.purpose:
        case "prompt":
            return bool(outcomes & _VISIBLE)
        case "foreign":
            return heading.channel is None and bool(outcomes & FINAL)
    return False


def body_of(heading: Heading, ledger: Ledger, outcomes: Set[Outcome]) -> Body:
    """The body for a message, after messages with these outcomes.

    After a call nothing is said any more, since its result is not known yet; further calls are possible.
    """
    match heading.purpose:
        case "answer" | "preamble" if Outcome.CALL in outcomes:
            ledger.repair("after_turn")
            return Hidden(ledger)
        case "unlabelled":
            return Unlabelled(ledger, wanted=not outcomes & _UNWANTED)
        case "garbled":
            return Garbled(ledger, wanted=not outcomes & _UNWANTED)
        case "call" | "undeclared_call":
            kind = Call if heading.purpose == "call" else UndeclaredCall
            call = kind(ledger, heading.tool)
            return call if heading.otherwise is None else DoubtfulCall(ledger, call, _OTHER[heading.otherwise](ledger))
        case plain:
            return _PLAIN[plain](ledger)
