"""Generated tokens in, events out: the Harmony parser. Tolerant and incremental, it never raises.

A state machine without input or output of its own: no await, no clock, no logger. It starts right after the prompt's
`<|start|>assistant`. What the model writes wrongly is put right where it is clear what was meant (`repairs` says what)
and left out where it is not; HARMONY_FORMAT.md has the rules. Analysis has no way out: while it is read, the text of
its tokens is not even looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from llm_server.events import BlockStart, BlockStop, Event, FinishReason, TokenLogprob
from llm_server.harmony.arguments import Ending
from llm_server.harmony.bodies import Body, Ledger, Outcome, Unlabelled
from llm_server.harmony.broken_header import GOING_ON, Continuation, holds_another, read_rejoined, rejoined
from llm_server.harmony.dispatch import FINAL, body_of, is_next_turn
from llm_server.harmony.encoding import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    END_OF_TEXT,
    FIRST_SPECIAL,
    MESSAGE,
    RETURN,
    START,
)
from llm_server.harmony.header import LONGEST_SECTION, Header, is_clean
from llm_server.harmony.heading import Heading, read_header
from llm_server.harmony.names import ToolNames
from llm_server.harmony.repairs import Repair
from llm_server.harmony.tally import Tally
from llm_server.harmony.text_markers import JOINTS, SPELLED, SPELLED_MARKERS, TextMarkers, spelled_at_end
from llm_server.harmony.token_text import TokenText
from llm_server.harmony.unfinished import read_implied, read_unfinished

_ENDINGS = {END: Ending.END, CALL: Ending.CALL, RETURN: Ending.RETURN, END_OF_TEXT: Ending.RETURN}
_MARKERS = frozenset({*_ENDINGS, START, CHANNEL, CONSTRAIN, MESSAGE})
_DECIDING = re.compile(r"[{>]")
"""Where a header may have come to its end without a marker: before JSON, or after a marker in characters."""

Sink: TypeAlias = Callable[[str, TokenLogprob | None], list[Event]]


class HarmonyParser:
    """Reads one turn. `tools` are the names that may be called, `freeform` those of them whose input is no JSON;
    `new_call_id` names each call.

    `finish_reason` holds after `finish()`. `ended`: what ends the turn was seen. `channel_tokens`: tokens per
    channel, headers included, "unknown" for those that belong to none. `reasoning_tokens`: those of messages that the
    user does not see. `undeclared_calls`: names, fit for a prompt, of calls that were neither run nor shown; "" for a
    call that named no tool.

    At any time a header is being read (`_header`), or a body (`_body`), or neither, when the turn is over.
    `_broken_off` is a header that a marker between messages came in, `_behind` one that may go on in its body.
    """

    def __init__(
        self, tools: Collection[str] = (), *, new_call_id: Callable[[], str], freeform: Collection[str] = ()
    ) -> None:
        self.finish_reason: FinishReason = "stop"
        self.ended = False
        self._ledger = Ledger(ToolNames(tools), new_call_id, frozenset(freeform))
        self._text = TokenText()
        self._header: Header | None = Header()
        self._body: Body | None = None
        self._heading: Heading | None = None
        self._broken_off: Header | None = None
        self._behind: Continuation | None = None
        self._sink: Sink | None = self._take_header
        self._markers: TextMarkers = JOINTS
        self._held = ""
        self._pending: Unlabelled | None = None
        self._outcomes: set[Outcome] = set()
        self._last: Outcome | None = None
        self._tally = Tally()
        self._over = False
        self._finished = False

    @property
    def repairs(self) -> Sequence[Repair]:
        return tuple(self._ledger.repairs)

    @property
    def undeclared_calls(self) -> Sequence[str]:
        return tuple(self._ledger.undeclared)

    @property
    def channel_tokens(self) -> Mapping[str, int]:
        return dict(self._tally.channels)

    @property
    def reasoning_tokens(self) -> int:
        return self._tally.reasoning

    def resume(self, prompt: Iterable[int]) -> BlockStart | None:
        """Read, before anything is fed, the end of a prompt in the middle of which the model goes on.

        Nothing of it is counted or told, but for the start of the block that is open then.
        """
        begun: BlockStart | None = None
        for event in (event for token in prompt for event in self.feed(token)):
            match event:
                case BlockStart():
                    begun = event
                case BlockStop():
                    begun = None
        self._ledger.position = -1
        self._ledger.repairs.clear()
        self._tally = Tally()
        return begun

    def feed(self, token: int, logprob: TokenLogprob | None = None) -> list[Event]:
        """Read one token. What comes after `finish()`, or is no token of the vocabulary, is ignored."""
        self._ledger.position += 1
        if not 0 <= token < FIRST_SPECIAL:
            return self._feed_special(token)
        sink = self._sink
        if sink is None:
            return []
        return sink(self._text.decode(token), logprob)

    def finish(self, *, truncated: bool | None) -> list[Event]:
        """The stream has ended: close what is open. `truncated` says that the token limit cut it off.

        None, for a stream that may have lost its last token, decides by what is there: thoughts, headers and
        unfinished JSON were cut off, text and whole arguments were not.
        """
        if self._finished:
            return []
        self._finished = True
        events = self._flush()
        self._resume_header(None)
        events += self._settle_header(called=False)
        cut = self._looks_cut() if truncated is None else truncated
        events += self._close_body(Ending.CUT if cut else Ending.STOPPED, self._ledger.position)
        events += self._release()
        self._tally.count("unknown", self._ledger.position)
        self.finish_reason = self._reason(cut)
        self._stop_reading(over=True)
        return events

    # Tokens

    def _feed_special(self, token: int) -> list[Event]:
        if token not in _MARKERS:
            self._ledger.repair("stray_token")
            return []
        if self._over or (self._is_deaf and token not in (START, CHANNEL)):
            self._ledger.repair("after_turn")
            return []
        return [*self._flush(), *self._mark(token, self._ledger.position - 1)]

    def _flush(self) -> list[Event]:
        """A marker or the end has come: what waited for more text is all there is."""
        return [*self._take(self._text.flush(), None), *self._flush_held()]

    def _flush_held(self) -> list[Event]:
        held, self._held = self._held, ""
        return self._take_body(held, None) if held else []

    def _take(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        return self._sink(text, logprob) if (text or logprob) and self._sink is not None else []

    # Markers

    def _mark(self, marker: int, previous: int) -> list[Event]:
        """Read a marker. `previous` is the index of the last token of the message that it may interrupt."""
        self._resume_header(marker)
        if marker in _ENDINGS:
            return self._end(_ENDINGS[marker])
        if marker == START:
            return self._start(Header(started=True), previous)
        return [*self._open_joined(), *self._mark_header(marker, previous)]

    def _mark_header(self, marker: int, previous: int) -> list[Event]:
        if marker == CHANNEL:
            return self._open_channel(previous)
        if self._header is None:
            self._ledger.repair("stray_token")
            return []
        if marker == CONSTRAIN:
            self._header.open_constrain()
            return []
        return self._open_message(self._header, None)

    def _start(self, header: Header, previous: int) -> list[Event]:
        """Another message begins: the one that is open, if any, was not closed."""
        broken_off = self._header
        events = self._settle_header(called=False)
        if self._body is not None:
            self._ledger.repair("unclosed_message")
        events += self._close_body(Ending.INTERRUPTED, previous)
        self._pending = None
        self._expect(header, broken_off)
        return events

    def _open_channel(self, previous: int) -> list[Event]:
        header = self._header
        if header is not None:
            header.open_channel()
            return []
        events = self._start(header := Header(), previous)
        header.open_channel()
        return events

    def _open_message(self, header: Header, markers: TextMarkers | None) -> list[Event]:
        header.complete()
        whole, names = self._whole(header), self._ledger.names
        heading = read_header(header, names) if whole is header else read_rejoined(whole, header, names)
        events = self._open(heading, header, markers)
        if self._body is not None and heading.purpose in GOING_ON:
            self._behind = Continuation(whole, heading, self._ledger.blocks)
            if markers is None:
                self._sink = self._take_body
        return events

    def _end(self, ending: Ending) -> list[Event]:
        broken_off = self._header
        events = self._settle_header(called=ending is Ending.CALL)
        if self._header is not None:
            self._ledger.repair("stray_token")
        events += self._close_body(ending, self._ledger.position)
        if ending is Ending.END:
            self._expect(Header(), broken_off)
            return events
        self.ended = True
        if ending is Ending.RETURN:
            events += self._release()
        self._stop_reading(over=ending is Ending.RETURN and self._is_answered)
        return events

    # Headers

    def _expect(self, header: Header, broken_off: Header | None = None) -> None:
        self._header, self._broken_off = header, broken_off
        self._sink = self._take_header

    def _whole(self, header: Header) -> Header:
        """The complete header, with the one that it is the rest of, if it is."""
        begun = self._broken_off
        return (rejoined(begun, header, self._ledger.names) if begun else None) or header

    def _is_rest_of_thought(self, header: Header) -> bool:
        header = header.before(0)
        whole = self._whole(header)
        return whole is not header and read_header(whole, self._ledger.names).purpose == "reasoning"

    def _resume_header(self, marker: int | None) -> None:
        """What the body holds was still the header's, if it reads as such and nothing of it was told."""
        behind, self._behind = self._behind, None
        if behind is None or not behind.is_possible(self._ledger.blocks):
            return
        if behind.goes_on(within=marker in (CHANNEL, CONSTRAIN, MESSAGE), opens_channel=marker == CHANNEL):
            self._ledger.repair("stray_token")
            self._body = None
            self._expect(behind.header)

    def _open_joined(self) -> list[Event]:
        """A header without markers, its body, and the beginning of another message may stand before a marker."""
        if self._header is None or not holds_another(self._header):
            return []
        return [*self._open_unfinished(self._header, called=False), *self._flush_held()]

    def _take_header(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        """Collect header text, and decide wherever it may have come to its end without a marker."""
        header = self._header
        while header is not None:
            match = _DECIDING.search(text)
            end = min(match.end() if match else len(text), LONGEST_SECTION - header.length)
            fragment, text = text[:end], text[end:]
            header.add(fragment, None if text else logprob)
            if match or header.length >= LONGEST_SECTION:
                events = self._decide(header)
                if events is not None:
                    return [*events, *self._take(text, logprob)]
            if not text:
                break
        return []

    def _decide(self, header: Header) -> list[Event] | None:
        """The events of what the header's text has just become, or None while it is just a header."""
        text = header.text
        if text.endswith("{"):
            heading = read_implied(self._whole(header.before(1)), self._ledger.names)
            if heading is not None:
                markers = JOINTS if header.is_unmarked else None
                return [*self._open(heading, header, markers), *self._take("{", header.pieces[-1][1])]
        elif spelling := spelled_at_end(text):
            before = header.before(len(spelling))
            if all(map(is_clean, before.sections)):
                return self._read_spelled(spelling, before)
        if len(text) >= LONGEST_SECTION:
            return self._open_unfinished(header, called=False)
        return None

    def _read_spelled(self, spelling: str, header: Header) -> list[Event]:
        """`header` is what stands before the marker."""
        self._ledger.repair("spelled_marker")
        self._header = header
        if SPELLED[spelling] == MESSAGE:
            return self._open_message(header, SPELLED_MARKERS)
        return self._mark(SPELLED[spelling], self._ledger.position)

    def _settle_header(self, *, called: bool) -> list[Event]:
        """A header will not go on: open what its text turns out to be."""
        events: list[Event] = []
        while self._header is not None and not self._header.is_blank:
            events += self._open_unfinished(self._header, called=called)
            events += self._flush_held()
        return events

    def _open_unfinished(self, header: Header, *, called: bool) -> list[Event]:
        heading, begin = read_unfinished(header, self._ledger.names, called=called)
        if heading.purpose == "unlabelled" and self._is_rest_of_thought(header):
            heading = Heading("reasoning", "analysis", repairs=("missing_message",))
        markers = JOINTS if header.is_unmarked and heading.purpose not in ("foreign", "prompt") else None
        events = self._open(heading, header, markers)
        for text, logprob in header.pieces:
            if begin < len(text) or begin == 0:
                events += self._take(text[begin:], logprob)
            begin = max(0, begin - len(text))
        return events

    # Bodies

    def _open(self, heading: Heading, header: Header, markers: TextMarkers | None = None) -> list[Event]:
        if self._heading is not None and not (header.started or header.reopened):
            self._ledger.repair("missing_start")
        for kind in heading.repairs:
            self._ledger.repair(kind)
        if is_next_turn(heading, self._outcomes):
            self.ended = True
            self._stop_reading(over=True)
            return []
        body = body_of(heading, self._ledger, self._outcomes)
        self._header, self._body, self._heading, self._pending = None, body, heading, None
        self._broken_off = self._behind = None
        if markers is not None:
            self._markers, self._sink = markers, self._take_marked
        else:
            self._sink = None if body.silent else body.take
        return body.open()

    def _take_marked(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        """Body text in which markers are written as text."""
        if self._body is None:
            return []
        before, marker, rest = self._markers.cut(self._held + text)
        self._held = "" if marker else rest
        events = self._take_body(before, None if marker and rest else logprob)
        if marker is None:
            return events
        if marker in SPELLED:
            self._ledger.repair("spelled_marker")
            events += self._mark(SPELLED[marker], self._ledger.position)
        else:
            events += self._end(Ending.END)
            events += self._start(Header(started=True, joined=True), self._ledger.position)
        return [*events, *self._take(rest, logprob)]

    def _take_body(self, text: str, logprob: TokenLogprob | None) -> list[Event]:
        """Body text, which may still turn out to be the header's."""
        if self._body is None:
            return []
        if self._behind is None:
            return self._body.take(text, logprob)
        before, brace, rest = text.partition("{")
        self._behind.add(before)
        if not brace:
            return self._body.take(text, logprob)
        events = [*self._body.take(before, None), *self._open_behind(self._behind)]
        return events + (self._body.take(brace + rest, logprob) if self._body is not None else [])

    def _open_behind(self, behind: Continuation) -> list[Event]:
        """A JSON object begins: these are a call's arguments, if what stands before it is a call's header."""
        self._behind = None
        heading = behind.heading(self._ledger.names) if behind.is_possible(self._ledger.blocks) else None
        if heading is None:
            return []
        return self._open(heading, behind.header, self._markers if self._sink == self._take_marked else None)

    def _close_body(self, ending: Ending, last: int) -> list[Event]:
        """`last` is the index of the message's last token."""
        body, heading = self._body, self._heading
        if body is None or heading is None:
            return []
        tokens = self._tally.count(heading.channel or "unknown", last)
        events = body.close(ending, tokens)
        self._body = None
        self._outcomes.add(body.outcome)
        self._last = body.outcome
        if isinstance(body, Unlabelled) and body.outcome is Outcome.PENDING:
            self._pending = body
        if body.outcome in (Outcome.HIDDEN, Outcome.PENDING):
            self._tally.reasoning += tokens
        return events

    def _release(self) -> list[Event]:
        """The turn has ended: unlabelled text is the answer, if there is no better one."""
        pending, self._pending = self._pending, None
        if pending is None or self._is_answered:
            return []
        events = pending.release(Ending.END)
        if pending.outcome is Outcome.ANSWER:
            self._outcomes.add(Outcome.ANSWER)
            self._tally.reasoning -= pending.tokens
        return events

    # The turn

    @property
    def _is_deaf(self) -> bool:
        """The turn has ended, and only a new header could begin something."""
        return self._header is None and self._body is None

    @property
    def _is_answered(self) -> bool:
        return bool(self._outcomes & FINAL)

    def _stop_reading(self, *, over: bool) -> None:
        self._header, self._body, self._sink, self._over = None, None, None, self._over or over

    def _looks_cut(self) -> bool:
        if self._body is not None:
            is_more = self._heading is not None and self._heading.purpose in ("broken", "garbled", "answer", "preamble")
            return self._body.looks_cut and not (is_more and self._is_answered)
        if self.ended or self._is_answered:
            return False
        if self._header is not None and self._header.started:
            return True
        return self._heading is not None and self._heading.purpose in ("reasoning", "broken", "garbled")

    def _reason(self, cut: bool) -> FinishReason:
        cut = cut and not self.ended
        if cut and self._last is Outcome.CUT_CALL:
            return "length"
        if Outcome.CALL in self._outcomes:
            return "tool_calls"
        return "length" if cut else "stop"
