"""What a message's header says: who speaks, in which channel, to whom. Read leniently, decided strictly.

A header is what stands between `<|start|>` and `<|message|>`: a role section, then the sections that `<|channel|>` and
`<|constrain|>` open. Knows the text of headers, and nothing of bodies or events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from llm_server.events import TokenLogprob
from llm_server.harmony.names import ToolNames, is_canonical, is_wrapper
from llm_server.harmony.repairs import RepairKind

Channel: TypeAlias = Literal["analysis", "commentary", "final"]
Purpose: TypeAlias = Literal[
    "reasoning", "answer", "preamble", "call", "wrapped_call", "undeclared_call", "unlabelled", "foreign", "broken"
]

LONGEST_SECTION: Final = 512
"""A section with this many characters is no header any more."""

_CHANNELS: Final[tuple[Channel, ...]] = ("analysis", "commentary", "final")
_THINKING = ("think", "thought", "reason", "scratchpad", "internal")
_CONTENT_TYPES = frozenset({"json", "code", "text", "plaintext", "markdown", "html", "xml", "yaml"})
_USERS = frozenset({"user", "all", "everyone", "human"})
_OTHER_ROLES = frozenset({"user", "system", "developer", "tool", "function", "functions", "human"})
_BUILT_INS = frozenset({"python", "browser", "container"})

_RECIPIENT = re.compile(r"(?:to|recipient)\s*=\s*[\"'`]?((?:functions?[.:]\s+)?[^\s<{\"'`]*)", re.IGNORECASE)
_FUNCTION = re.compile(r"(?<![\w.])functions\.[\w.:/-]+")
_ASSISTANTS = re.compile(r"\s*(?:assistant)*\s*")
_NAME = re.compile(r"[\w.:/-]+")
_CHANNEL_FIRST = re.compile(rf"\s*({'|'.join(_CHANNELS)})")
_LEAD = r"\s*(?:assistant)*\s*(?:analysis|commentary|final)?[\s|:]*"
_CLEAN = re.compile(
    _LEAD + r"(?:(?:to|recipient)\s*=\s*[\"'`]?(?:functions?[.:]\s+)?[^\s<{\"'`]*[\"'`]?|functions\.[\w.:/-]+)?"
    r"\s*(?:analysis|commentary|final)?[\s|:]*(?:json|code|text)?\s*"
)
_ADDRESSED = re.compile(_LEAD + r"(?:to\s*=|recipient\s*=|functions\.)")
_COLON = re.compile(r"(?::\s+)?")
_TYPE = re.compile(r"[\s|:]*(?:json\b|code\b)?\s*")


@dataclass(slots=True)
class Header:
    """A header as far as it has come.

    `started`: `<|start|>` was seen. `joined`: its markers were lost, only their text is there. `channel`, `constrain`:
    the sections' texts, None while not opened. `inherited`: the channel section that another one replaced.
    """

    started: bool = False
    joined: bool = False
    role: str = field(default="", repr=False)
    channel: str | None = field(default=None, repr=False)
    constrain: str | None = field(default=None, repr=False)
    inherited: str = field(default="", repr=False)
    pieces: list[tuple[str, TokenLogprob | None]] = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        """The text of the section that is open."""
        return "".join(piece for piece, _ in self.pieces)

    @property
    def is_blank(self) -> bool:
        """Whether nothing was said but, at most, that the assistant speaks."""
        sections_opened = self.channel is not None or self.constrain is not None
        return not sections_opened and _ASSISTANTS.fullmatch(self.text) is not None

    @property
    def sections(self) -> Iterator[str]:
        """The texts that are complete, in the order in which a recipient is looked for."""
        yield from (text for text in (self.channel, self.role, self.constrain) if text)

    def before(self, characters: int) -> Header:
        """The header as it would be without its last characters, and complete."""
        text = self.text
        header = replace(self, pieces=[(text[: len(text) - characters], None)])
        header.complete()
        return header

    def open_channel(self) -> None:
        self.complete()
        if self.channel is not None:
            self.inherited = f"{self.channel} {self.constrain or ''}" if self.channel.strip() else self.inherited
        self.channel, self.constrain = "", None

    def open_constrain(self) -> None:
        self.complete()
        self.constrain = ""

    def trim(self, characters: int) -> None:
        """Take back the last characters of the open section."""
        self.pieces = [(self.text[:-characters], None)]

    def complete(self) -> None:
        """Close the open section."""
        text, self.pieces = self.text, []
        if self.constrain is not None:
            self.constrain += text
        elif self.channel is not None:
            self.channel += text
        else:
            self.role += text


@dataclass(frozen=True, slots=True)
class Heading:
    """What the header's message is. `tool`: the declared tool that is called, or the name of one that is not.

    `typed`: a content type was given. `repairs`: what was wrong with the header.
    """

    purpose: Purpose
    channel: Channel | None = None
    tool: str = ""
    typed: bool = False
    repairs: tuple[RepairKind, ...] = ()


def read_header(header: Header, names: ToolNames) -> Heading:
    """Read a header that `<|message|>` ended."""
    channel, repairs = _channel(header)
    if header.started and _is_foreign(header.role, names):
        return Heading("foreign", None, repairs=("foreign_role",))
    recipient = _recipient(header, names)
    if recipient is None or recipient.casefold() in _USERS:
        return _without_tool(header, channel, repairs)
    if recipient.casefold() == "assistant":
        return _to_itself(channel, repairs)
    return _with_tool(recipient, channel, _is_typed(header), names, repairs)


def read_implied(header: Header, names: ToolNames) -> Heading | None:
    """Read a header that a JSON object follows with no `<|message|>` between, if it is one beyond doubt."""
    if not all(_CLEAN.fullmatch(text) for text in header.sections):
        return None
    heading = read_header(header, names)
    calls = heading.purpose in ("call", "wrapped_call", "undeclared_call")
    if not calls and heading.purpose != "answer":
        return None
    return _with(heading, "missing_message")


def read_unfinished(header: Header, names: ToolNames, *, called: bool) -> tuple[Heading, int]:
    """Read a header that a message's end, or too much text, came after instead of `<|message|>`.

    Returns what its text is, and the index in the open section's text at which a body begins. `called` says that the
    end was `<|call|>`.
    """
    if called and is_clean(header):
        heading = read_header(header.before(0), names)
        if heading.purpose in ("call", "undeclared_call"):
            return _with(heading, "missing_message"), len(header.text)
    if header.constrain is not None:
        return _unfinished_constrain(header)
    return _unfinished_role(header, names) if header.channel is None else _unfinished_channel(header)


def is_clean(header: Header) -> bool:
    """Whether all the text so far belongs into a header."""
    return all(_CLEAN.fullmatch(text) for text in (*header.sections, header.text))


def _with(heading: Heading, repair: RepairKind) -> Heading:
    repairs = (*heading.repairs, repair)
    return Heading(heading.purpose, heading.channel, heading.tool, heading.typed, repairs)


def _without_tool(header: Header, channel: Channel | None, repairs: tuple[RepairKind, ...]) -> Heading:
    match channel:
        case "analysis":
            return Heading("reasoning", channel, repairs=repairs)
        case "final":
            return Heading("answer", channel, repairs=repairs)
        case "commentary":
            return Heading("preamble", channel, typed=_is_typed(header), repairs=repairs)
        case None if _recipient(header, ToolNames()) is not None:
            return Heading("answer", "final", repairs=repairs)
        case None:
            return Heading("unlabelled", None, repairs=(*repairs, "unlabelled_text"))


def _to_itself(channel: Channel | None, repairs: tuple[RepairKind, ...]) -> Heading:
    """A message to the assistant is what tools send; from the model it is nobody's business."""
    match channel:
        case "analysis":
            return Heading("reasoning", channel, repairs=repairs)
        case "final":
            return Heading("answer", channel, repairs=repairs)
        case _:
            return Heading("foreign", channel, repairs=(*repairs, "foreign_role"))


