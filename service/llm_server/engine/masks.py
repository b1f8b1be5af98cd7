"""Bit masks over the vocabulary, applied to the logits of a batch: quickly on an accelerator, and quickly on a CPU.

On an accelerator a pass over all logits costs nothing, but copies from the host do, so bits are sent and told apart
there. On a CPU 32 rows of 201,088 logits are more than its caches hold, and every pass over them takes as long as a
layer of a small model; there only those logits are touched that a mask forbids, or, if it forbids most, those that it
allows. Knows no grammars.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import mlx.core as mx
import numpy as np

Bits: TypeAlias = "np.ndarray[Any, np.dtype[np.uint32]]"
"""A mask (words,): the lowest bit of the first word is the first token's, and set where it is allowed."""

_Ids: TypeAlias = "np.ndarray[Any, np.dtype[np.int32]]"

_WORD: Final = 32
_KEPT: Final = 256
"""Most masks come again and again: free text has one, and so has each place of a header or a schema."""


def is_single(bits: Bits) -> bool:
    """Whether a single token is allowed."""
    return int(np.count_nonzero(bits)) == 1 and int(bits.max()).bit_count() == 1


@dataclass(frozen=True, slots=True, eq=False)
class _Mask:
    """The ids that it forbids, if those are less than half of all, else those that it allows."""

    ids: _Ids
    forbids: bool


_NOTHING: Final = _Mask(np.zeros(0, np.int32), forbids=True)


def _read(bits: bytes, vocabulary: int) -> _Mask:
    allowed = np.unpackbits(np.frombuffer(bits, np.uint8), count=vocabulary, bitorder="little").view(np.bool_)
    forbids = 2 * int(np.count_nonzero(allowed)) > vocabulary
    return _Mask(np.flatnonzero(~allowed if forbids else allowed).astype(np.int32), forbids)


class Masks:
    """Applies masks to logits of this vocabulary. `forced` counts those that left a single token."""

    def __init__(self, vocabulary: int) -> None:
        self.forced = 0
        self._vocabulary = vocabulary
        self._places = mx.arange(_WORD, dtype=mx.uint32)
        self._everything = np.full(-(-vocabulary // _WORD), 0xFFFF_FFFF, np.uint32)
        self._known: OrderedDict[bytes, _Mask] = OrderedDict()
        self._latest: tuple[bytes, _Mask] = (b"", _NOTHING)

    def empty(self) -> Bits:
        return np.zeros_like(self._everything)

    def selected(self, logits: mx.array, rows: list[Bits | None]) -> mx.array:
        """Logits (rows, vocabulary) or minus infinity, by the bits of each row."""
        packed = mx.array(np.stack([self._everything if bits is None else bits for bits in rows]))
        allowed = ((packed[..., None] >> self._places) & 1).flatten(-2)[:, : self._vocabulary]
        return mx.where(allowed.astype(mx.bool_), logits, mx.array(-mx.inf, logits.dtype))

    def struck(self, logits: mx.array, rows: list[Bits | None]) -> mx.array:
        """The same for a CPU: first rows that forbid most are emptied, then single logits struck out or put back."""
        masks = [_NOTHING if bits is None else self._mask(bits.tobytes()) for bits in rows]
        nothing = mx.array(-mx.inf, logits.dtype)
        result = flat = logits.flatten()
        if not all(mask.forbids for mask in masks):
            # Adding takes a quarter of the time that selecting does.
            emptied = logits + mx.array([[0.0 if mask.forbids else -mx.inf] for mask in masks], logits.dtype)
            kept = mx.array(self._ids(masks, forbids=False))
            result = mx.put_along_axis(emptied.flatten(), kept, flat[kept], axis=0)
        struck = self._ids(masks, forbids=True)
        if struck.size:
            result = mx.put_along_axis(result, mx.array(struck), nothing, axis=0)
        return result.reshape(logits.shape)

    def _ids(self, masks: list[_Mask], *, forbids: bool) -> _Ids:
        """The ids of all masks of one kind, as places in the flattened logits."""
        rows = [mask.ids + self._vocabulary * row for row, mask in enumerate(masks) if mask.forbids == forbids]
        return np.concatenate(rows) if rows else _NOTHING.ids

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
