"""The arguments of one tool call: body text in, argument text out, as it comes.

JSON is followed bracket by bracket, so that what the model writes around it is left out without holding back any of
it. Text that is no JSON object passes as it is, and so does all of a freeform tool's. Knows no tokens and no events.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from typing import Final

from llm_server.harmony.repairs import RepairKind
from llm_server.harmony.wrapped_calls import arguments_in, is_whole, remark_then_object, wrappings

LONGEST_LEAD: Final = 200
"""What is held back at the start, to see what it is: at most this many characters."""

_STRUCTURE = re.compile(r'["{}\[\]]')
_STRING = re.compile(r'["\\]')
_OBJECT_BEGINS = re.compile(r'\{\s{0,50}["}]')
_OBJECT_MAY_BEGIN = re.compile(r"\{\s{0,50}")
_OBJECT_IN_STRING = re.compile(r'"\s*\{')
_SPACE = re.compile(r"\s+")
_BLANK = " \t\r\n\f\v\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NO-BREAK SPACE}"
"""What may stand before an object and is no part of it, the byte order mark included."""
_UNFINISHED_LEAD = re.compile(r"\s*$|\{|```(?!.*```)|\[(?!.*\]\s*$)|.*[\[({:`]\s*$", re.DOTALL)
"""What goes on: nothing yet, an object, a fence or a list that was not closed, or what announces something."""

_NOTHING = frozenset({"null", "None", "undefined", '""', "''", "[]", "()"})
"""What is written for arguments that are none."""

_CLOSING = {"{": "}", "[": "]"}


class Ending(Enum):
    """How a message ended. INTERRUPTED: another one began. STOPPED: no marker was seen. CUT: the token limit."""

    END = auto()
    CALL = auto()
    RETURN = auto()
    INTERRUPTED = auto()
    STOPPED = auto()
    CUT = auto()

    @property
    def is_deliberate(self) -> bool:
        """The model itself said that the message was over."""
        return self in (Ending.END, Ending.CALL, Ending.RETURN)

    @property
    def leaves_a_rest(self) -> bool:
        """The model had more to say."""
        return self in (Ending.INTERRUPTED, Ending.CUT)


class JsonScanner:
    """Finds the end of one JSON object in text that comes in pieces. A bracket that closes nothing ends nothing."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._in_string = False
        self._escaped = False

    @property
    def missing(self) -> str | None:
        """The brackets that would close what is open, or None within a string."""
        return None if self._in_string else "".join(_CLOSING[bracket] for bracket in reversed(self._open))

    def end(self, text: str) -> int | None:
        """The index after the object's last bracket, or None while it goes on."""
        position = 0
        while position < len(text):
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            match = (_STRING if self._in_string else _STRUCTURE).search(text, position)
            if match is None:
                return None
            position = match.end()
            if self._step(match[0]):
                return position
        return None

    def _step(self, character: str) -> bool:
        match character:
            case '"':
                self._in_string = not self._in_string
            case "\\":
                self._escaped = True
            case "{" | "[":
                self._open.append(character)
            case _ if character == _CLOSING[self._open[-1]]:
                self._open.pop()
                return not self._open
        return False


class _State(Enum):
    LEAD = auto()
    WRAPPED = auto()
    JSON = auto()
    TEXT = auto()
    OVER = auto()