def _with_tool(
    recipient: str, channel: Channel | None, typed: bool, names: ToolNames, repairs: tuple[RepairKind, ...]
) -> Heading:
    if channel in ("analysis", "final"):
        repairs = (*repairs, "call_channel")
    tool = names.resolve(recipient)
    if tool is not None:
        wrong: tuple[RepairKind, ...] = () if is_canonical(recipient, tool) else ("tool_name",)
        return Heading("call", channel, tool, typed, (*repairs, *wrong))
    if not recipient:
        return Heading("undeclared_call", channel, "", typed, (*repairs, "missing_recipient"))
    if is_wrapper(recipient):
        return Heading("wrapped_call", channel, recipient, typed, repairs)
    return Heading("undeclared_call", channel, recipient, typed, (*repairs, "undeclared_tool"))


def _is_foreign(role: str, names: ToolNames) -> bool:
    """Whether somebody other than the assistant speaks: a user, a tool."""
    match = _NAME.search(role)
    name = match[0] if match else ""
    if name.startswith("assistant") or not name or _RECIPIENT.match(role.lstrip()):
        return False
    return "." in name or name.casefold() in _OTHER_ROLES | _BUILT_INS or name in names


def _recipient(header: Header, names: ToolNames) -> str | None:
    """The recipient as it is written, "" if it was left out after `to=`, None if there is none."""
    role = header.role if _ADDRESSED.match(header.role) else ""
    for text in (header.channel or "", role):
        if match := _RECIPIENT.search(text):
            return _next_word(match, names)
    for text in (header.channel or "", role, header.constrain or ""):
        if match := _FUNCTION.search(text):
            return match[0]
    return _bare_name(header, names) or _inherited(header)


