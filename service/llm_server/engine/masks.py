"""Bit masks over the vocabulary, applied to the logits of a batch: quickly on an accelerator, and quickly on a CPU.

On an accelerator a pass over all logits costs nothing, but copies from the host do, so bits are sent and told apart
there. On a CPU 32 rows of 201,088 logits are more than its caches hold, and every pass over them takes as long as a
layer of a small model; there only the few logits that free text forbids are touched, and masks that forbid most of the
vocabulary are added, from a matrix of which only rows that have changed are written. Knows no grammars.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import mlx.core as mx
import numpy as np

Bits: TypeAlias = "np.ndarray[Any, np.dtype[np.uint32]]"
"""A mask (words,): the lowest bit of the first word is the first token's, and set where it is allowed."""

_WORD: Final = 32
_PLACES: Final = np.arange(_WORD, dtype=np.uint32)
_FEW: Final = 8192
_KEPT: Final = 256
"""Most masks come again and again: free text has one, and so has each place of a header or a schema."""

_MINUS_INFINITY: Final[dict[mx.Dtype, np.unsignedinteger[Any]]] = {
    mx.float32: np.uint32(0xFF80_0000),
    mx.bfloat16: np.uint16(0xFF80),
    mx.float16: np.uint16(0xFC00),
}
"""As bits, since NumPy has no bfloat16."""


def is_single(bits: Bits) -> bool:
    """Whether a single token is allowed."""
    return int(np.count_nonzero(bits)) == 1 and int(bits.max()).bit_count() == 1


@dataclass(frozen=True, slots=True)
class _Mask:
    """The ids that it forbids, if those are less than half of all, else those that it allows."""

    ids: np.ndarray[Any, np.dtype[np.int32]]
    forbids: bool

    @property
    def is_sparse(self) -> bool:
        """Whether it can be applied by touching a few logits."""
        return self.forbids and 0 < self.ids.size <= _FEW

    def write(self, row: np.ndarray[Any, Any], minus_infinity: np.unsignedinteger[Any]) -> None:
        """Into `row` (vocabulary,), what it adds to logits."""
        row.fill(0 if self.forbids else minus_infinity)
        row[self.ids] = minus_infinity if self.forbids else 0


_NOTHING: Final = _Mask(np.zeros(0, np.int32), forbids=True)


def _read(bits: bytes, vocabulary: int) -> _Mask:
    """Only words in which there is something are taken apart: most masks allow nearly everything or nearly nothing."""
    words = np.frombuffer(bits, np.uint32)
    forbids = 2 * int(np.bitwise_count(words).sum()) > vocabulary
    wanted = ~words if forbids else words
    places = np.flatnonzero(wanted)
    is_set = (wanted[places, None] >> _PLACES) & 1 == 1
    ids = (_WORD * places[:, None] + _PLACES)[is_set].astype(np.int32)
    return _Mask(ids[ids < vocabulary], forbids)


class Masks:
    """Applies masks to logits of this vocabulary. `forced` counts those that left a single token."""

    def __init__(self, vocabulary: int) -> None:
        self.forced = 0
        self._vocabulary = vocabulary
        self._places = mx.array(_PLACES)
        self._everything = np.full(-(-vocabulary // _WORD), 0xFFFF_FFFF, np.uint32)
        self._known: OrderedDict[bytes, _Mask] = OrderedDict()
        self._latest: tuple[bytes, _Mask] = (b"", _NOTHING)
        self._matrix = np.zeros((0, vocabulary), np.uint32)
        self._rows: list[_Mask] = []

    def empty(self) -> Bits:
        return np.zeros_like(self._everything)

    def selected(self, logits: mx.array, rows: list[Bits | None]) -> mx.array:
        """Logits (rows, vocabulary) or minus infinity, by the bits of each row."""
        packed = mx.array(np.stack([self._everything if bits is None else bits for bits in rows]))
        allowed = ((packed[..., None] >> self._places) & 1).flatten(-2)[:, : self._vocabulary]
        return mx.where(allowed.astype(mx.bool_), logits, mx.array(-mx.inf, logits.dtype))

    def struck(self, logits: mx.array, rows: list[Bits | None]) -> mx.array:
        """The same for a CPU."""
        masks = [_NOTHING if bits is None else self._mask(bits.tobytes()) for bits in rows]
        few = [mask.ids for mask in masks if mask.is_sparse]
        if len(few) < len(masks):
            return logits + self._added(masks, logits.dtype)
        ids = np.empty((len(few), max(row.size for row in few)), np.int32)
        for place, row in zip(ids, few, strict=True):
            place[: row.size], place[row.size :] = row, row[0]
        return mx.put_along_axis(logits, mx.array(ids), mx.array(-mx.inf, logits.dtype), axis=-1)

    def _mask(self, bits: bytes) -> _Mask:
        """Most often it is the latest one again, and comparing takes a tenth of the time that hashing takes."""
        known, mask = self._latest
        if bits != known:
            mask = self._known.get(bits) or _read(bits, self._vocabulary)
            self._known[bits] = mask
            self._known.move_to_end(bits)
            self._latest = (bits, mask)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return mask

    def _added(self, masks: list[_Mask], dtype: mx.Dtype) -> mx.array:
        """(rows, vocabulary): a copy, because the device may still be adding the one of the step before."""
        minus_infinity = _MINUS_INFINITY[dtype]
        if self._matrix.shape[0] != len(masks) or self._matrix.dtype != minus_infinity.dtype:
            self._matrix = np.zeros((len(masks), self._vocabulary), minus_infinity.dtype)
            self._rows = [_NOTHING] * len(masks)
        for row, before, mask in zip(self._matrix, self._rows, masks, strict=True):
            if mask is not before:
                mask.write(row, minus_infinity)
        self._rows = masks
        return mx.array(self._matrix).view(dtype)
