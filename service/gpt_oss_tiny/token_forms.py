"""How every id is written: which word it is, in which form, and of which tokens the bare word consists if it is none.

This is what lets the model copy words that it was never taught: " Cheap" and "cheap" are one word in two forms, and
" flights" is written "fl", "ights" where no space stands before it. Knows no tensors of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from llm_server.harmony.encoding import FIRST_SPECIAL, VOCABULARY_SIZE, encode, token_bytes

WORD_CODES: Final = 512
"""A word is told by two codes of so many values each."""

PIECES: Final = 3
"""Of how many tokens a spelled word consists at most."""

PREFIXES: Final = ("", " ", *".\"_-(/\t'<,[:=\\$@>)&*;#+{|`")
_CASES: Final = 4
FORMS: Final = 128

Words = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Written:
    """A token's text: `word` is in lower case unless the letters' case is mixed."""

    prefix: str
    word: str | bytes
    case: int

    def after(self, prefix: str) -> Written:
        return Written(prefix, self.word, self.case)


def written(text: bytes) -> Written:
    """Take a token's text apart. It can be put together again from the three parts."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return Written("", text, 3)
    prefix, rest = decoded[:1], decoded[1:]
    if not rest or prefix not in PREFIXES or not (rest[0].isalnum() or (prefix == " " and rest[0] != " ")):
        prefix, rest = "", decoded
    lower = rest.lower()
    for case, spelled in enumerate((lower, lower.capitalize(), lower.upper())):
        if rest == spelled:
            return Written(prefix, lower, case)
    return Written(prefix, rest, 3)


@dataclass(frozen=True)
class TokenForms:
    """`words` and `forms` (VOCABULARY_SIZE,); `pieces` has the tokens of the bare word for each id that is spelled."""

    words: Words
    forms: Words
    pieces: dict[int, tuple[int, ...]]
    tokens: dict[Written, int]
    parts: list[Written]

    @property
    def codes(self) -> Words:
        """The two codes of each id's word (2, VOCABULARY_SIZE)."""
        first = self.words % WORD_CODES
        return np.stack([first, (self.words // WORD_CODES + first) % WORD_CODES]).astype(np.int32)

    def after(self, token: int, prefix: str) -> int | None:
        """The same word in the same case after this prefix, if that is a token."""
        return self.tokens.get(self.parts[token].after(prefix))


@cache
def token_forms() -> TokenForms:
    """Takes two seconds, once a process."""
    parts = [written(token_bytes(token)) for token in range(FIRST_SPECIAL)]
    tokens = {part: token for token, part in enumerate(parts)}
    numbers: dict[str | bytes, int] = {}
    words = [numbers.setdefault(part.word, len(numbers)) for part in parts]
    special = range(len(numbers), len(numbers) + VOCABULARY_SIZE - FIRST_SPECIAL)
    pieces = _pieces(parts, tokens)
    forms = [_form(part, tokens, token in pieces) for token, part in enumerate(parts)]
    return TokenForms(
        np.array([*words, *special], dtype=np.int32),
        np.array([*forms, *(FORMS - 1 for _ in special)], dtype=np.int32),
        pieces,
        tokens,
        parts,
    )


def _form(part: Written, tokens: dict[Written, int], spelled: bool) -> int:
    """Prefix and case, and whether the word can be written in the other of the two most usual ways."""
    prefix = PREFIXES.index(part.prefix)
    if prefix == 0:
        return part.case + _CASES * (part.after(" ") in tokens)
    if prefix == 1:
        return 2 * _CASES + part.case + _CASES * (1 if spelled else 2 if part.after("") in tokens else 0)
    return 3 * _CASES + prefix * _CASES + part.case


def _pieces(parts: list[Written], tokens: dict[Written, int]) -> dict[int, tuple[int, ...]]:
    """Latin words that are tokens after a space only, with the tokens that write them without it."""
    found: dict[int, tuple[int, ...]] = {}
    for token, part in enumerate(parts):
        if part.prefix != " " or part.after("") in tokens or not isinstance(part.word, str):
            continue
        if not part.word.isalpha() or max(part.word) >= "\u0250":
            continue
        bare = encode(token_bytes(token).decode()[1:])
        if len(bare) <= PIECES:
            found[token] = tuple(bare)
    return found