def _next_word(match: re.Match[str], names: ToolNames) -> str:
    """`functions NAME` is written for `functions.NAME`, too."""
    recipient = match[1]
    if recipient.rstrip(".:").casefold() == "functions":
        word = _NAME.search(match.string, match.end())
        if word and names.resolve(word[0]):
            return word[0]
    return recipient


def _bare_name(header: Header, names: ToolNames) -> str | None:
    """A tool named in the commentary header without `to=`."""
    words = (header.channel or "").split()
    if len(words) < 2 or words[0] != "commentary" or words[1] in _CONTENT_TYPES:
        return None
    return words[1] if words[1] in names or words[1] in _BUILT_INS else None


def _inherited(header: Header) -> str | None:
    """A header that was begun again keeps its recipient, unless it turned out to be thought or answer."""
    if not header.inherited or _channel_in(header.channel or "") in ("analysis", "final"):
        return None
    goes_on = _is_typed(header) or not (header.channel or "").strip()
    match = _RECIPIENT.search(header.inherited)
    return match[1] if match and goes_on else None


def _channel(header: Header) -> tuple[Channel | None, tuple[RepairKind, ...]]:
    channel = _channel_in(header.channel or "")
    repairs: tuple[RepairKind, ...] = ("abandoned_header",) if header.inherited else ()
    if not _CLEAN.fullmatch(header.role):
        repairs += ("unlabelled_text",)
    if channel is None and header.inherited:
        channel = _channel_in(header.inherited)
    if channel is None:
        repairs += ("unknown_channel" if (header.channel or "").strip() else "missing_channel",)
        channel = _channel_in_role(header.role)
    return channel, repairs


def _channel_in(text: str) -> Channel | None:
    """The channel that a section names. Whatever mentions analysis is analysis."""
    name = _RECIPIENT.sub(" ", text).strip(" \t\r\n|:.,").casefold()
    if "analysis" in name or name.startswith(_THINKING):
        return "analysis"
    if name.startswith("final"):
        return "final"
    if name.startswith("commentary"):
        return "commentary" if _is_content_type(name.removeprefix("commentary")) else None
    return next((channel for channel in _CHANNELS if len(name) > 3 and channel.startswith(name)), None)


