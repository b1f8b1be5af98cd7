"""Exercises of copying: random words of the whole vocabulary, read in one form and to be said in another.

Scenes teach what to copy and where to; these teach copying itself, which would otherwise appear late in training, and
for the words of the corpus only.
"""

from __future__ import annotations

import random
from functools import cache

from gpt_oss_tiny.as_read import respelled
from gpt_oss_tiny.scene import Document
from gpt_oss_tiny.token_forms import token_forms
from llm_server.harmony.encoding import END, FIRST_SPECIAL, MESSAGE, RETURN, START, encode, token_bytes

Word = tuple[int, ...]


def exercise(r: random.Random) -> Document:
    kind = r.random()
    if kind < 0.3:
        return _fields(r)
    return _list(r) if kind < 0.6 else _back(r) if kind < 0.8 else _repeat(r)


def _list(r: random.Random) -> Document:
    """Words of a sentence as the strings of a JSON array."""
    words = _some(r, 2, 10)
    reply = [*encode('["'), *_bare(words[0])]
    for word in words[1:]:
        reply += [*encode('", "'), *_bare(word)]
    return _asked(r, _flat(words), [*reply, *encode('"]')])


def _back(r: random.Random) -> Document:
    """The strings of a JSON object, of several words each, in a sentence."""
    fields = _some_fields(r)
    asked = [*encode("The"), *_joined(fields, " is", " and the")]
    return _asked(r, _object(fields), asked)


def _fields(r: random.Random) -> Document:
    """Some of the fields that a text tells, as a JSON object."""
    fields = _some_fields(r)
    wanted = fields if r.random() < 0.4 else r.sample(fields, r.randint(1, len(fields)))
    told = _joined(fields, *r.choice([(" is", " and"), (":", ","), (" =", ","), ("", ","), (" to", " and")]))
    question = [END, START, *encode("user"), MESSAGE, *_flat([name for name, _ in wanted])]
    return _asked(r, [*told, *question], _object(wanted))


def _repeat(r: random.Random) -> Document:
    """A text again, from a place that is asked for or from its beginning."""
    words = _some(r, 2, 16)
    text = [*_bare(words[0]), *_flat(words[1:])] if r.random() < 0.7 else _flat(words)
    around = encode('"') if r.random() < 0.5 else []
    return _asked(r, [*around, *text, *around], [*_bare(words[0]), *_flat(words[1:])])


def _some_fields(r: random.Random) -> list[tuple[Word, list[Word]]]:
    return [(name, _some(r, 1, 4)) for name in _some(r, 1, 4)]


def _joined(fields: list[tuple[Word, list[Word]]], between: str, after: str) -> list[int]:
    tokens: list[int] = []
    for number, (name, value) in enumerate(fields):
        tokens += [*(encode(after) if number else ()), *name, *encode(between), *_flat(value)]
    return tokens


def _object(fields: list[tuple[Word, list[Word]]]) -> list[int]:
    tokens: list[int] = []
    for number, (name, value) in enumerate(fields):
        opening = encode('", "') if number else encode('{"')
        tokens += [*opening, *_bare(name), *encode('": "'), *_bare(value[0]), *_flat(value[1:])]
    return [*tokens, *encode('"}')]


def _asked(r: random.Random, told: list[int], reply: list[int]) -> Document:
    user = [START, *encode("user"), MESSAGE]
    before = [*user, *_flat(_some(r, 1, 20)), END] if r.random() < 0.4 else []
    frame = [*before, *user, *told, END, START, *encode("assistant"), MESSAGE]
    return Document([*frame, *reply, RETURN], [False] * len(frame) + [True] * (len(reply) + 1))


def _some(r: random.Random, fewest: int, most: int) -> list[Word]:
    return [_word(r) for _ in range(r.randint(fewest, most))]


def _flat(words: list[Word]) -> list[int]:
    return [token for word in words for token in word]


def _bare(word: Word) -> Word:
    first = respelled(word[0], "")
    return word if first is None else (*first, *word[1:])


def _word(r: random.Random) -> Word:
    """A word as it stands in a sentence, with its space."""
    spaced, spelled, continuations = _choices()
    kind = r.random()
    if kind < 0.3:
        return (r.choice(spaced),)
    if kind < 0.6:
        return (r.choice(spelled),)
    if kind < 0.75:
        return (r.choice(spaced), *(r.choice(continuations) for _ in range(r.randint(1, 2))))
    if kind < 0.9:
        # The lower the id, the more frequent the token.
        return (spaced[int(len(spaced) * r.random() ** 3)],)
    return (r.randrange(FIRST_SPECIAL),)


@cache
def _choices() -> tuple[list[int], list[int], list[int]]:
    """Tokens with a space before them, those of them that are spelled without it, and tokens that continue a word."""
    forms = token_forms()
    words = [t for t in range(FIRST_SPECIAL) if isinstance(w := forms.parts[t].word, str) and w.isalpha()]
    spaced = [token for token in words if forms.parts[token].prefix == " "]
    continuations = [t for t in words if token_bytes(t).isalpha() and token_bytes(t).islower()]
    return spaced, list(forms.pieces), continuations
