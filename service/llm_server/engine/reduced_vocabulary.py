"""gpt-oss whose embeddings are put together from shared rows: how a model small enough to ship knows every real id.

The blocks are mlx_lm's own. What differs is both ends. An id's embedding is the sum of four rows of one table: two rows
that tell its word, one that tells how the word is written (after a space, with a capital), and one row of its own if it
has one. A word that is a single token only after a space also carries the tokens that write it without one. The output
multiplies by the same table, so every id has a finite logit, and lowers those of ids that have no row of their own and
whose word was not read. Knows nothing of text or of Harmony.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
import numpy as np
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.linear import Linear
from mlx_lm.models import gpt_oss
from mlx_lm.models.cache import KVCache

PIECES: Final = 3
"""Of how many tokens a spelled word consists at most."""

FORMS_READ: Final = 6
"""In how many forms a word that was read may be said: so many of its ids, the most frequent ones."""

UNREAD: Final = 6.0
"""By how much the logit is lowered of an id that has no row of its own, and whose word was not read."""

_DIGITS: Final = (65_536, 256, 1)
"""An id is kept as three digits below 256, which any floating-point type holds exactly."""


@dataclass
class ModelArgs(gpt_oss.ModelArgs):
    """How many ids have a row of their own, rows there are for either code of a word and for forms, ids are spelled."""

    reduced_vocabulary: int = 0
    word_codes: int = 0
    word_forms: int = 0
    spelled_words: int = 0


class Model(gpt_oss.Model):
    """gpt-oss with one table of rows for embedding and output.

    The table holds the ids' own rows, the rows of first codes, of second codes, of forms, and a row of zeros.
    `token_ids` (reduced_vocabulary,) names the ids of the own rows. `codes` (2, vocab_size) has for each id its form
    times `word_codes` plus its word's first code, and the second code. `pieces` (spelled_words, PIECES) has the ids
    that spell each of `spelled` (spelled_words,), padded with vocab_size.
    """

    args: ModelArgs

    def __init__(self, args: ModelArgs) -> None:
        super().__init__(args)
        rows = args.reduced_vocabulary + 2 * args.word_codes + args.word_forms + 1
        self.model.embed_tokens = Embedding(rows, args.hidden_size)
        del self.lm_head
        self.spelling_proj = Linear(PIECES * args.hidden_size, args.hidden_size, bias=False)
        self.token_ids = mx.arange(args.reduced_vocabulary, dtype=mx.int32)
        self.codes = mx.zeros((2, args.vocab_size), dtype=mx.uint16)
        self.spelled = mx.zeros((args.spelled_words,), dtype=mx.int32)
        self.pieces = mx.full((args.spelled_words, PIECES), args.vocab_size, dtype=mx.int32)
        self._index()

    def load_weights(self, file_or_weights: Any, strict: bool = True) -> Model:
        super().load_weights(file_or_weights, strict)
        self._index()
        return self

    def make_cache(self) -> list[Any]:
        """The layers' caches, and one in the shape of a layer's for the ids that were read."""
        return [*super().make_cache(), KVCache()]  # type: ignore[no-untyped-call]

    def __call__(self, inputs: mx.array, cache: Any = None) -> mx.array:
        """Logits (batch, length, vocab_size) for token ids (batch, length)."""
        read = self._read(inputs, cache)
        return self._logits(self.model(inputs, cache, input_embeddings=self.embed(inputs)), read)

    def embed(self, inputs: mx.array) -> mx.array:
        """Embeddings (batch, length, hidden_size) of token ids (batch, length)."""
        table = self.model.embed_tokens
        pieces = table(self._rows[self._spelling[inputs]][..., 1:]).sum(axis=-2)
        summed: mx.array = table(self._rows[inputs]).sum(axis=-2)
        return summed + self.spelling_proj(pieces.flatten(-2))

    def _read(self, inputs: mx.array, cache: Any) -> mx.array:
        """All ids so far (batch, length so far), the inputs included; vocab_size where the cache is padded."""
        if cache is None:
            return inputs
        weights = mx.array(_DIGITS, dtype=mx.int32)
        digits = ((inputs[..., None] + 1) // weights) % 256
        shape = (self.args.num_key_value_heads, self.args.head_dim)
        padded = mx.pad(digits, [(0, 0), (0, 0), (0, shape[0] * shape[1] - len(_DIGITS))])
        kept = padded.reshape(*inputs.shape, *shape).swapaxes(1, 2).astype(self.model.norm.weight.dtype)
        kept, _ = cache[-1].update_and_fetch(kept, kept)
        read = (kept[:, 0, :, : len(_DIGITS)].astype(mx.int32) * weights).sum(axis=-1)
        return mx.where(read > 0, read - 1, self.args.vocab_size)

    def _logits(self, hidden: mx.array, read: mx.array) -> mx.array:
        products = self.model.embed_tokens.as_linear(hidden)
        own, first, second, form, _ = mx.split(products, self._bounds, axis=-1)
        formed = (form[..., :, None] + first[..., None, :]).flatten(-2)
        full = (*hidden.shape[:-1], self.args.vocab_size)
        heads, tails = (mx.broadcast_to(codes, full) for codes in self._codes)
        low = mx.take_along_axis(formed, heads, axis=-1) + mx.take_along_axis(second - UNREAD, tails, axis=-1)
        said = self._said(read, hidden.shape[1])
        logits = mx.put_along_axis(low, said, mx.take_along_axis(low, said, axis=-1) + UNREAD, axis=-1)
        ids = mx.broadcast_to(self.token_ids, own.shape)
        return mx.put_along_axis(logits, ids, mx.take_along_axis(low, ids, axis=-1) + own + UNREAD, axis=-1)

    def _said(self, read: mx.array, length: int) -> mx.array:
        """Ids (batch, length, any) whose words were read up to each of the last `length` places."""
        before = mx.arange(read.shape[1]) <= mx.arange(read.shape[1] - length, read.shape[1])[:, None]
        seen = mx.where(before, read[:, None, :], self.args.vocab_size)
        return self._relatives[seen].flatten(-2)

    def _index(self) -> None:
        """What follows from the loaded arrays: the table's rows of each id, its pieces, and what it lets be said."""
        args, own = self.args, self.args.reduced_vocabulary
        self._check_ids()
        self._bounds = [own, own + args.word_codes, own + 2 * args.word_codes]
        self._bounds.append(self._bounds[-1] + args.word_forms)
        nothing = self._bounds[-1]
        heads, second = self.codes.astype(mx.int32)
        self._codes = (heads, second)
        rows = mx.full((args.vocab_size,), nothing, dtype=mx.int32)
        rows = mx.put_along_axis(rows, self.token_ids, mx.arange(own, dtype=mx.int32), axis=0)
        first = heads % max(args.word_codes, 1)
        form = heads // max(args.word_codes, 1)
        columns = [rows, own + first, self._bounds[1] + second, self._bounds[2] + form]
        no_rows = mx.full((1, len(columns)), nothing, dtype=mx.int32)
        self._rows = mx.concatenate([mx.stack(columns, axis=-1), no_rows])
        self._spelling = mx.full((args.vocab_size, PIECES), args.vocab_size, dtype=mx.int32)
        if args.spelled_words:
            self._spelling[self.spelled] = self.pieces
        relatives = mx.array(_relatives(np.array(first), np.array(second), np.array(self._spelling)))
        none = mx.broadcast_to(self.token_ids[0], (1, relatives.shape[1]))
        self._relatives = mx.concatenate([relatives, none])
        mx.eval(self._rows, self._spelling, self._codes, self._relatives)

    def _check_ids(self) -> None:
        """MLX checks no indices: what is outside of a table would be read from, or written to, other memory."""
        vocabulary, codes = self.args.vocab_size, max(self.args.word_codes, 1)
        heads, second = self.codes.astype(mx.int32)
        limits = (
            (self.token_ids, vocabulary),
            (self.spelled, vocabulary),
            (self.pieces, vocabulary + 1),
            (heads, codes * max(self.args.word_forms, 1)),
            (second, codes),
        )
        if any(mx.any((ids < 0) | (ids >= limit)).item() for ids, limit in limits):
            raise ValueError("an id or a code is outside of its table: the file is damaged")


def _relatives(first: Any, second: Any, spelling: Any) -> Any:
    """For each id the ids of the same word, and those of the first token that spells it, with its other tokens."""
    words = np.unique(first * (second.max() + 1) + second, return_inverse=True)[1]
    order = np.lexsort((np.arange(words.size), words))
    starts = np.searchsorted(words[order], words)
    places = np.minimum(starts[:, None] + np.arange(FORMS_READ), words.size - 1)
    forms = order[places]
    forms = np.where(words[forms] == words[:, None], forms, np.arange(words.size)[:, None])
    itself = np.arange(words.size)[:, None]
    pieces = np.where(spelling < words.size, spelling, itself)
    return np.concatenate([itself, forms, forms[pieces[:, 0]], pieces], axis=1).astype(np.int32)


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
