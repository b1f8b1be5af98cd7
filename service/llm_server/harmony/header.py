"""A message's header as it is written, section by section. `heading.py` has what it means.

A header is what stands between `<|start|>` and `<|message|>`: a role section, then the sections that `<|channel|>` and
`<|constrain|>` open. Knows their text, and nothing of tools, bodies or events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from llm_server.events import TokenLogprob

Channel: TypeAlias = Literal["analysis", "commentary", "final"]
CHANNELS: Final[tuple[Channel, ...]] = ("analysis", "commentary", "final")
LONGEST_SECTION: Final = 512
"""A section with this many characters is no header any more."""

CONTENT_TYPES: Final = frozenset({"json", "code", "text", "plaintext", "markdown", "html", "xml", "yaml"})

RECIPIENT: Final = re.compile(
    r"(?:(?:to|recipient)\s*=\s*)+(?:[\"'`]|<(?!\|))?((?:(?:function|tool)s?[.:]\s+)?[^\s<{\"'`]*)", re.IGNORECASE
)
"""The recipient is its group; it may be empty."""

_MISSPELT: Final = 0.75
"""How much of a word is that of another, so that it is taken for it: two letters of eight may be wrong or swapped."""

_THINKING = ("think", "thought", "reason", "scratchpad", "internal")
_COMMENTARIES = re.compile(r"^(?:commentary)+")
_ASSISTANTS = re.compile(r"(?:\s*assistant)*\s*")
_AROUND = " \t\r\n|:.,;-_*#`'\"()[]\N{EN DASH}\N{EM DASH}"
_BLANKS = re.compile(r"[\s|]+")
_BEGINNING = r" ?(?:assistant)* ?(?:analysis|commentary|final)?[:?]* ?(?:(?:json|code|text) )?"
_ADDRESSED = re.compile(_BEGINNING + r"(?:to ?=|recipient ?=|functions\.)", re.IGNORECASE)
# Atomic, since `to=to=to=…` could be read in more ways than there is time for.
_CLEAN = re.compile(
    _BEGINNING
    + r"(?> ?(?:(?:to|recipient) ?= ?)+(?:[\"'`]|<(?!\|))?(?:(?:function|tool)s?[.:] )?[^ <{\"'`]*[\"'`]?"
    + r"|functions\.[\w.:/-]+){0,3}"
    + r" ?(?:analysis|commentary|final)?:? ?(?:json|code|text)?:? ?",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Header:
    """A header as far as it has come.

    `started`: `<|start|>` was seen. `joined`: its markers were lost, only their text is there. `reopened`: it goes on
    behind `<|message|>`. `channel`, `constrain`: the sections' texts, None while not opened. `inherited`: the channel
    section that another one replaced. `pieces`: the text of the open section as it came, `length` its characters.
    """

    started: bool = False
    joined: bool = False
    reopened: bool = False
    role: str = field(default="", repr=False)
    channel: str | None = field(default=None, repr=False)
    constrain: str | None = field(default=None, repr=False)
    inherited: str = field(default="", repr=False)
    pieces: list[tuple[str, TokenLogprob | None]] = field(default_factory=list, repr=False)
    length: int = 0

    @property
    def text(self) -> str:
        """The text of the section that is open."""
        return "".join(piece for piece, _ in self.pieces)

    @property
    def is_unmarked(self) -> bool:
        """Whether there is nothing but the role section."""
        return self.channel is None and self.constrain is None

    @property
    def is_blank(self) -> bool:
        """Whether nothing was said but, at most, that the assistant speaks."""
        return self.is_unmarked and _ASSISTANTS.fullmatch(self.text) is not None

    @property
    def sections(self) -> tuple[str, ...]:
        """The texts of the sections, the open one included."""
        closed = (self.role, self.channel, self.constrain)
        return tuple(text for text in (*closed, self.text) if text)

    def add(self, text: str, logprob: TokenLogprob | None) -> None:
        self.pieces.append((text, logprob))
        self.length += len(text)

    def open_channel(self) -> None:
        self.complete()
        if self.channel and self.channel.strip():
            self.inherited = f"{self.channel} {self.constrain or ''}"
        elif self.constrain:
            self.role += self.constrain
        self.channel, self.constrain = "", None

    def open_constrain(self) -> None:
        """What an earlier such section holds, if it was the channel's or more than a type, is kept in the channel's."""
        self.complete()
        if self.constrain and (self.channel is None or self.constrain.strip() not in CONTENT_TYPES):
            self.channel = f"{self.channel or ''}{self.constrain}"
        self.constrain = ""

    def complete(self) -> None:
        """Close the open section."""
        text, self.pieces, self.length = self.text, [], 0
        if self.constrain is not None:
            self.constrain += text
        elif self.channel is not None:
            self.channel += text
        else:
            self.role += text

    def before(self, characters: int) -> Header:
        """The header as it would be without its last characters, and complete."""
        text = self.text
        header = replace(self, pieces=[(text[: len(text) - characters], None)])
        header.complete()
        return header


def is_clean(text: str) -> bool:
    """Whether the text of a section is what belongs there and nothing else."""
    return _CLEAN.fullmatch(_BLANKS.sub(" ", text)) is not None


def is_addressed(text: str) -> bool:
    """Whether the text of a section begins as one that names a recipient."""
    return _ADDRESSED.match(_BLANKS.sub(" ", text)) is not None


def channel_in(text: str) -> Channel | None:
    """The channel that a section names. Whatever mentions analysis, or is nearly spelled so, is analysis."""
    name = RECIPIENT.sub(" ", text).strip(_AROUND).casefold()
    if "analysis" in name or name.startswith(_THINKING) or get_close_matches(name, ("analysis",), cutoff=_MISSPELT):
        return "analysis"
    if name.startswith("final"):
        return "final"
    if name.startswith("commentary"):
        return "commentary" if _is_content_type(_COMMENTARIES.sub("", name)) else None
    return next((channel for channel in CHANNELS if len(name) > 3 and channel.startswith(name)), None)


def without_assistant(text: str, start: int = 0) -> int:
    """The index at which the text goes on after "assistant", written any number of times from `start` on."""
    match = _ASSISTANTS.match(text, start)
    return match.end() if match else start


def _is_content_type(text: str) -> bool:
    """Whether what follows a channel's name may be a content type: a known one, or one word of letters."""
    words = text.strip(" \t\r\n|:.,<>").split()
    return not words or words[0] in CONTENT_TYPES or (text[0].isspace() and len(words) == 1 and words[0].isalpha())


def is_typed(header: Header) -> bool:
    """Whether a content type was given: one word in its own section, or at the end of the channel's."""
    if header.constrain is not None:
        return len(header.constrain.split()) <= 1
    section = header.role if header.channel is None else header.channel
    words = RECIPIENT.sub(" ", section).replace("|", " ").split()
    return 0 < len(words) <= 2 and words[-1].strip(":").casefold() in CONTENT_TYPES
