"""Markers that came as text: spelled in ordinary characters, or lost with only `assistantfinal` left of a header.

Used for a message only whose own header came that way, so that an answer may talk about such text. Pure text in and
out; knows no tokens but the ids of the markers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from llm_server.harmony.encoding import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START

SPELLED: Final = {
    "<|start|>": START,
    "<|end|>": END,
    "<|message|>": MESSAGE,
    "<|channel|>": CHANNEL,
    "<|constrain|>": CONSTRAIN,
    "<|call|>": CALL,
    "<|return|>": RETURN,
}


@dataclass(frozen=True, slots=True)
class TextMarkers:
    """What to look for: `pattern` finds a marker, of which `begins` are the beginnings that text can end in."""

    pattern: re.Pattern[str]
    begins: re.Pattern[str]

    def cut(self, text: str) -> tuple[str, str | None, str]:
        """The text before the first marker, the marker, and what follows it.

        Without a marker: the text that can not be part of one any more, None, and what has to wait for more.
        """
        if match := self.pattern.search(text):
            return text[: match.start()], match[0], text[match.end() :]
        match = self.begins.search(text)
        end = match.start() if match else len(text)
        return text[:end], None, text[end:]


def _beginnings(words: tuple[str, ...], before: str = "") -> re.Pattern[str]:
    """Matches at the end of a text that ends in the beginning of one of the words, with `before` in front of it."""
    begins = {word[:length] for word in words for length in range(0 if before else 1, len(word))}
    longest_first = sorted(begins, key=len, reverse=True)
    return re.compile(rf"{before}(?:{'|'.join(map(re.escape, longest_first))})\Z", re.IGNORECASE)


SPELLED_MARKERS: Final = TextMarkers(
    re.compile("|".join(re.escape(spelling) for spelling in SPELLED)), _beginnings(tuple(SPELLED))
)

JOINTS: Final = TextMarkers(
    re.compile(r"\s{0,8}(?:assistant){1,3}(?=analysis|commentary|final| to=)", re.IGNORECASE),
    _beginnings(
        ("assistantanalysis", "assistantcommentary", "assistantfinal", "assistant to="), r"\s{0,8}(?:assistant){0,2}"
    ),
)
"""`<|end|><|start|>assistant<|channel|>final<|message|>` leaves `assistantfinal` when its markers are lost."""


def spelled_at_end(text: str) -> str | None:
    """The marker that a text ends in, spelled in characters."""
    begin = text.rfind("<|")
    return text[begin:] if begin >= 0 and text[begin:] in SPELLED else None