class ArgumentReader:
    """`take` returns what of the arguments may be passed on; `close` the rest, and whether they are whole.

    `tool` is the called tool's name: `{"name": tool, "arguments": {…}}` in place of the arguments is unwrapped. Where
    an object is a string, all of it is held back.
    `repairs` lists what was put right, at most one of a kind.
    """

    def __init__(self, tool: str = "") -> None:
        self.repairs: set[RepairKind] = set()
        self._state = _State.LEAD
        self._lead = ""
        self._held_space: list[str] = []
        self._scanner = JsonScanner()
        self._parts: list[str] = []
        self._wrapped: list[str] = []
        self._wrappings = wrappings(tool) if tool else ()
        self._remark_then_object = remark_then_object(tool)

    @property
    def looks_cut(self) -> bool:
        """Whether the text so far is most likely not all that the model had to say."""
        if self._state is _State.LEAD:
            return _UNFINISHED_LEAD.match(self._lead) is not None
        if self._state is _State.WRAPPED:
            return not is_whole("".join(self._wrapped))
        if self._state is not _State.JSON:
            return False
        return not "".join(self._parts).rstrip().endswith(("}", "]")) or self._closing() is None

    def take(self, text: str) -> str:
        match self._state:
            case _State.JSON:
                return self._take_json(text)
            case _State.LEAD:
                return self._take_lead(text)
            case _State.TEXT:
                return self._take_text(text)
            case _State.WRAPPED:
                self._wrapped.append(text)
                return ""
            case _State.OVER:
                self._take_rest(text)
                return ""

    def close(self, ending: Ending) -> tuple[str, bool]:
        """What is left to pass on, and whether the arguments are whole."""
        if self._state is _State.WRAPPED:
            return self._close_wrapped(ending)
        lead, passed = self._lead, ""
        if _OBJECT_BEGINS.match(lead) or _OBJECT_MAY_BEGIN.fullmatch(lead):
            passed = self._begin_json(lead)
        match self._state:
            case _State.LEAD if not lead or lead.rstrip() in _NOTHING:
                return self._close_empty(ending)
            case _State.LEAD:
                self.repairs.add("arguments_not_json")
                return lead.rstrip(), not ending.leaves_a_rest
            case _State.TEXT:
                return "", not ending.leaves_a_rest
            case _State.OVER:
                return passed, True
            case _:
                rest, whole = self._close_json(ending)
                return passed + rest, whole

    def _close_wrapped(self, ending: Ending) -> tuple[str, bool]:
        text = "".join(self._wrapped)
        arguments = None if ending.leaves_a_rest else arguments_in(text)
        if arguments is None:
            self._state, self._lead = _State.LEAD, text
            return self.close(ending)
        self.repairs.add("text_around_arguments" if _OBJECT_IN_STRING.match(text) else "wrapped_call")
        return arguments, True

    def _close_empty(self, ending: Ending) -> tuple[str, bool]:
        if ending.leaves_a_rest:
            return "", False
        self.repairs.add("empty_arguments")
        return "{}", True

    def _close_json(self, ending: Ending) -> tuple[str, bool]:
        missing = self._closing() if ending.is_deliberate else None
        self.repairs.add("incomplete_arguments" if missing is None else "closed_json")
        return missing or "", missing is not None

    def _closing(self) -> str | None:
        """The brackets that make the text valid JSON, if nothing else is missing."""
        missing = self._scanner.missing
        if missing is None or len(missing) > 64:
            return None
        try:
            json.loads("".join(self._parts) + missing)
        except (ValueError, RecursionError):
            return None
        return missing

    def _take_lead(self, text: str) -> str:
        self._lead = (self._lead + text).lstrip(_BLANK)
        lead = self._lead
        if not lead:
            return ""
        if _OBJECT_IN_STRING.match(lead):
            return self._hold(lead)
        match = self._remark_then_object.match(lead, 0, LONGEST_LEAD + 1)
        rest = lead[match.end() :] if match else ""
        if _OBJECT_BEGINS.match(rest):
            if rest != lead:
                self.repairs.add("text_around_arguments")
            return self._take_object(rest)
        if _OBJECT_MAY_BEGIN.fullmatch(rest) or _may_be_remark(lead):
            return ""
        self._state, self._lead = _State.TEXT, ""
        self.repairs.add("arguments_not_json")
        return self._take_text(lead)

    def _take_object(self, text: str) -> str:
        self._lead = text
        compact = _SPACE.sub("", text[:LONGEST_LEAD])
        if len(text) <= LONGEST_LEAD and any(wrapping.startswith(compact) for wrapping in self._wrappings):
            return ""
        wrapping = next((wrapping for wrapping in self._wrappings if compact.startswith(wrapping)), "")
        if wrapping.endswith("{"):
            self.repairs.add("wrapped_call")
            return self._begin_json("{" + text.split("{", wrapping.count("{"))[-1])
        return self._hold(text) if wrapping else self._begin_json(text)

    def _hold(self, text: str) -> str:
        self._state, self._lead, self._wrapped = _State.WRAPPED, "", [text]
        return ""

    def _begin_json(self, text: str) -> str:
        self._state = _State.JSON
        self._lead = ""
        return self._take_json(text)

    def _take_json(self, text: str) -> str:
        end = self._scanner.end(text)
        if end is None:
            self._parts.append(text)
            return text
        self._state = _State.OVER
        self._parts.clear()
        self._take_rest(text[end:])
        return text[:end]

    def _take_text(self, text: str) -> str:
        """White space is held back until something follows it."""
        passed = text.rstrip()
        if not passed:
            self._held_space.append(text)
            return ""
        shown = "".join((*self._held_space, passed))
        self._held_space = [text[len(passed) :]]
        return shown

    def _take_rest(self, text: str) -> None:
        if "wrapped_call" not in self.repairs and not text.isspace() and text:
            self.repairs.add("text_around_arguments")


def _may_be_remark(lead: str) -> bool:
    """Whether text without a JSON object may still turn out to be a remark before one."""
    if "{" in lead or len(lead) > LONGEST_LEAD:
        return False
    lines = [line.lstrip() for line in lead.split("\n") if not line.isspace() and line]
    return len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("`"))


class PlainReader:
    """The input of a freeform tool, which is passed on as it comes: every character of it may matter."""

    looks_cut = True

    def __init__(self) -> None:
        self.repairs: set[RepairKind] = set()

    def take(self, text: str) -> str:
        return text

    def close(self, ending: Ending) -> tuple[str, bool]:
        return "", not ending.leaves_a_rest


def begins_json_object(text: str) -> bool | None:
    """Whether the text, white space at its start aside, begins as a JSON object; None if it is too short to say."""
    text = text.lstrip()
    if _OBJECT_BEGINS.match(text):
        return True
    return None if not text or _OBJECT_MAY_BEGIN.fullmatch(text) else False
