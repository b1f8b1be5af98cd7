"""What lets the embedded model copy any word: forms of tokens, replies in the tokens that were read, exercises."""

from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest

from gpt_oss_tiny.as_read import as_read, respelled
from gpt_oss_tiny.batches import IGNORED, OTHERS, ROW_LENGTH, Settings, batches
from gpt_oss_tiny.exercises import exercise
from gpt_oss_tiny.scene import Document
from gpt_oss_tiny.token_forms import FORMS, WORD_CODES, token_forms, written
from llm_server.harmony.encoding import FIRST_SPECIAL, RETURN, VOCABULARY_SIZE, encode, harmony_encoding, token_bytes


def _text(tokens: list[int]) -> str:
    return str(harmony_encoding().decode(tokens))


def _one(text: str) -> int:
    (token,) = encode(text)
    return token


def test_words_and_forms_tell_every_id_apart() -> None:
    forms = token_forms()
    first, second = forms.codes
    assert max(first.max(), second.max()) < WORD_CODES
    assert forms.forms.max() < FORMS
    told = (first.astype(np.int64) * WORD_CODES + second) * FORMS + forms.forms
    assert np.unique(told).size == VOCABULARY_SIZE


@pytest.mark.parametrize(
    ("texts", "alike"),
    [
        ((" cheap", "cheap", " Cheap"), True),
        (("get", "_get", " GET", "/get"), True),
        ((" cheap", " dear"), False),
        (("getItem", "getitem"), False),
    ],
)
def test_a_word_is_one_word_in_all_its_forms(texts: tuple[str, ...], alike: bool) -> None:
    assert (len({written(text.encode()).word for text in texts}) == 1) is alike


def test_a_token_can_be_put_together_from_its_parts() -> None:
    for token in range(0, FIRST_SPECIAL, 7):
        part = written(token_bytes(token))
        if isinstance(part.word, bytes):
            assert part.word == token_bytes(token)
        else:
            shown = (part.word, part.word.capitalize(), part.word.upper(), part.word)[part.case]
            assert (part.prefix + shown).encode() == token_bytes(token)


@pytest.mark.parametrize(
    ("token", "prefix", "said"),
    [
        (" cheap", "", ["cheap"]),
        ("cheap", " ", [" cheap"]),
        (" flights", "", ["fl", "ights"]),
        ("\u00e7on", " ", [" ", "\u00e7on"]),
    ],
)
def test_respelling_follows_from_the_embedding_alone(token: str, prefix: str, said: list[str]) -> None:
    assert [token_bytes(t).decode() for t in respelled(_one(token), prefix) or ()] == said


@pytest.mark.parametrize(
    ("read", "reply", "tokens"),
    [
        ("Look for zucchini", '"zucchini"', ['"', "z", "uc", "chini", '"']),
        ('"Lisbon"', "It is Lisbon", ["It", " is", " Lis", "bon"]),
        ("a cheap flight", "cheap", ["cheap"]),
        ("nothing of it", " Lisbon", [" Lisbon"]),
    ],
)
def test_a_reply_has_the_tokens_that_were_read(read: str, reply: str, tokens: list[str]) -> None:
    prompt, said = encode(read), encode(reply)
    document = as_read(Document([*prompt, RETURN, *said], [False] * (len(prompt) + 1) + [True] * len(said)))
    assert [token_bytes(t).decode() for t in document.tokens[len(prompt) + 1 :]] == tokens
    assert document.learned.count(True) == len(tokens)


def test_exercises_keep_their_text_and_can_be_answered_from_what_was_read() -> None:
    r = random.Random(1)
    for _ in range(200):
        document = exercise(r)
        respelt = as_read(document)
        assert _text(respelt.tokens) == _text(document.tokens)
        assert len(respelt.learned) == len(respelt.tokens)
        assert respelt.tokens[-1] == RETURN


def test_a_batch_counts_its_ids_in_its_own_vocabulary() -> None:
    own = tuple(range(0, FIRST_SPECIAL, 2))
    (batch,) = islice(batches(Settings(own, rows=1, exercises=1.0), seed=3), 1)
    vocabulary = np.concatenate([np.array(own), batch.others])
    assert batch.rows.shape == (1, ROW_LENGTH)
    assert np.unique(vocabulary).size == len(own) + OTHERS
    learned = batch.labels != IGNORED
    assert learned.sum() > ROW_LENGTH // 8
    following = vocabulary[batch.rows.ravel()[batch.places[learned] + 1]]
    assert (vocabulary[batch.labels[learned]] == following).all()
    assert (batch.offsets[np.isin(batch.others, vocabulary[batch.rows])] == 0).all()
    assert batch.offsets.max() > 1


def test_batches_with_more_ids_than_they_can_count_are_refused() -> None:
    settings = Settings(tuple(range(0, 8000, 2)), rows=1, exercises=1.0)
    with pytest.raises(ValueError, match="take fewer rows or exercises"):
        next(batches(settings, seed=3))
