"""Tool calls: what becomes of a body that a header sent to a tool.

A declared tool's arguments are passed on as they come. Of any other call nothing is passed on but its name, to the
ledger.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from llm_server.events import BlockDelta, BlockStop, Event, TokenLogprob
from llm_server.harmony.arguments import ArgumentReader, Ending
from llm_server.harmony.bodies import LONGEST_HELD, Body, Ledger, Outcome
from llm_server.harmony.names import is_wrapper


class Call(Body):
    """A call of a declared tool. Its arguments are passed on as they come.

    With `otherwise`, only a JSON object is a call, and other text goes to that body: thoughts may name a tool.
    """

    def __init__(self, ledger: Ledger, tool: str, *, otherwise: Body | None = None) -> None:
        super().__init__(ledger)
        self._tool = tool
        self._reader = ArgumentReader(tool)
        self._otherwise = otherwise
        self._undecided: list[tuple[str, TokenLogprob | None]] | None = [] if otherwise else None
        self._index = -1

    @property
    def looks_cut(self) -> bool:
        return self._otherwise.looks_cut if self._otherwise else self._reader.looks_cut

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        if self._undecided is not None:
            return self._decide(self._undecided, text, logprob)
        if self._otherwise is not None:
            return self._otherwise.take(text, logprob)
        return self._pass(self._reader.take(text))

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        events = self._give_up(self._undecided) if self._undecided is not None and ending is not Ending.CALL else []
        if self._otherwise is not None and self._undecided is None:
            events += self._otherwise.close(ending, tokens)
            self.outcome = self._otherwise.outcome
            return events
        rest, whole = self._reader.close(ending)
        for kind in sorted(self._reader.repairs):
            self._ledger.repair(kind)
        events += self._pass(rest)
        if self._index >= 0:
            events.append(BlockStop(self._index, tokens, whole))
        self.outcome = Outcome.CALL if whole else Outcome.CUT_CALL
        return events

    def _decide(
        self, undecided: list[tuple[str, TokenLogprob | None]], text: str, logprob: TokenLogprob | None
    ) -> list[Event]:
        undecided.append((text, logprob))
        passed = self._reader.take(text)
        match self._reader.begins_json:
            case True:
                self._undecided = self._otherwise = None
                return self._pass(passed)
            case False:
                return self._give_up(undecided)
            case None:
                return []

    def _give_up(self, undecided: list[tuple[str, TokenLogprob | None]]) -> list[Event]:
        self._undecided = None
        if self._otherwise is None:
            return []
        events = self._otherwise.open()
        for text, logprob in undecided:
            events += self._otherwise.take(text, logprob)
        return events

    def _pass(self, text: str) -> list[Event]:
        if not text:
            return []
        if self._index >= 0:
            return [BlockDelta(self._index, text)]
        start = self._ledger.start("tool_call", tool=self._tool)
        self._index = start.index
        return [start, BlockDelta(self._index, text)]


class UndeclaredCall(Body):
    """A call of a tool that was not declared: neither run nor shown, but noted.

    Unless its body says which declared tool is meant: `{"name": "read", "arguments": {…}}`. In that order the arguments
    are passed on as they come; in any other, once the body is whole.
    """

    def __init__(self, ledger: Ledger, name: str) -> None:
        super().__init__(ledger)
        self._name = name
        self._is_wrapper = is_wrapper(name)
        self._reader = ArgumentReader()
        self._text: str | None = ""
        self._call: Call | None = None

    @property
    def looks_cut(self) -> bool:
        return self._call.looks_cut if self._call else self._reader.looks_cut

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        if self._call is not None:
            return self._call.take(text, logprob)
        self._reader.take(text)
        if self._text is None:
            return []
        self._text += text
        if match := _NAMED_CALL.match(self._text, 0, _LONGEST_BEGINNING):
            if tool := self._ledger.names.resolve(match[1]):
                return self._begin(tool, self._text[match.end() :])
            self._name = match[1]
        if len(self._text) > (LONGEST_HELD if self._is_wrapper else _LONGEST_BEGINNING):
            self._text = None
        return []

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        if self._call is not None:
            events = self._call.close(ending, tokens)
            self.outcome = self._call.outcome
            return events
        if ending.leaves_a_rest:
            self.outcome = Outcome.CUT_CALL if self._is_wrapper else Outcome.HIDDEN
        return self._call_whole(ending, tokens) if not ending.leaves_a_rest else self._refuse(ending)

    def _begin(self, tool: str, arguments: str) -> list[Event]:
        self._ledger.repair("wrapped_call")
        self._call = Call(self._ledger, tool)
        return self._call.take(arguments, None)

    def _call_whole(self, ending: Ending, tokens: int) -> list[Event]:
        events: list[Event] = []
        for name, arguments in _named_calls(_parsed(self._text or ""), bare=self._is_wrapper):
            if tool := self._ledger.names.resolve(name):
                events += self._begin(tool, arguments)
                events += self._call.close(ending, tokens) if self._call else []
                tokens, self.outcome = 0, Outcome.CALL
            else:
                self._name = name
        return events or self._refuse(ending)

    def _refuse(self, ending: Ending) -> list[Event]:
        self._ledger.repair("undeclared_tool" if self._name else "missing_recipient")
        if ending is not Ending.CUT:
            self._ledger.refuse(self._name)
        return []


_NAMED_CALL = re.compile(
    r'\s*\{\s*"(?:name|tool|tool_name|function|function_name|recipient|recipient_name)"\s*:\s*"([^"\\]+)"\s*,'
    r'\s*"(?:arguments|args|parameters|params|input|tool_input)"\s*:\s*(?=\{)'
)
_LONGEST_BEGINNING: Final = 512
"""Where the name of a wrapped call is looked for."""


def _parsed(text: str) -> Any:
    """The JSON value, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _named_calls(value: Any, *, bare: bool) -> Iterator[tuple[str, str]]:
    """The calls (name, arguments as JSON text) that a body holds; `bare`: a name without arguments is one, too."""
    match value:
        case {"tool_uses": [*uses]}:
            for use in uses:
                yield from _named_calls(use, bare=bare)
        case {"function": {"name": str(name)} as function}:
            yield name, _arguments_in(function) or "{}"
        case (
            {"name": str(name)}
            | {"tool": str(name)}
            | {"tool_name": str(name)}
            | {"recipient_name": str(name)}
            | {"function": str(name)}
        ):
            arguments = _arguments_in(value)
            if arguments is not None or bare:
                yield name, arguments or "{}"


def _arguments_in(value: dict[str, Any]) -> str | None:
    for key in ("arguments", "args", "parameters", "params", "input", "tool_input"):
        match value.get(key):
            case str(text):
                return text
            case dict(arguments):
                return json.dumps(arguments, ensure_ascii=False)
    return None
