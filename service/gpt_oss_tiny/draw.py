"""The random source of the corpus, and the rule that says what training never sees.

Nothing here knows what a skill is. Held out are: one phrasing in six and some variants of the others (of those whose
words others have, too), one common word in twenty, and one scene in twenty by the hash of its last question and answer.
The rule is a hash of the text itself, so it needs no list to be kept and can be told from any text, at any time.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from typing import Literal, TypeVar

Split = Literal["train", "new values", "new phrasings"]
Item = TypeVar("Item")

PHRASINGS_HELD_OUT = 6
FEWEST_PHRASINGS = 7
ALWAYS_TAUGHT = 3
USUAL = 0.1
"""How often one of the first ways of saying a thing is drawn, besides its chance among all of them."""

WORDS_HELD_OUT = 20
SCENES_HELD_OUT = 20


def held_out(text: str, one_in: int) -> bool:
    """Whether this text is among those that training never sees."""
    return zlib.crc32(text.encode()) % one_in == 0


class Phrasings:
    """Ways of saying one thing, some of them held out: new arrangements of words that other ways have.

    `[a|b]` in a text stands for a or b: "[Get|Find] it" is two ways. Of a way that is held out all variants are; of one
    that is taught, one variant in twelve is held out. A short list has none, since what it holds can not be told from
    the rest, and the first ones, which are the most usual, are always taught.
    """

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        ways = {variant: text for text in texts for variant in _variants(text)}
        several = list(ways)[ALWAYS_TAUGHT:] if len(ways) >= FEWEST_PHRASINGS else ()
        candidates = {way for way in several if _is_held_out(way, ways[way])}
        known = {word for way in ways if way not in candidates for word in _words(way)}
        self.held_out = tuple(way for way in ways if way in candidates and _words(way) <= known)
        kept = frozenset(self.held_out)
        self.train = tuple(way for way in ways if way not in kept)


def _is_held_out(way: str, text: str) -> bool:
    return held_out(text, PHRASINGS_HELD_OUT) or held_out(way, 2 * PHRASINGS_HELD_OUT)


def _variants(text: str) -> list[str]:
    """Every text that its `[a|b]` stand for, in order."""
    start, bar, rest = text.partition("[")
    if not bar:
        return [text]
    choices, _, end = rest.partition("]")
    return [start + choice + tail for choice in choices.split("|") for tail in _variants(end)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w']+", text.lower()))


class Words:
    """Words of which some appear in evaluation only."""

    def __init__(self, words: Sequence[str]) -> None:
        self.train = tuple(w for w in words if not held_out(w, WORDS_HELD_OUT))
        self.all = tuple(words)


class Draw:
    """Random choices for one scene.

    `met_held_out` tells whether a held-out phrasing was among them, `for_an_agent` that the scene will stand in an
    agent's frame, and so among more tools.
    """

    def __init__(self, seed: int, split: Split = "train") -> None:
        self.random = random.Random(seed)
        self.split = split
        self.met_held_out = False
        self.for_an_agent = False

    def phrasing(self, phrasings: Phrasings) -> str:
        if self.split == "new phrasings" and phrasings.held_out:
            self.met_held_out = True
            return self.pick(phrasings.held_out)
        return self.pick(phrasings.train[:ALWAYS_TAUGHT] if self.chance(USUAL) else phrasings.train)

    def word(self, words: Words) -> str:
        return self.pick(words.train if self.split == "train" else words.all)

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self.random.random() * len(items))]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        return self.random.sample(items, count)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.random.random() * (high - low + 1))

    def wants(self, key: str) -> bool:
        """Whether a scene with this key belongs to the split that is drawn."""
        if self.split == "new phrasings":
            return self.met_held_out
        return held_out(key, SCENES_HELD_OUT) == (self.split == "new values")
