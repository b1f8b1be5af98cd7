"""The vocabulary as llguidance wants it: the bytes of every ordinary token, and the special ones by name."""

from __future__ import annotations

import base64

from llguidance import LLTokenizer

from llm_server.harmony.encoding import (
    CALL,
    PIECE,
    RETURN,
    VOCABULARY_FOLDER,
    VOCABULARY_SIZE,
    special_tokens,
)


def guard_tokenizer() -> LLTokenizer:
    """The tokenizer that grammars are matched against. Takes more than a second and some 100 MB: make one a process."""
    lines = (VOCABULARY_FOLDER / "o200k_base.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(text): int(rank) for text, rank in (line.split() for line in lines)}
    return LLTokenizer.from_tiktoken(  # type: ignore[attr-defined, no-any-return]
        encoder=ranks,
        special_tokens=dict(special_tokens()),
        pattern=PIECE,
        eos_token=[RETURN, CALL],
        n_vocab=VOCABULARY_SIZE,
        slices=None,
    )
