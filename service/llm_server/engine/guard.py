"""Guarded decoding: which tokens a row may choose next, by the grammar of its request.

Grammars are compiled on a thread of their own, so a large one holds up nobody's decode step. The mask is a plain array
that works on every backend (llguidance's own kernel is for Metal alone), and it is computed on the host while the
device runs the forward pass. Knows grammars and token ids; what the grammars describe is their author's business.
"""

# mypy: allow-untyped-calls
# (mx.async_eval has no annotations)

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, cast

import mlx.core as mx
import numpy as np
from llguidance import LLMatcher, LLTokenizer

_GRAMMARS: Final = 64
_MASKS: Final = 64
"""Most masks come again and again: free text has one, and so has each place of a header."""

_log = logging.getLogger(__name__)


def _by_byte(minus_infinity: np.unsignedinteger[Any]) -> np.ndarray[Any, Any]:
    """(256, 8): the eight numbers, as bits, that each byte of a bit mask stands for."""
    allowed = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return np.where(allowed, minus_infinity.dtype.type(0), minus_infinity)


_TABLES: Final = {
    mx.float32: _by_byte(np.uint32(0xFF80_0000)),
    mx.bfloat16: _by_byte(np.uint16(0xFF80)),
    mx.float16: _by_byte(np.uint16(0xFC00)),
}
"""Looking whole bytes up takes a tenth of the time that unpacking and selecting takes."""


class Masks:
    """Bit masks as what is added to logits, 0 or minus infinity (vocabulary,), the most recently used ones kept.

    Adding takes a CPU a thirtieth of the time that selecting does.
    """

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._arrays: OrderedDict[tuple[bytes, mx.Dtype], mx.array] = OrderedDict()

    def array(self, bits: bytes, dtype: mx.Dtype) -> mx.array:
        if (known := self._arrays.get((bits, dtype))) is not None:
            self._arrays.move_to_end((bits, dtype))
            return known
        numbers = _TABLES[dtype].take(np.frombuffer(bits, np.uint8), axis=0).reshape(-1)
        array = mx.array(numbers[: self._vocabulary]).view(dtype)
        self._arrays[bits, dtype] = array
        if len(self._arrays) > _MASKS:
            self._arrays.popitem(last=False)
        return array


class Guard:
    """One row's place in its grammar."""

    def __init__(self, matcher: LLMatcher, masks: Masks) -> None:
        self._matcher = matcher
        self._masks = masks
        self._at_start = True

    def mask(self, last: int, dtype: mx.Dtype) -> mx.array | None:
        """What to add to the logits after `last`, or None where the grammar has nothing more to say.

        The first `last` is the prompt's, which the grammar knows nothing of. A grammar that fails, by a limit of its
        own, leaves the row unguarded rather than the request unanswered: the parser takes whatever comes.
        """
        if not self._at_start and not self._matcher.consume_token(last):
            _log.warning("a grammar gave up: %s", self._matcher.stop_reason())
        self._at_start = False
        if self._matcher.is_stopped():
            return None
        return self._masks.array(self._matcher.compute_bitmask(), dtype)


class Grammars:
    """Compiles grammars (Lark text) against one tokenizer; the most recently used ones are kept compiled."""

    def __init__(self, tokenizer: Callable[[], LLTokenizer], vocabulary: int) -> None:
        self._compiler = ThreadPoolExecutor(1, "grammar")
        self._tokenizer = self._compiler.submit(tokenizer)
        self._masks = Masks(vocabulary)
        self._compiled: OrderedDict[str, Future[LLMatcher]] = OrderedDict()

    def prepare(self, grammar: str) -> Future[LLMatcher]:
        """Start to compile; done at once if this grammar is known."""
        if (known := self._compiled.get(grammar)) is not None:
            self._compiled.move_to_end(grammar)
            return known
        future = self._compiled[grammar] = self._compiler.submit(self._compile, grammar)
        if len(self._compiled) > _GRAMMARS:
            self._compiled.popitem(last=False)
        return future

    def guard(self, grammar: str) -> Guard:
        """A guard at the grammar's start.

        Raises:
            ValueError: it is no grammar.
        """
        return Guard(self.prepare(grammar).result().deep_copy(), self._masks)

    def _compile(self, grammar: str) -> LLMatcher:
        matcher = LLMatcher(self._tokenizer.result(), LLMatcher.grammar_from_lark(grammar), log_level=0)
        if matcher.is_error():
            # The library's message quotes the grammar, which holds a caller's schema.
            raise ValueError("The request's grammar can not be compiled.")
        return matcher


def masked(logits: mx.array, inputs: mx.array, guards: list[Guard | None]) -> mx.array:
    """Logits (rows, vocabulary) without what the rows' guards forbid, given each row's latest token (rows,).

    Waits for those tokens, after the device was given the forward pass to work on.
    """
    if not any(guards):
        return logits
    mx.async_eval(logits)
    latest = cast(list[int], inputs.tolist())
    rows = zip(guards, latest, strict=True)
    masks = [None if guard is None else guard.mask(token, logits.dtype) for guard, token in rows]
    if all(mask is masks[0] for mask in masks):
        return logits if masks[0] is None else logits + masks[0]
    nothing = mx.zeros(logits.shape[-1], dtype=logits.dtype)
    return logits + mx.stack([nothing if mask is None else mask for mask in masks])
