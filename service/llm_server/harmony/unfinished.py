"""Headers that never came to `<|message|>`: what their text turns out to be, and where in it a body begins.

Either the marker was forgotten, or there were no markers at all, or the text is none of a header's. Knows the text of
headers, and nothing of bodies or events.
"""

from __future__ import annotations

import re

from llm_server.harmony.header import CHANNELS, Header, channel_in, is_addressed, is_clean, without_assistant
from llm_server.harmony.heading import Heading, read_foreign, read_header
from llm_server.harmony.names import ToolNames

_CHANNEL_FIRST = re.compile(rf"\s*({'|'.join(CHANNELS)})")
_ANY_CHANNEL_FIRST = re.compile(_CHANNEL_FIRST.pattern, re.IGNORECASE)
_GLUED_ANALYSIS = re.compile(r"\s*(Analysis(?=[A-Z])|ANALYSIS(?=[A-Z][a-z]))")
"""No prose begins like this, and what does is nothing to show."""

_PROSE = {
    "analysis": re.compile(r"\s+(?:of|is|and|for|on|in|shows)\b"),
    "commentary": re.compile(r"\s*[a-z]"),
    "final": re.compile(r"\s*[a-z]"),
    "assistant": re.compile(r"[a-z\s]|$"),
}
"""What follows these words where they begin a text of their own: "finally, …", "analysis of …", "assistants are …"."""

_STRAY = re.compile(rf"\s*commentary\s+to=(?=assistant(?:{'|'.join(CHANNELS)}))")
"""The header that the model likes to write before another one, without its markers."""

_ROLES = ("assistant", "user", "system", "developer", "tool", "functions.")

_COLON = re.compile(r"(?::(?=\s))?\s*")
_STRIPPED_CALL = re.compile(r"(?:analysis|commentary)\s+to\s*=\s*\S+\s+(?:json|code|text)(?=\s*\S)", re.IGNORECASE)
"""A call's header without markers that something other than JSON follows. Without its type it would have no end."""

_TO_THE_USER = re.compile(r"(?:\s*to\s*=\s*(?:user|all)\b)?")
_PREAMBLE = re.compile(r"\s*commentary(?:\s+|:\s)(?=\S)")
_TYPE = re.compile(r"[\s|:]*(?:json\b|code\b)?\s*")


def read_implied(header: Header, names: ToolNames) -> Heading | None:
    """Read a complete header that a JSON object follows with no `<|message|>` between, if it is one beyond doubt."""
    if not all(is_clean(text) or text.strip() in names for text in header.sections):
        return None
    heading = read_header(header, names)
    return heading.repaired("missing_message") if heading.is_call or heading.purpose == "answer" else None


def read_unfinished(header: Header, names: ToolNames, *, called: bool) -> tuple[Heading, int]:
    """Read a header that a message's end, or too much text, came after instead of `<|message|>`.

    Returns what its text is, and the index in the open section's text at which a body begins. `called` says that the
    end was `<|call|>`, which after a header calls a tool without arguments.
    """
    if called and all(map(is_clean, header.sections)):
        heading = read_header(header.before(0), names)
        if heading.is_call:
            return heading.repaired("missing_message"), len(header.text)
    if header.constrain is not None:
        return _after_constrain(header)
    return _in_role(header, names) if header.channel is None else _in_channel(header)


def _after_constrain(header: Header) -> tuple[Heading, int]:
    text = header.text
    match channel_in(header.channel or ""):
        case "final":
            return Heading("answer", "final", repairs=("missing_message",)), _skip(_TYPE, text, 0)
        case "analysis":
            return Heading("reasoning", "analysis", repairs=("missing_message",)), len(text)
        case channel:
            return Heading("broken", channel, repairs=("missing_message",)), len(text)


def _in_channel(header: Header) -> tuple[Heading, int]:
    text = header.text
    match = _CHANNEL_FIRST.match(text)
    if match and match[1] == "analysis":
        return Heading("reasoning", "analysis", repairs=("missing_message",)), match.end()
    if match and match[1] == "final":
        begin = _skip(_TO_THE_USER, text, match.end())
        if not _is_recipient(text[begin:]):
            return Heading("answer", "final", repairs=("missing_message",)), _skip(_TYPE, text, begin)
    if channel_in(header.inherited) == "analysis":
        return Heading("reasoning", "analysis", repairs=("missing_message",)), len(text)
    if (prose := _PREAMBLE.match(text)) and not (is_clean(text) or _is_recipient(text[prose.end() :])):
        return Heading("garbled", "commentary", repairs=("missing_message",)), prose.end()
    if match or any(channel.startswith(text.strip()) for channel in CHANNELS):
        return Heading("broken", None, repairs=("missing_message",)), len(text)
    return Heading("garbled", None, repairs=("unknown_channel", "unlabelled_text")), 0


def _in_role(header: Header, names: ToolNames) -> tuple[Heading, int]:
    """Text where a header should be: a header without markers, or text that belongs to no channel."""
    text = header.text
    if header.started and not header.joined and (heading := read_foreign(text, names)):
        return heading, len(text)
    begin = without_assistant(text, _skip(_STRAY, text, 0))
    match = (_ANY_CHANNEL_FIRST if header.joined else _CHANNEL_FIRST).match(text, begin)
    match = match or _GLUED_ANALYSIS.match(text, begin)
    if match and (header.started or text[:begin].strip() or not _PROSE[match[1].lower()].match(text, match.end())):
        return _stripped(match, names)
    if is_addressed(text) or _is_beginning(text, begin, started=header.started):
        return Heading("broken", None, repairs=("missing_message",)), len(text)
    if not header.started and (not text[:begin].strip() or _PROSE["assistant"].match(text, begin)):
        begin = 0
    return Heading("unlabelled", None, repairs=("unlabelled_text",)), begin


def _is_beginning(text: str, begin: int, *, started: bool) -> bool:
    """Whether a header was cut off in the middle of a word. `begin`: where the text goes on after "assistant"."""
    word = text[begin:].strip()
    if not text[:begin].strip():
        return word == "to" or (started and any(role.startswith(word) for role in _ROLES))
    return any(next_word.startswith(word) for next_word in (*CHANNELS, "to=")) and (started or len(word) > 2)


def begins_as_thought(text: str) -> bool:
    """Whether a text begins with the name of the analysis channel, whose markers were lost."""
    match = _CHANNEL_FIRST.match(text) or _GLUED_ANALYSIS.match(text)
    return match is not None and match[1].lower() == "analysis" and not _PROSE["analysis"].match(text, match.end())


def _is_recipient(text: str) -> bool:
    return text.strip() == "to" or is_addressed(text)


def _stripped(match: re.Match[str], names: ToolNames) -> tuple[Heading, int]:
    """A header whose markers were lost, with its body right behind it, perhaps after a colon."""
    text, begin = match.string, _skip(_COLON, match.string, match.end())
    if call := _STRIPPED_CALL.match(text, match.start(1)):
        return read_header(Header(channel=call[0]), names).repaired("stripped_markers"), call.end()
    match match[1].lower():
        case "analysis":
            return Heading("reasoning", "analysis", repairs=("stripped_markers",)), begin
        case "final":
            return Heading("answer", "final", repairs=("stripped_markers",)), begin
        case _ if _is_recipient(text[match.end() :]):
            return Heading("broken", None, repairs=("stripped_markers",)), len(text)
        case _:
            return Heading("preamble", "commentary", repairs=("stripped_markers",)), begin


def _skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    """The index at which `pattern`, which may match nothing, ends."""
    match = pattern.match(text, start)
    return match.end() if match else start
