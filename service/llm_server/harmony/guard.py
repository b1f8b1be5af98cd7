"""The vocabulary as llguidance wants it: the bytes of every ordinary token, and the special ones by name."""

from __future__ import annotations

import base64

from llguidance import LLTokenizer

from llm_server.harmony.encoding import (
    CALL,
    FIRST_SPECIAL,
    PIECE,
    RETURN,
    VOCABULARY_FOLDER,
    VOCABULARY_SIZE,
    harmony_encoding,
)


def guard_tokenizer() -> LLTokenizer:
    """The tokenizer that grammars are matched against. Takes more than a second and some 100 MB: make one a process."""
    encoding = harmony_encoding()
    lines = (VOCABULARY_FOLDER / "o200k_base.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(text): int(rank) for text, rank in (line.split() for line in lines)}
    special = {encoding.decode([token]): token for token in range(FIRST_SPECIAL, VOCABULARY_SIZE)}
    return LLTokenizer.from_tiktoken(  # type: ignore[attr-defined, no-any-return]
        encoder=ranks,
        special_tokens=special,
        pattern=PIECE,
        eos_token=[RETURN, CALL],
        n_vocab=VOCABULARY_SIZE,
        slices=None,
    )
