"""A model whose embeddings are put together from shared rows, with random weights: what its sums and its cache are."""

from __future__ import annotations

from typing import Any, Final

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import make_prompt_cache

from llm_server.engine.reduced_vocabulary import UNREAD, Model, ModelArgs

VOCABULARY: Final = 400
OWN: Final = 40
CODES: Final = 16
FORMS: Final = 3
WORDS: Final = 150
"""Ids 0 to 149 are words in form 0, 150 to 299 the same words in form 1, the rest words of their own in form 2."""

SPELLED: Final = 7
PIECES: Final = (20, 33)
UNREAD_ID: Final = 120


@pytest.fixture(scope="module")
def model() -> Any:
    config = {
        "model_type": "gpt_oss",
        "vocab_size": VOCABULARY,
        "reduced_vocabulary": OWN,
        "word_codes": CODES,
        "word_forms": FORMS,
        "spelled_words": 1,
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 64,
        "head_dim": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_local_experts": 4,
        "num_experts_per_tok": 4,
        "sliding_window": 16,
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 4096},
    }
    mx.random.seed(1)
    made = Model(ModelArgs.from_dict(config))  # type: ignore[no-untyped-call]
    rows = mx.random.normal(made.model.embed_tokens.weight.shape)
    made.model.embed_tokens.weight = rows * (mx.arange(rows.shape[0]) < rows.shape[0] - 1)[:, None]
    made.token_ids = mx.arange(300, 300 + OWN, dtype=mx.int32)
    words = np.concatenate([np.arange(WORDS), np.arange(WORDS), np.arange(WORDS, WORDS + 100)])
    forms = np.repeat([0, 1, 2], [WORDS, WORDS, 100])
    made.codes = mx.array(np.stack([forms * CODES + words % CODES, words // CODES]).astype(np.uint16))
    made.spelled = mx.array([SPELLED], dtype=mx.int32)
    made.pieces = mx.array([[*PIECES, VOCABULARY]], dtype=mx.int32)
    return made.load_weights([], strict=False)


def _rows(model: Any, token: int) -> list[int]:
    heads, second = (int(model.codes[n, token].item()) for n in range(2))
    own = [token - 300] if 300 <= token < 300 + OWN else []
    return [*own, OWN + heads % CODES, OWN + CODES + second, OWN + 2 * CODES + heads // CODES]


def _chunked(model: Any, tokens: mx.array, *lengths: int) -> mx.array:
    cache = make_prompt_cache(model)
    ends = np.cumsum(lengths).tolist()
    parts = [model(tokens[:, end - length : end], cache) for end, length in zip(ends, lengths, strict=True)]
    return mx.concatenate(parts, axis=1)


@pytest.mark.parametrize("token", [3, 153, 305, 399])
def test_an_embedding_is_the_sum_of_its_rows(model: Any, token: int) -> None:
    table = model.model.embed_tokens.weight
    expected = sum(table[row] for row in _rows(model, token))
    assert mx.allclose(model.embed(mx.array([[token]]))[0, 0], expected, atol=1e-5).item()


def test_a_spelled_word_carries_its_pieces(model: Any) -> None:
    table, hidden = model.model.embed_tokens.weight, 64
    own = sum(table[row] for row in _rows(model, SPELLED))
    pieces = [sum(table[row] for row in _rows(model, piece)) for piece in PIECES]
    carried = mx.concatenate([*pieces, mx.zeros(hidden)]) @ model.spelling_proj.weight.T
    assert mx.allclose(model.embed(mx.array([[SPELLED]]))[0, 0], own + carried, atol=1e-4).item()


def test_the_output_multiplies_by_the_same_rows_and_lowers_what_was_not_read(model: Any) -> None:
    tokens = mx.array([[3, 305, SPELLED]])
    logits = model(tokens)[0, -1]
    hidden = model.model(tokens, None, input_embeddings=model.embed(tokens))[0, -1]
    products = model.model.embed_tokens.as_linear(hidden)
    read = {3, 153, 305, SPELLED, SPELLED + WORDS, *PIECES, PIECES[0] + WORDS}
    for token in (*read, *range(300, 300 + OWN), PIECES[1] + WORDS, UNREAD_ID, 399):
        known = token in read or 300 <= token < 300 + OWN
        expected = sum(products[row] for row in _rows(model, token)) - (0 if known else UNREAD)
        assert logits[token].item() == pytest.approx(expected.item(), abs=1e-3), token


@pytest.mark.parametrize(
    ("table", "value"),
    [("token_ids", VOCABULARY), ("spelled", -1), ("pieces", VOCABULARY + 1), ("codes", 2**16 - 1)],
)
def test_an_index_outside_of_its_table_is_refused(model: Any, table: str, value: int) -> None:
    before = getattr(model, table)
    with pytest.raises(ValueError, match="damaged"):
        model.load_weights([(table, mx.full(before.shape, value, dtype=before.dtype))], strict=False)
    model.load_weights([(table, before)], strict=False)


@pytest.mark.parametrize("lengths", [(30,), (1,) * 30, (7, 16, 2, 1, 4)])
def test_logits_do_not_depend_on_how_the_text_is_cut(model: Any, lengths: tuple[int, ...]) -> None:
    tokens = mx.random.randint(0, VOCABULARY, (1, 30), key=mx.random.key(2))
    assert mx.allclose(_chunked(model, tokens, *lengths), model(tokens), atol=1e-3).item()


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_the_ids_read_are_kept_exactly_in_half_precision(model: Any, dtype: mx.Dtype) -> None:
    large = Model(ModelArgs.from_dict(vars(model.args) | {"vocab_size": 201_088}))  # type: ignore[no-untyped-call]
    large.set_dtype(dtype)
    cache = make_prompt_cache(large)
    tokens = mx.array([[0, 1, 255, 256, 65_535, 65_536, 199_999, 201_087]])
    assert large._read(tokens[:, :3], cache).tolist() == tokens[:, :3].tolist()
    assert large._read(tokens[:, 3:], cache).tolist() == tokens.tolist()
