"""Documents become batches: ids become rows of the batch's own vocabulary, and documents share rows of fixed length.

Worker processes make the batches, so that the accelerator never waits for Python. NumPy only; knows no torch.
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpt_oss_tiny.as_read import as_read
from gpt_oss_tiny.corpus import training_document
from gpt_oss_tiny.exercises import exercise
from gpt_oss_tiny.scene import Document
from llm_server.harmony.encoding import VOCABULARY_SIZE

ROW_LENGTH: Final = 16_384
"""As long as what coding agents send; a longer document is left out."""
IGNORED: Final = -1
OTHERS: Final = 4096
"""Ids in a batch's vocabulary besides those that have rows of their own."""

MOST_REFUSED: Final = 5
"""So many batches in a row can not be too large by chance."""

LEARNED_SHARE: Final = 0.3
"""At most so many of the places are learned."""

POOL: Final = 2000


@dataclass(frozen=True)
class Settings:
    """`exercises` is their share of the documents; `again` the share of documents that are taken a second time."""

    token_ids: tuple[int, ...]
    rows: int
    exercises: float = 0.15
    again: float = 0.5


@dataclass(frozen=True)
class Batch:
    """`rows` and `starts` (count, ROW_LENGTH): ids, and where the document of each place starts.

    An id is counted in the batch's vocabulary: the ids with rows of their own, then `others` (OTHERS,), whose logits
    are raised by `offsets` (OTHERS,): those that stand for many of their kind count for as many. `places` and `labels`
    (LEARNED_SHARE of the places,): flat places whose next token is learned, and that token or IGNORED.
    """

    rows: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    places: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    others: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """A document; `labels` has one entry a place: the id that comes next, or IGNORED."""

    tokens: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]


def encoded(document: Document) -> Encoded:
    tokens = np.array(document.tokens, dtype=np.int32)
    following = np.where(document.learned[1:], tokens[1:], IGNORED)
    return Encoded(tokens, np.append(following, IGNORED).astype(np.int32))


def _documents(settings: Settings, seed: int) -> Iterator[Encoded]:
    """Half of the scenes come a second time, much later, because it takes long to draw one."""
    r = random.Random(seed)
    pool: list[Encoded] = []
    while True:
        if r.random() < settings.exercises:
            yield encoded(as_read(exercise(r)))
        elif len(pool) == POOL and r.random() < settings.again:
            yield pool[r.randrange(POOL)]
        else:
            document = encoded(as_read(training_document(r.getrandbits(48))))
            if len(document.tokens) > ROW_LENGTH:
                continue
            if len(pool) < POOL:
                pool.append(document)
            else:
                pool[r.randrange(POOL)] = document
            yield document


def _packed(documents: Iterator[Encoded], count: int) -> Iterator[list[list[Encoded]]]:
    """Lists of rows, each row a list of documents that fit into it together."""
    waiting: list[Encoded] = []
    while True:
        length = sum(len(d.tokens) for d in waiting)
        while length < ROW_LENGTH * (count + 4):
            waiting.append(next(documents))
            length += len(waiting[-1].tokens)
        waiting.sort(key=lambda d: -len(d.tokens))
        rows: list[list[Encoded]] = [[] for _ in range(count)]
        room = [ROW_LENGTH] * count
        left: list[Encoded] = []
        for document in waiting:
            place = next((n for n in range(count) if room[n] >= len(document.tokens)), None)
            if place is None:
                left.append(document)
            else:
                rows[place].append(document)
                room[place] -= len(document.tokens)
        waiting = left
        yield rows


def batches(settings: Settings, seed: int) -> Iterator[Batch]:
    """Endless batches. Raises ValueError if they have more ids without rows than a batch can count.

    One in some ten thousand may, with many exercises; it is left out.
    """
    refused = 0
    own = np.full(VOCABULARY_SIZE, -1, dtype=np.int32)
    own[list(settings.token_ids)] = np.arange(len(settings.token_ids))
    without = np.flatnonzero(own < 0)
    chance = np.random.default_rng(seed)
    for packed in _packed(_documents(settings, seed), settings.rows):
        tokens, labels, starts = _laid_out(packed, settings)
        met = np.unique(tokens).astype(np.int64)
        met = met[own[met] < 0]
        refused = refused + 1 if met.size > OTHERS else 0
        if refused == MOST_REFUSED:
            raise ValueError(f"A batch of {met.size} ids without rows, {OTHERS} at most: take fewer rows or exercises.")
        if refused:
            continue
        others, offsets = _others(met, without, chance)
        row = own.copy()
        row[others] = len(settings.token_ids) + np.arange(OTHERS)
        most = int(tokens.size * LEARNED_SHARE)
        learned = np.flatnonzero(labels.ravel() != IGNORED)[:most]
        places = np.zeros(most, dtype=np.int64)
        following = np.full(most, IGNORED, dtype=np.int64)
        places[: learned.size], following[: learned.size] = learned, row[labels.ravel()[learned]]
        yield Batch(np.maximum(row[tokens], 0), starts, places, following, others, offsets)


def _laid_out(
    packed: list[list[Encoded]], settings: Settings
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Tokens, labels and starts, each (count, ROW_LENGTH)."""
    tokens = np.full((settings.rows, ROW_LENGTH), settings.token_ids[0], dtype=np.int32)
    labels = np.full_like(tokens, IGNORED)
    starts = np.zeros_like(tokens)
    for n, documents in enumerate(packed):
        at = 0
        for document in documents:
            end = at + len(document.tokens)
            tokens[n, at:end], labels[n, at:end], starts[n, at:end] = document.tokens, document.labels, at
            at = end
        starts[n, at:] = at
    return tokens, labels, starts


def _others(
    met: npt.NDArray[np.int64], without: npt.NDArray[np.int64], chance: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The ids `met` that have no row, and random others to fill up."""
    more = chance.choice(without, OTHERS + met.size, replace=False, shuffle=False)
    free = np.setdiff1d(more, met)[: OTHERS - met.size]
    offsets = np.zeros(OTHERS, dtype=np.float32)
    offsets[met.size :] = np.log(len(without) / max(1, free.size))
    return np.concatenate([met, free]), offsets


def _work(queue: Any, settings: Settings, seed: int) -> None:
    for batch in batches(settings, seed):
        queue.put(batch)


def start_workers(settings: Settings, workers: int, seed: int) -> Any:
    """A queue of batches that this many processes fill. They end with this process."""
    queue: Any = multiprocessing.Queue(4 * workers)
    for number in range(workers):
        arguments = (queue, settings, seed * 1000 + number)
        multiprocessing.Process(target=_work, args=arguments, daemon=True).start()
    return queue
