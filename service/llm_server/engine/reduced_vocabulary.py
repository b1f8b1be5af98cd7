"""gpt-oss with weights for a part of the vocabulary only: how a model small enough to ship keeps every real token id.

The blocks are mlx_lm's own. What differs is both ends: an id without weights is embedded by one learned "unknown" row,
and gets the same low logit at the output, which is as wide as the full vocabulary. Knows nothing of text or of Harmony.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
from mlx.nn.layers.embedding import Embedding
from mlx_lm.models import gpt_oss

ABSENT_LOGIT: Final = -50.0
"""Logit of an id without weights: never sampled, yet finite, so that a grammar or a logit bias can still force it."""


@dataclass
class ModelArgs(gpt_oss.ModelArgs):
    """`reduced_vocabulary` counts the ids with weights; their embeddings are followed by the unknown row."""

    reduced_vocabulary: int = 0


class Model(gpt_oss.Model):
    """gpt-oss whose `token_ids` (reduced_vocabulary,) names the id of each row; output and embedding share the rows."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__(args)
        self.model.embed_tokens = Embedding(args.reduced_vocabulary + 1, args.hidden_size)
        del self.lm_head
        self.token_ids = mx.arange(args.reduced_vocabulary, dtype=mx.int32)
        self._rows = _rows(self.token_ids, args.vocab_size)

    def load_weights(self, file_or_weights: Any, strict: bool = True) -> Model:
        super().load_weights(file_or_weights, strict)
        self._rows = _rows(self.token_ids, self.args.vocab_size)
        mx.eval(self._rows)
        return self

    def __call__(self, inputs: mx.array, cache: Any = None) -> mx.array:
        """Logits (batch, length, vocab_size) for token ids (batch, length)."""
        hidden = self.model(self._rows[inputs], cache)
        known = self.model.embed_tokens.as_linear(hidden)[..., :-1]
        full = mx.full((*known.shape[:-1], self.args.vocab_size), ABSENT_LOGIT, dtype=known.dtype)
        return mx.put_along_axis(full, mx.broadcast_to(self.token_ids, known.shape), known, axis=-1)


def model_classes(config: dict[str, Any]) -> tuple[type[Any], type[Any]]:
    """The classes of a gpt-oss `config.json`, for `mlx_lm.utils.load_model(get_model_classes=…)`.

    Raises:
        ValueError: the configuration is of another kind of model.
    """
    if config.get("model_type") != "gpt_oss":
        raise ValueError(f"The model is of type {config.get('model_type')!r}, not 'gpt_oss'")
    if config.get("reduced_vocabulary"):
        return Model, ModelArgs
    return gpt_oss.Model, gpt_oss.ModelArgs


def _rows(token_ids: mx.array, vocabulary_size: int) -> mx.array:
    """Embedding row of each id (vocabulary_size,); ids without weights share the last one."""
    rows = mx.full((vocabulary_size,), token_ids.size, dtype=mx.int32)
    return mx.put_along_axis(rows, token_ids, mx.arange(token_ids.size, dtype=mx.int32), axis=0)