def _is_content_type(text: str) -> bool:
    words = text.strip(" \t\r\n|:.,<>").split()
    return not words or words[0] in _CONTENT_TYPES or (text[0].isspace() and len(words) == 1)


def _channel_in_role(role: str) -> Channel | None:
    """The channel, if `<|channel|>` was forgotten but its word is there."""
    if not _CLEAN.fullmatch(role):
        return None
    return _channel_in(role[_skip(_ASSISTANTS, role, 0) :])


def _is_typed(header: Header) -> bool:
    """Whether a content type was given, in its own section or as a word of the channel's."""
    if header.constrain is not None:
        return True
    text = _RECIPIENT.sub(" ", f"{header.channel or ''} {header.role}")
    return any(word.strip("|:").casefold() in _CONTENT_TYPES for word in text.split())


def _unfinished_constrain(header: Header) -> tuple[Heading, int]:
    text = header.text
    channel = _channel_in(header.channel or "")
    if channel == "final":
        return Heading("answer", "final", repairs=("missing_message",)), _skip(_TYPE, text, 0)
    purpose: Purpose = "reasoning" if channel == "analysis" else "broken"
    return Heading(purpose, channel, repairs=("missing_message",)), len(text)


def _unfinished_channel(header: Header) -> tuple[Heading, int]:
    text = header.text
    match = _CHANNEL_FIRST.match(text)
    if match and match[1] == "analysis":
        return Heading("reasoning", "analysis", repairs=("missing_message",)), match.end()
    if match and match[1] == "final":
        return Heading("answer", "final", repairs=("missing_message",)), _skip(_TYPE, text, match.end())
    if match or any(channel.startswith(text.strip()) for channel in _CHANNELS):
        return Heading("broken", None, repairs=("missing_message",)), len(text)
    return Heading("unlabelled", None, repairs=("unknown_channel", "unlabelled_text")), 0


def _unfinished_role(header: Header, names: ToolNames) -> tuple[Heading, int]:
    """Text where a header should be: a header without markers, or text that belongs to no channel."""
    text = header.text
    if header.started and not header.joined and _is_foreign(text, names):
        return Heading("foreign", None, repairs=("foreign_role",)), len(text)
    begin = _skip(_ASSISTANTS, text, 0)
    match = _CHANNEL_FIRST.match(text, begin)
    if match and _is_stripped_header(match, header, begin):
        return _stripped(match)
    if _ADDRESSED.match(text) or (header.started and "assistant".startswith(text.strip())):
        return Heading("broken", None, repairs=("missing_message",)), len(text)
    return Heading("unlabelled", None, repairs=("unlabelled_text",)), begin if header.started else 0


def _is_stripped_header(match: re.Match[str], header: Header, begin: int) -> bool:
    """Whether a channel's name at the start of text is one, and not the beginning of "finally"."""
    if match[1] == "analysis" or header.started or match.string[:begin].strip():
        return True
    following = match.string[match.end() : match.end() + 1]
    return not following.islower() and not following.isspace()


def _stripped(match: re.Match[str]) -> tuple[Heading, int]:
    """A header whose markers were lost, with its body right behind it, perhaps after a colon."""
    repairs: tuple[RepairKind, ...] = ("stripped_markers",)
    begin = _skip(_COLON, match.string, match.end())
    match match[1]:
        case "analysis":
            return Heading("reasoning", "analysis", repairs=repairs), begin
        case "final":
            return Heading("answer", "final", repairs=repairs), begin
        case _ if _ADDRESSED.match(match.string, match.end()):
            return Heading("broken", None, repairs=repairs), len(match.string)
        case _:
            return Heading("preamble", "commentary", repairs=repairs), begin


def _skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    """The index at which `pattern`, which may match nothing, ends."""
    match = pattern.match(text, start)
    return match.end() if match else start
