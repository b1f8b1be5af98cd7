"""Tool calls: what becomes of a body that a header sent to a tool.

A declared tool's arguments are passed on as they come. Of any other call nothing is passed on but its name, to the
ledger.
"""

from __future__ import annotations

from typing import Final

from llm_server.events import BlockDelta, BlockStop, Event, TokenLogprob
from llm_server.harmony.arguments import ArgumentReader, Ending, PlainReader, begins_json_object
from llm_server.harmony.bodies import LONGEST_HELD, Body, Ledger, Outcome, Preamble, Reasoning
from llm_server.harmony.names import is_wrapper
from llm_server.harmony.wrapped_calls import NAMED_CALL, named_calls


class Call(Body):
    """A call of a declared tool. Its arguments are passed on as they come."""

    def __init__(self, ledger: Ledger, tool: str) -> None:
        super().__init__(ledger)
        self._tool = tool
        self._reader = PlainReader() if tool in ledger.freeform else ArgumentReader(tool)
        self._index = -1

    @property
    def looks_cut(self) -> bool:
        return self._reader.looks_cut

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:  # noqa: ARG002
        return self._pass(self._reader.take(text))

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        rest, whole = self._reader.close(ending)
        for kind in sorted(self._reader.repairs):
            self._ledger.repair(kind)
        events = self._pass(rest)
        if self._index < 0 and whole:
            events += self._begin()
        if self._index >= 0:
            events.append(BlockStop(self._index, tokens, whole))
        self.outcome = Outcome.CALL if whole else Outcome.CUT_CALL
        return events

    def _pass(self, text: str) -> list[Event]:
        if not text:
            return []
        begun = [] if self._index >= 0 else self._begin()
        return [*begun, BlockDelta(self._index, text)]

    def _begin(self) -> list[Event]:
        start = self._ledger.start("tool_call", tool=self._tool)
        self._index = start.index
        return [start]


class DoubtfulCall(Body):
    """A call if its body is a JSON object or if `<|call|>` ends it; otherwise a thought or a preamble: `other`.

    Thoughts may name a tool in their header, and so may a header that was given up. A preamble can not wait for its
    end, since it is shown as it comes.
    """

    def __init__(self, ledger: Ledger, call: Call | UndeclaredCall, other: Reasoning | Preamble) -> None:
        super().__init__(ledger)
        self._call = call
        self._other = other
        self._chosen: Body | None = None
        self._begun = ""
        self._held: list[tuple[str, TokenLogprob | None]] = []
        self._length = 0

    @property
    def looks_cut(self) -> bool:
        return (self._chosen or self._other).looks_cut

    def take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        if self._chosen is not None:
            return self._chosen.take(text, logprob)
        self._held.append((text, logprob))
        self._length += len(text)
        if len(self._begun) < _LONGEST_BEGINNING:
            self._begun = (self._begun + text).lstrip()
        begins_object = begins_json_object(self._begun)
        if begins_object:
            return self._choose(self._call)
        if (begins_object is None or self._other.silent) and self._length <= LONGEST_HELD:
            return []
        return self._choose(self._other)

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        events: list[Event] = []
        if self._chosen is None:
            events += self._choose(self._call if ending is Ending.CALL else self._other)
        body = self._chosen or self._other
        events += body.close(ending, tokens)
        self.outcome = body.outcome
        return events

    def _choose(self, body: Body) -> list[Event]:
        self._chosen = body
        held, self._held = self._held, []
        events = body.open()
        for text, logprob in held:
            events += body.take(text, logprob)
        return events


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
        match = NAMED_CALL.match(self._text, 0, _LONGEST_BEGINNING)
        tool = self._ledger.names.resolve(match[1]) if match else None
        if match and tool:
            return self._begin(tool, self._text[match.end() :])
        if len(self._text) > (LONGEST_HELD if self._is_wrapper else _LONGEST_BEGINNING):
            self._text = None
        return []

    def close(self, ending: Ending, tokens: int) -> list[Event]:
        if self._call is not None:
            events = self._call.close(ending, tokens)
            self.outcome = self._call.outcome
            return events
        if ending.leaves_a_rest:
            return self._refuse(ending)
        return self._call_whole(ending, tokens)

    def _begin(self, tool: str, arguments: str) -> list[Event]:
        self._ledger.repair("wrapped_call")
        self._call = Call(self._ledger, tool)
        return self._call.take(arguments, None)

    def _call_whole(self, ending: Ending, tokens: int) -> list[Event]:
        events: list[Event] = []
        for name, arguments in named_calls(self._text or "", bare=self._is_wrapper):
            if tool := self._ledger.names.resolve(name):
                events += self._begin(tool, arguments)
                if self._call is not None:
                    events += self._call.close(ending, tokens)
                    tokens, self.outcome = 0, self._call.outcome
            elif self._is_wrapper:
                self._name = name
        return events or self._refuse(ending)

    def _refuse(self, ending: Ending) -> list[Event]:
        self._ledger.repair("undeclared_tool" if self._name else "missing_recipient")
        if ending is not Ending.CUT:
            self._ledger.refuse(self._name)
        return []


_LONGEST_BEGINNING: Final = 512
"""Where the name of a wrapped call is looked for."""
