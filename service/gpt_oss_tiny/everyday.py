"""Everyday requests with tools, written by hand without sight of the corpus, which may not say any of them.

`everyday.json` has the tools' definitions, as clients send them, and for each request which tools are declared, the
call that is right, and what is to be said of the tool's result. Where several values are right, they are listed. Knows
no model.
"""

from __future__ import annotations

import json
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
from llm_server.harmony.recorded import parse_tokens
from llm_server.harmony.render import render

FILE: Final = Path(__file__).with_name("everyday.json")
TODAY: Final = date(2026, 11, 30)


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
        """Whether what a client would be told is right. A preamble before the call may say anything."""
        names = [tool.name for tool in self.request.conversation.tools]
        blocks = parse_tokens(emitted, names).blocks
        if not blocks:
            return False
        last = blocks[-1]
        if self.call is None:
            return last.kind == "text" and not last.preamble and all(text in last.text for text in self.says)
        return last.complete and last.tool_name == self.call["name"] and _same(last.text, self.call["arguments"])


def _same(said: str, right: Mapping[str, Any]) -> bool:
    try:
        arguments = json.loads(said)
    except ValueError:
        return False
    return arguments.keys() == right.keys() and all(
        value in right[name] if isinstance(right[name], list) else value == right[name]
        for name, value in arguments.items()
    )


def _known() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


@cache
def asked_everyday() -> frozenset[str]:
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
            called = ToolCall("1", call["name"], json.dumps(first_of_each(call["arguments"])))
            yield _case("tool result", tools, asked, called, ToolResult("1", call["name"], one["result"]), says=says)


def first_of_each(right: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are right, where `right` may list several values of one."""
    return {name: value[0] if isinstance(value, list) else value for name, value in right.items()}


def _case(
    skill: str,
    tools: tuple[Tool, ...],
    *items: Item,
    call: Mapping[str, Any] | None = None,
    says: tuple[str, ...] = (),
) -> Everyday:
    conversation = Conversation(items, tools, "medium", TODAY)
    return Everyday(skill, GenerationRequest(conversation), list(render(conversation).tokens), call, says)
