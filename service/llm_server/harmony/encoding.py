"""The Harmony encoding, loaded once and offline.

`openai_harmony` fetches its vocabulary at first use unless told where it lies; it ships with this package and is
checked before the library may read it. Nothing here knows conversations or events.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from openai_harmony import HarmonyEncoding, HarmonyEncodingName, load_harmony_encoding

VOCABULARY_SIZE: Final = 201_088
VOCABULARY_FOLDER: Final = Path(__file__).with_name("vocabulary")
VOCABULARY_SHA256: Final = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"

START: Final = 200_006
END: Final = 200_007
MESSAGE: Final = 200_008
CHANNEL: Final = 200_005
CONSTRAIN: Final = 200_003
CALL: Final = 200_012
RETURN: Final = 200_002
END_OF_TEXT: Final = 199_999

FIRST_SPECIAL: Final = 199_998
"""Every id from here on is a special token; every id below is ordinary text."""

STOP_TOKENS: Final = (RETURN, CALL, END_OF_TEXT)
"""What ends the model's turn. `<|end|>` does not: it ends one message of a turn."""


PIECE: Final = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
"""How o200k_base cuts text into pieces (https://github.com/openai/tiktoken, `tiktoken_ext/openai_public.py`)."""

LONGEST_SLICE: Final = 1_024

_AFTER_A_WORD: Final = re.compile(r"(?s:.*)[^\W\d_](?=[\s.,;:!?()\[\]{}\"。、，！？])")  # noqa: RUF001


class VocabularyError(RuntimeError):
    """The vocabulary file is missing or is not the one that gpt-oss was trained with."""


@cache
def harmony_encoding() -> HarmonyEncoding:
    """Load the encoding (about 0.3 s, once a process).

    Raises:
        VocabularyError: the vocabulary that ships with the package is absent or altered.
    """
    _verify(VOCABULARY_FOLDER / "o200k_base.tiktoken")
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(VOCABULARY_FOLDER)
    return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)


@cache
def token_bytes(token: int) -> bytes:
    """The bytes of one ordinary token; a token may end in the middle of a UTF-8 character."""
    return bytes_of([token])


def bytes_of(tokens: Sequence[int]) -> bytes:
    """The bytes of any tokens, special ones spelled."""
    return bytes(harmony_encoding()._inner.decode_bytes(list(tokens)))


def encode(text: str) -> list[int]:
    """Encode as ordinary text: nothing in it can become a special token.

    In slices, because the library's time is quadratic in an unbroken run (two minutes for 500,000 underscores) and a
    longer one overflows its stack. A slice ends after a word, where the tokeniser's pattern always ends a piece, so
    the tokens are those of the whole text; only a run of over 1,024 characters without such a place is cut anyhow.
    """
    tokens: list[int] = []
    for piece in _slices(text.encode("utf-8", "replace").decode()):
        tokens += harmony_encoding().encode(piece, disallowed_special=())
    return tokens


@cache
def special_tokens() -> Mapping[str, int]:
    """Every special token by its name, `<|start|>` or `<|reserved_200013|>`."""
    return {str(harmony_encoding().decode([token])): token for token in range(FIRST_SPECIAL, VOCABULARY_SIZE)}


def is_special(token: int) -> bool:
    return token >= FIRST_SPECIAL


def _slices(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = start + LONGEST_SLICE
        if end < len(text) and (place := _AFTER_A_WORD.match(text, start, end)):
            end = place.end()
        yield text[start:end]
        start = end


def _verify(path: Path) -> None:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise VocabularyError(f"The vocabulary {path} cannot be read: {error.strerror}") from error
    if digest != VOCABULARY_SHA256:
        raise VocabularyError(f"The vocabulary {path} is damaged: its sha256 is {digest}, not {VOCABULARY_SHA256}")
