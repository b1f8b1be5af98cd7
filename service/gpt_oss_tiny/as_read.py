"""Replies are written in the tokens in which their words were read, so that copying is the same work for any word.

A word's usual tokens depend on what stands before it: " zucchini" is " zuc", "chini", but "zucchini" is "z", "uc",
"chini". A model that never met the word can not know the second from the first. It can say the first token without its
space and then go on as it read, which is the same text. So that is what it is taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from gpt_oss_tiny.scene import Document
from gpt_oss_tiny.token_forms import token_forms
from llm_server.harmony.encoding import FIRST_SPECIAL, token_bytes


def as_read(document: Document) -> Document:
    """The same text, with the words of its learned part in the tokens in which they occur in the rest."""
    tokens, learned = document.tokens, document.learned
    read: dict[bytes, list[tuple[int, ...]]] = {}
    written: list[int] = []
    kept: list[bool] = []
    for start, end in _words(tokens):
        word = tuple(tokens[start:end])
        text = _bare(word)
        if text and learned[start] and text in read:
            said = _said(word, read[text])
        else:
            said = word
            if text:
                read.setdefault(text, []).append(word)
        written += said
        kept += [learned[start]] * len(said)
    return Document(written, kept)


def respelled(token: int, prefix: str) -> tuple[int, ...] | None:
    """Tokens of the same word after this prefix, as far as they follow from the token's embedding."""
    forms = token_forms()
    part = forms.parts[token]
    if part.prefix == prefix:
        return (token,)
    direct = forms.after(token, prefix)
    if direct is not None:
        return (direct,)
    bare = respelled(token, "") if prefix else forms.pieces.get(token)
    if not prefix or bare is None:
        return bare
    return (_lone(prefix), *bare)


def _said(word: tuple[int, ...], occurrences: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The word as its last occurrence gives it, but in its own tokens if any occurrence gives those."""
    prefix = token_forms().parts[word[0]].prefix
    copies = [(*first, *read[1:]) for read in occurrences if (first := respelled(read[0], prefix)) is not None]
    return word if word in copies or not copies else copies[-1]


def _words(tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Where each run of letters begins and ends; any other token is a run by itself."""
    runs: list[tuple[int, int]] = []
    start = 0
    for place in range(1, len(tokens)):
        if not (_shape(tokens[place]) & _CONTINUES and _shape(tokens[place - 1]) & _ENDS_IN_A_LETTER):
            runs.append((start, place))
            start = place
    runs.append((start, len(tokens)))
    return runs


_CONTINUES, _ENDS_IN_A_LETTER, _HAS_A_WORD = 1, 2, 4


@cache
def _shape(token: int) -> int:
    if token >= FIRST_SPECIAL:
        return 0
    part = token_forms().parts[token]
    if not isinstance(part.word, str) or not part.word[0].isalpha():
        return 0
    return _HAS_A_WORD | (_CONTINUES * (part.prefix == "")) | (_ENDS_IN_A_LETTER * part.word[-1].isalpha())


@cache
def _lone(prefix: str) -> int:
    return next(token for token in range(FIRST_SPECIAL) if token_bytes(token) == prefix.encode())


@cache
def _text(token: int) -> bytes:
    return token_bytes(token)


@cache
def _first(token: int) -> bytes:
    """The text of a token that begins a run of letters, without what stands before them; nothing for other tokens."""
    if not _shape(token) & _HAS_A_WORD:
        return b""
    return _text(token)[len(token_forms().parts[token].prefix.encode()) :]


def _bare(word: tuple[int, ...]) -> bytes:
    """The text of a run of letters without what stands before it; nothing for other tokens."""
    first = _first(word[0])
    return first + b"".join(map(_text, word[1:])) if first and len(word) > 1 else first
