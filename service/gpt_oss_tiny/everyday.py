"""Requests with tools as people write them, by hand: no generator of the corpus made them, and none may learn them.

`everyday.json` has the tools' definitions, as clients send them, and for each request which tools are declared, the
call that is right, and what is to be said of the tool's result. Where several values are right, they are listed. Knows
no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

from llm_server.conversation import (
    Conversation,
    GenerationRequest,
    Item,
    Tool,
    ToolCall,
    ToolResult,
    UserText,
)
from llm_server.harmony.encoding import harmony_encoding
from llm_server.harmony.render import render

FILE: Final = Path(__file__).with_name("everyday.json")
TODAY: Final = date(2026, 11, 30)
CALLED: Final = re.compile(r"to=functions\.(\S+) .*<\|message\|>(\{.*\})<\|call\|>$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Everyday:
    """A request, its prompt, and what is right: a call, or a final text in which all of `says` occur."""

    skill: str
    request: GenerationRequest
    prompt: list[int]
    call: Mapping[str, Any] | None = None
    says: tuple[str, ...] = ()
    longest: int = 200

    def passed(self, emitted: Sequence[int]) -> bool:
        said = harmony_encoding().decode(list(emitted)).split("<|end|><|start|>assistant")[-1]
        if self.call is None:
            return "<|channel|>final<|message|>" in said and all(text in said for text in self.says)
        called = CALLED.search(said)
        return called is not None and called[1] == self.call["name"] and _same(called[2], self.call["arguments"])


def _same(said: str, right: Mapping[str, Any]) -> bool:
    try:
        arguments = json.loads(said)
    except ValueError:
        return False
    return arguments.keys() == right.keys() and all(
        value in right[name] if isinstance(right[name], list) else value == right[name]
        for name, value in arguments.items()
    )


@cache
def _known() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


def asked_by_people() -> frozenset[str]:
    """What the users say, which no scene of the corpus may say."""
    return frozenset(one["user"] for one in _known()["requests"] if "call" in one)


def everyday() -> Iterator[Everyday]:
    """Every request, and then what is to be said of the result of its call."""
    known = _known()
    for one in known["requests"]:
        tools = tuple(Tool(name, **known["tools"][name]) for name in one["tools"])
        asked, call, says = UserText(one["user"]), one.get("call"), tuple(one.get("says", ()))
        if call is None:
            yield _case("no tool needed", tools, asked, says=says)
            continue
        yield _case("tool call", tools, asked, call=call)
        if says:
            given = {name: v[0] if isinstance(v, list) else v for name, v in call["arguments"].items()}
            called = ToolCall("1", call["name"], json.dumps(given))
            yield _case("tool result", tools, asked, called, ToolResult("1", call["name"], one["result"]), says=says)


def _case(
    skill: str,
    tools: tuple[Tool, ...],
    *items: Item,
    call: Mapping[str, Any] | None = None,
    says: tuple[str, ...] = (),
) -> Everyday:
    conversation = Conversation(items, tools, "medium", TODAY)
    return Everyday(skill, GenerationRequest(conversation), list(render(conversation).tokens), call, says)
