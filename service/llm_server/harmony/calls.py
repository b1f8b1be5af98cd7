"""Tool calls: what becomes of a body that a header sent to a tool.

A declared tool's arguments are passed on as they come. Of any other call nothing is passed on but its name, to the
ledger.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from llm_server.events import BlockDelta, BlockStop, Event, TokenLogprob
from llm_server.harmony.arguments import ArgumentReader, Ending
from llm_server.harmony.bodies import LONGEST_HELD, Body, Ledger, Outcome, Reasoning


class Call(Body):
    """A call of a declared tool. Its arguments are passed on as they come.

    In the analysis channel (`thinking`), without a content type, only JSON is a call: anything else is a thought that
    names a tool.
    """

    def __init__(self, ledger: Ledger, tool: str, *, thinking: bool = False) -> None:
        super().__init__(ledger)
        self._tool = tool
        self._reader = ArgumentReader(tool)
        self._thinking = thinking
        self._thought: Reasoning | None = None
        self._index = -1

    @property
    def looks_cut(self) -> bool:
        return self._thought is not None or self._reader.looks_cut

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:  # noqa: ARG002
        if self._thought is not None:
            return []
        passed = self._reader.take(text)
        if self._thinking:
            return self._decide(passed)
        return self._pass(passed) if passed else []

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        if self._thinking and ending is not Ending.CALL:
            self._thought = Reasoning(self._ledger)
            return [*self._thought.open(), *self._thought.close(ending, tokens)]
        if self._thought is not None:
            return self._thought.close(ending, tokens)
        rest, whole = self._reader.close(ending)
        for kind in sorted(self._reader.repairs):
            self._ledger.repair(kind)
        events = self._pass(rest) if rest else []
        if self._index >= 0:
            events.append(BlockStop(self._index, tokens, whole))
        self.outcome = Outcome.CALL if whole else Outcome.CUT_CALL
        return events

    def _decide(self, passed: str) -> list[Event]:
        begins_json = self._reader.begins_json
        if begins_json is None:
            return []
        self._thinking = False
        if begins_json:
            return self._pass(passed) if passed else []
        self._thought = Reasoning(self._ledger)
        return self._thought.open()

    def _pass(self, text: str) -> list[Event]:
        if self._index >= 0:
            return [BlockDelta(self._index, text)]
        start = self._ledger.start("tool_call", tool=self._tool)
        self._index = start.index
        return [start, BlockDelta(self._index, text)]


class Undeclared(Body):
    """A call of a tool that was not declared: neither run nor shown, but noted."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        super().__init__(ledger)
        self._name = name
        self._reader = ArgumentReader()

    @property
    def looks_cut(self) -> bool:
        return self._reader.looks_cut

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:  # noqa: ARG002
        self._reader.take(text)
        return []

    def close(self, ending: Ending, tokens: int) -> list[Event]:  # noqa: ARG002
        if ending is not Ending.CUT:
            self._ledger.refuse(self._name)
        return []


class WrappedCall(Body):
    """A call whose body names the tool: `{"name": "read", "arguments": {…}}`.

    In that order the arguments are passed on as they come; in any other, once the body is whole.
    """

    _NAMED = re.compile(
        r'\s*\{\s*"(?:name|tool|tool_name|function|function_name|recipient|recipient_name)"\s*:\s*"([^"\\]+)"\s*,'
        r'\s*"(?:arguments|args|parameters|params|input|tool_input)"\s*:\s*(?=\{)'
    )
    _LONGEST_BEGINNING = 512

    def __init__(self, ledger: Ledger, name: str) -> None:
        super().__init__(ledger)
        self._name = name
        self._text = ""
        self._call: Body | None = None

    @property
    def looks_cut(self) -> bool:
        return self._call.looks_cut if self._call else _parsed(self._text) is None

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        if self._call is not None:
            return self._call.take(text, logprob)
        self._text += text
        if len(self._text) > LONGEST_HELD:
            self._call = Undeclared(self._ledger, self._name)
        elif match := self._NAMED.match(self._text, 0, self._LONGEST_BEGINNING):
            self._call = self._called(match[1])
            return self._call.take(self._text[match.end() :], logprob)
        return []

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        if self._call is not None:
            events = self._call.close(ending, tokens)
            self.outcome = self._call.outcome
            return events
        if ending.leaves_a_rest:
            self.outcome = Outcome.CUT_CALL
            return []
        return self._close_whole(ending, tokens)

    def _close_whole(self, ending: Ending, tokens: int) -> list[Event]:
        events: list[Event] = []
        calls = list(_named_calls(_parsed(self._text)))
        for name, arguments in calls or [(self._name, "")]:
            call = self._called(name) if calls else Undeclared(self._ledger, name)
            events += [*call.take(arguments, None), *call.close(ending, tokens)]
            tokens = 0
            if call.outcome is not Outcome.HIDDEN:
                self.outcome = call.outcome
        return events

    def _called(self, name: str) -> Body:
        tool = self._ledger.names.resolve(name)
        self._ledger.repair("wrapped_call" if tool else "undeclared_tool")
        return Call(self._ledger, tool) if tool else Undeclared(self._ledger, name)


def _parsed(text: str) -> Any:
    """The JSON value, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _named_calls(value: Any) -> Iterator[tuple[str, str]]:
    """The calls (name, arguments as JSON text) that a wrapper's body holds."""
    match value:
        case {"tool_uses": [*uses]}:
            for use in uses:
                yield from _named_calls(use)
        case {"name": str(name)} | {"tool": str(name)} | {"tool_name": str(name)} | {"recipient_name": str(name)}:
            yield name, _arguments_in(value)
        case {"function": str(name)} | {"function": {"name": str(name)}}:
            yield name, _arguments_in(value["function"] if isinstance(value["function"], dict) else value)


def _arguments_in(value: dict[str, Any]) -> str:
    for key in ("arguments", "args", "parameters", "params", "input", "tool_input"):
        match value.get(key):
            case str(text):
                return text
            case dict(arguments):
                return json.dumps(arguments, ensure_ascii=False)
    return "{}"
