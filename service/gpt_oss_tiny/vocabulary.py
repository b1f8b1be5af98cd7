"""Which of the 201,088 ids get rows of their own: what the corpus says or reads most often.

All others are told by their word's codes and by their form alone, which is enough to copy them but not to know them. So
what the model has to say without having read it counts most.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from gpt_oss_tiny.as_read import as_read
from gpt_oss_tiny.corpus import SKILLS, scenes, training_document
from gpt_oss_tiny.scene import Document, emission, prompt
from gpt_oss_tiny.token_forms import token_forms
from llm_server.harmony.encoding import END_OF_TEXT, FIRST_SPECIAL, RETURN, token_bytes

SIZE: Final = 8_192

_SAMPLED = 20_000
_KNOWN = 50
"""For how many tokens one counts that is to be said but was not read."""


def token_ids() -> list[int]:
    """The ids with rows of their own, in order. Takes a minute or two; the same for the same corpus."""
    chosen = {END_OF_TEXT, RETURN, FIRST_SPECIAL}
    chosen |= {token for token in range(FIRST_SPECIAL) if _is_basic(token_bytes(token))}
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
    """Single bytes, and all numbers of up to three digits."""
    return len(text) == 1 or (text.isascii() and text.isdigit())


def _met() -> Counter[int]:
    """How often each token occurs in a sample of the corpus, held-out scenes included."""
    met: Counter[int] = Counter()
    for seed in range(_SAMPLED):
        document = as_read(training_document(seed))
        met.update(document.tokens)
        met.update({token: _KNOWN for token in _known(document)})
    for skill in SKILLS:
        for scene in scenes(1, "new phrasings", skill, 200) + scenes(1, "new values", skill, 200):
            for number, reply in enumerate(scene.last.replies):
                met.update(prompt(scene, number, keep_analysis=False))
                met.update(emission(reply, scene.effort))
    return met


def _known(document: Document) -> set[int]:
    """Tokens that are learned where nothing before them has the same word, or is spelled with it."""
    forms = token_forms()
    read: set[int] = set()
    known: set[int] = set()
    for token, learned in zip(document.tokens, document.learned, strict=True):
        if learned and int(forms.words[token]) not in read:
            known.add(token)
        read.update(int(forms.words[each]) for each in (token, *forms.pieces.get(token, ())))
    return known


if __name__ == "__main__":
    print(*token_ids())  # noqa: T201
