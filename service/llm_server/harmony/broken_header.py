"""Headers that a marker in the wrong place broke in two: where they go on, and how the parts are put together again.

Knows the text of headers, and nothing of bodies or events.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Final

from llm_server.harmony.header import CHANNELS, LONGEST_SECTION, Header, channel_in, is_addressed, is_clean, is_typed
from llm_server.harmony.heading import Heading, Purpose, read_header
from llm_server.harmony.names import ToolNames
from llm_server.harmony.text_markers import JOINTS
from llm_server.harmony.unfinished import read_implied

GOING_ON: Final = frozenset[Purpose]({"preamble", "unlabelled", "call", "undeclared_call"})
"""What a header reads as that `<|message|>` may have come too early in."""

_BLANKS = re.compile(r"[\s|]+")
_RECIPIENTS = tuple(
    map(
        "".join,
        product(("", "assistant ", "assistant"), ("", "commentary ", "analysis "), ("to=", "to =", "functions.")),
    )
)


class Continuation:
    """A complete header, as it would be if what follows `<|message|>` still belonged to it.

    `heading` is what it reads as without that. `blocks` is how many blocks had begun before its body: with another one,
    some of the body was told.
    """

    def __init__(self, header: Header, heading: Heading, blocks: int) -> None:
        self.header = replace(header, pieces=[], length=0, reopened=True)
        self.header.add(" ", None)
        self._is_call = heading.is_call
        self._blocks = blocks

    def add(self, text: str) -> None:
        if self.header.length <= LONGEST_SECTION:
            self.header.add(text, None)

    def is_possible(self, blocks: int) -> bool:
        return blocks == self._blocks and self.header.length <= LONGEST_SECTION

    def goes_on(self, *, within: bool, opens_channel: bool) -> bool:
        """Whether the body so far was the header's. `within`: the next marker is one that stands in a header.

        Without such a marker only a recipient is known to belong there.
        """
        text = self.header.text.strip()
        if not text:
            return opens_channel and self._is_call and self.header.channel is None
        return is_clean(text) and (within or (not self._is_call and is_addressed(text)))

    def heading(self, names: ToolNames) -> Heading | None:
        """What it reads as if a JSON object follows, if that is a call."""
        if self._is_call or not is_addressed(self.header.text.strip()):
            return None
        heading = read_implied(self.header.before(0), names)
        return heading if heading is not None and heading.purpose != "answer" else None


def may_be_addressed(text: str) -> bool:
    """Whether a body begins, as far as it goes, like the part of a header that names a recipient, or is a channel."""
    text = _BLANKS.sub(" ", text[:LONGEST_SECTION]).lstrip()
    is_channel = any(channel.startswith(text.rstrip()) for channel in CHANNELS)
    return is_channel or any(text.startswith(begin) or begin.startswith(text) for begin in _RECIPIENTS)


def rejoined(begun: Header, rest: Header, names: ToolNames) -> Header | None:
    """The header that two make up if a marker between messages was written within it: a call's, or a thought's.

    `rest` is complete, and says neither who speaks, nor to whom, nor a channel if `begun` has one.
    """
    channel = channel_in(rest.role if rest.channel is None else rest.channel)
    if channel in ("analysis", "final") or (begun.channel is not None and (channel or rest.channel is not None)):
        return None
    if begun.is_blank or any(map(is_addressed, rest.sections)) or rest.role.lstrip().startswith("assistant"):
        return None
    whole = begun.before(0)
    whole.add(rest.role, None)
    whole.complete()
    if rest.channel is not None:
        whole.channel = rest.channel
    if rest.constrain is not None:
        whole.constrain = f"{whole.constrain or ''}{rest.constrain}"
    heading = read_header(whole, names)
    is_clean_call = heading.is_call and all(map(is_clean, whole.sections))
    is_meant = heading.purpose == "call" or _says_more(whole, rest)
    return whole if heading.purpose == "reasoning" or (is_clean_call and is_meant) else None


def read_rejoined(header: Header, rest: Header, names: ToolNames) -> Heading:
    """Read a header that two made up. If its `rest` says nothing, not even a type, only JSON was meant for the tool."""
    heading = read_header(header, names)
    is_certain = heading.purpose != "call" or _says_more(header, rest)
    return heading if is_certain else replace(heading, otherwise="preamble")


def _says_more(header: Header, rest: Header) -> bool:
    return is_typed(header) or any(map(str.strip, rest.sections))


def holds_another(header: Header) -> bool:
    """Whether the role section holds a whole message without markers, and behind it another one's role."""
    text = header.text
    match = JOINTS.pattern.search(text) if header.is_unmarked and not is_clean(text) else None
    before = text[: match.start()].strip() if match else ""
    return bool(before) and not before.endswith("=")
