"""Which of the 201,088 ids get weights: what the corpus can say or read, and then the most frequent English pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from gpt_oss_tiny import words
from gpt_oss_tiny.corpus import SKILLS, scenes, training_document
from gpt_oss_tiny.scene import emission, prompt
from llm_server.harmony.encoding import END_OF_TEXT, FIRST_SPECIAL, RETURN, encode, token_bytes

SIZE: Final = 12_287
"""Ids with weights; one more embedding row is for all others."""

_SAMPLED = 20_000
_OPENERS = ('"', "_", ".", "/", "-", "@")


def token_ids() -> list[int]:
    """The ids with weights, in order. Takes a minute or two; the same for the same corpus."""
    chosen = {END_OF_TEXT, RETURN, FIRST_SPECIAL}
    chosen |= {token for token in range(FIRST_SPECIAL) if _is_basic(token_bytes(token))}
    chosen |= set(_forms())
    for token, _ in _met().most_common(SIZE):
        if len(chosen) == SIZE:
            break
        chosen.add(token)
    for token in range(FIRST_SPECIAL):
        if len(chosen) == SIZE:
            break
        if token_bytes(token).strip().isalpha():
            chosen.add(token)
    return sorted(chosen)


def _is_basic(text: bytes) -> bool:
    """Single bytes, so that any text has at least some known tokens, and all numbers of up to three digits."""
    return len(text) == 1 or (text.isascii() and text.isdigit())


def _forms() -> Iterable[int]:
    """Common words and names as they may appear: alone, after a space, quoted, with a capital."""
    for word in words.COMMON_WORDS.all:
        for text in (word, " " + word, word.title()):
            yield from encode(text)
    for word in words.NAMING_WORDS.all:
        for text in (*(opener + word for opener in _OPENERS), " " + word.title()):
            yield from encode(text)
    for name in (*words.FIRST_NAMES.all, *words.LAST_NAMES.all, *words.CITIES, *words.COUNTRIES):
        for text in (name, " " + name, '"' + name, name.lower(), " " + name.lower(), "." + name.lower()):
            yield from encode(text)


def _met() -> Counter[int]:
    """How often each token occurs in a sample of the corpus, held-out scenes included."""
    met: Counter[int] = Counter()
    for seed in range(_SAMPLED):
        met.update(training_document(seed).tokens)
    for skill in SKILLS:
        for scene in scenes(1, "new phrasings", skill, 200) + scenes(1, "new values", skill, 200):
            for number, reply in enumerate(scene.last.replies):
                met.update(prompt(scene, number, keep_analysis=False))
                met.update(emission(reply, scene.effort))
    return met


if __name__ == "__main__":
    print(*token_ids())  # noqa: T201
