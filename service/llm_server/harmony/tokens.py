"""Text as tokens and tokens as text, for callers who think in them. Knows no conversation."""

from __future__ import annotations

from collections.abc import Sequence

from llm_server.harmony.encoding import END_OF_TEXT, VOCABULARY_SIZE, encode, harmony_encoding, is_special, token_bytes

BEGINNING_OF_TEXT = END_OF_TEXT
"""What separated the documents that the model learnt from: what follows it begins a new one."""


def tokens_of(text: str) -> list[int]:
    """The text as ordinary tokens: a special token that it spells is text like any other."""
    return encode(text)


def text_of(tokens: Sequence[int]) -> str:
    """The text of any tokens, special ones spelled. U+FFFD stands for what is no whole character."""
    return str(harmony_encoding().decode(tokens))


def spelling(token: int) -> str:
    """One token by itself."""
    return text_of([token]) if is_special(token) else token_bytes(token).decode(errors="replace")


def is_token(number: int) -> bool:
    return 0 <= number < VOCABULARY_SIZE
