"""Bit masks over the vocabulary, applied to the logits of a batch: quickly on an accelerator, and quickly on a CPU.

On an accelerator a pass over all logits costs nothing, but copies from the host do (0.4 ms each on CUDA), so masks stay
there. On a CPU 32 rows of 201,088 logits are more than its caches hold, and every pass over them takes as long as a
layer of a small model; there only those logits are touched that a mask forbids, or, if it forbids most, those that it
allows. Knows no grammars.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

import mlx.core as mx
import numpy as np

Bits: TypeAlias = "np.ndarray[Any, np.dtype[np.uint32]]"
"""A mask (words,): the lowest bit of the first word is the first token's, and set where it is allowed."""

_Ids: TypeAlias = "np.ndarray[Any, np.dtype[np.int32]]"

_Form = TypeVar("_Form")

_KEPT: Final = 128
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


def _as_ids(bits: bytes, vocabulary: int) -> _Mask:
    allowed = _told_apart(bits, vocabulary)
    forbids = 2 * int(np.count_nonzero(allowed)) > vocabulary
    return _Mask(np.flatnonzero(~allowed if forbids else allowed).astype(np.int32), forbids)


def _on_device(bits: bytes, vocabulary: int) -> mx.array:
    return mx.array(_told_apart(bits, vocabulary))


def _told_apart(bits: bytes, vocabulary: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=vocabulary, bitorder="little").view(np.bool_)


class _Known(Generic[_Form]):
    """Masks in the form in which they are applied, the most recently used ones of which are kept."""

    def __init__(self, form: Callable[[bytes, int], _Form], vocabulary: int) -> None:
        self._form = form
        self._vocabulary = vocabulary
        self._kept: OrderedDict[bytes, _Form] = OrderedDict()
        self._latest: tuple[bytes, _Form] | None = None

    def __call__(self, mask: Bits) -> _Form:
        """Most often it is the latest one again, and comparing takes a tenth of the time that hashing takes."""
        bits = mask.tobytes()
        if self._latest is None or self._latest[0] != bits:
            self._latest = (bits, self._looked_up(bits))
        return self._latest[1]

    def _looked_up(self, bits: bytes) -> _Form:
        if bits in self._kept:
            self._kept.move_to_end(bits)
            return self._kept[bits]
        form = self._kept[bits] = self._form(bits, self._vocabulary)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return form


class Masks:
    """Applies masks to logits of this vocabulary. `forced` counts those that left a single token."""

    def __init__(self, vocabulary: int) -> None:
        self.forced = 0
        self._vocabulary = vocabulary
        self._everything = np.full(-(-vocabulary // 32), 0xFFFF_FFFF, np.uint32)
        self._ids = _Known(_as_ids, vocabulary)
        self._arrays = _Known(_on_device, vocabulary)

    def empty(self) -> Bits:
        return np.zeros_like(self._everything)

    def selected(self, logits: mx.array, rows: list[Bits | None]) -> mx.array:
        """Logits (rows, vocabulary) or minus infinity, by the bits of each row."""
        masks = [self._arrays(self._everything if bits is None else bits) for bits in rows]
        allowed = masks[0] if all(mask is masks[0] for mask in masks) else mx.stack(masks)
        return mx.where(allowed, logits, -mx.inf)

    def struck(self, logits: mx.array, rows: list[Bits | None]) -> mx.array:
        """The same for a CPU: first rows that forbid most are emptied, then single logits struck out or put back."""
        masks = [_NOTHING if bits is None else self._ids(bits) for bits in rows]
        nothing = mx.array(-mx.inf, logits.dtype)
        result = flat = logits.flatten()
        if not all(mask.forbids for mask in masks):
            # Adding takes a quarter of the time that selecting does.
            emptied = logits + mx.array([[0.0 if mask.forbids else -mx.inf] for mask in masks], logits.dtype)
            kept = mx.array(self._places(masks, forbids=False))
            result = mx.put_along_axis(emptied.flatten(), kept, flat[kept], axis=0)
        struck = self._places(masks, forbids=True)
        if struck.size:
            result = mx.put_along_axis(result, mx.array(struck), nothing, axis=0)
        return result.reshape(logits.shape)

    def _places(self, masks: list[_Mask], *, forbids: bool) -> _Ids:
        """The ids of all masks of one kind, as places in the flattened logits."""
        rows = [mask.ids + self._vocabulary * row for row, mask in enumerate(masks) if mask.forbids == forbids]
        return np.concatenate(rows) if rows else _NOTHING.ids
