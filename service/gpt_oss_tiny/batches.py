"""Documents become rows to train on: ids become embedding rows, and several documents share one row of fixed length.

Worker processes make the batches, so that the accelerator never waits for Python. NumPy only; knows no torch.
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpt_oss_tiny.corpus import training_document
from gpt_oss_tiny.scene import Document
from llm_server.harmony.encoding import CALL, CHANNEL, END, FIRST_SPECIAL, MESSAGE, RETURN, START

ROW_LENGTH: Final = 2048
IGNORED: Final = -1


@dataclass(frozen=True)
class Batch:
    """`rows` and `starts` (count, ROW_LENGTH): embedding rows, and where the document of each place starts.

    `places` and `labels` (a third of the places,): flat places whose next token is learned, and its row or IGNORED.
    """

    rows: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    places: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """A document in embedding rows; `labels` has one entry a place: the row that comes next, or IGNORED."""

    rows: list[int]
    labels: list[int]


class Vocabulary:
    """Rows of the embedding by token id; every id without a row of its own shares `unknown`."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self.row = {token: row for row, token in enumerate(token_ids)}
        self.unknown = len(token_ids)
        self.ordinary = [row for token, row in self.row.items() if token < FIRST_SPECIAL]

    def encode(self, document: Document, r: random.Random) -> Encoded:
        rows = [self.row.get(token, self.unknown) for token in document.tokens]
        labels = [
            row if learned and row != self.unknown else IGNORED
            for row, learned in zip(rows[1:], document.learned[1:], strict=True)
        ]
        return Encoded(self._forget(rows, document, r), [*labels, IGNORED])

    def _forget(self, rows: list[int], document: Document, r: random.Random) -> list[int]:
        """Some tokens become unknown, as a user's rare words are. None that the model has to say."""
        chance = r.random()
        if chance > 0.22:
            return rows
        if chance > 0.2:
            return self._forget_most(rows, document, r)
        rate = r.uniform(0.005, 0.08)
        if chance < 0.02:
            return [
                self.unknown if learned and token < FIRST_SPECIAL and r.random() < rate else row
                for row, token, learned in zip(rows, document.tokens, document.learned, strict=True)
            ]
        said = {token for token, learned in zip(document.tokens, document.learned, strict=True) if learned}
        system = document.tokens.index(START, 1)
        return [
            self.unknown if n > system and token < FIRST_SPECIAL and token not in said and r.random() < rate else row
            for n, (row, token) in enumerate(zip(rows, document.tokens, strict=True))
        ]

    def _forget_most(self, rows: list[int], document: Document, r: random.Random) -> list[int]:
        """As in the long instructions of real clients, most of whose words this model does not have."""
        if CALL in document.tokens:
            return rows
        said = {token for token, learned in zip(document.tokens, document.learned, strict=True) if learned}
        messages = [n for n, token in enumerate(document.tokens) if token == START]
        rate, last = r.uniform(0.2, 0.7), messages[2] if len(messages) > 3 else 0
        return [
            self.unknown
            if messages[1] < n < last and token not in said and token < FIRST_SPECIAL and r.random() < rate
            else row
            for n, (row, token) in enumerate(zip(rows, document.tokens, strict=True))
        ]

    def copying(self, r: random.Random) -> Encoded:
        """Random tokens to say again: without this exercise copying appears late in training."""
        text = [r.choice(self.ordinary) for _ in range(r.randint(2, 24))]
        before = [r.choice(self.ordinary) for _ in range(r.randint(0, 60))]
        after = [r.choice(self.ordinary) for _ in range(r.randint(0, 30))]
        start, message, end = (self.row[t] for t in (START, MESSAGE, END))
        prompt = [start, *before, message, *text, end, *after, start, message]
        return self._asked(prompt, [*text, self.row[RETURN]])

    def recalling(self, r: random.Random) -> Encoded:
        """Keys with values, and the question for one of them: what filling in an argument comes down to."""
        start, message, end, channel = (self.row[t] for t in (START, MESSAGE, END, CHANNEL))
        keys = r.sample(self.ordinary, r.randint(2, 8))
        found = {key: [r.choice(self.ordinary) for _ in range(r.randint(1, 5))] for key in keys}
        prompt = [start]
        for key in keys:
            prompt += [channel, key, message, *found[key], end]
        asked = r.choice(keys)
        return self._asked([*prompt, start, channel, asked, message], [*found[asked], self.row[RETURN]])

    def _asked(self, prompt: list[int], reply: list[int]) -> Encoded:
        return Encoded(prompt + reply, [IGNORED] * (len(prompt) - 1) + reply + [IGNORED])


def _documents(vocabulary: Vocabulary, seed: int, exercises: float) -> Iterator[Encoded]:
    r = random.Random(seed)
    while True:
        kind = r.random()
        if kind < exercises:
            yield vocabulary.copying(r) if kind < exercises * 0.6 else vocabulary.recalling(r)
        else:
            document = vocabulary.encode(training_document(r.getrandbits(48)), r)
            if len(document.rows) <= ROW_LENGTH:
                yield document


def _packed(documents: Iterator[Encoded], count: int) -> Iterator[list[list[Encoded]]]:
    """Lists of rows, each row a list of documents that fit into it together."""
    waiting: list[Encoded] = []
    while True:
        while sum(len(d.rows) for d in waiting) < ROW_LENGTH * (count + 4):
            waiting.append(next(documents))
        waiting.sort(key=lambda d: -len(d.rows))
        rows: list[list[Encoded]] = [[] for _ in range(count)]
        room = [ROW_LENGTH] * count
        left: list[Encoded] = []
        for document in waiting:
            place = next((n for n in range(count) if room[n] >= len(document.rows)), None)
            if place is None:
                left.append(document)
            else:
                rows[place].append(document)
                room[place] -= len(document.rows)
        waiting = left
        yield rows


def batches(token_ids: Sequence[int], seed: int, exercises: float, count: int) -> Iterator[Batch]:
    vocabulary = Vocabulary(token_ids)
    for packed in _packed(_documents(vocabulary, seed, exercises), count):
        rows = np.full((count, ROW_LENGTH), vocabulary.unknown, dtype=np.int32)
        starts = np.zeros((count, ROW_LENGTH), dtype=np.int32)
        following = np.full((count, ROW_LENGTH), IGNORED, dtype=np.int64)
        for n, documents in enumerate(packed):
            at = 0
            for document in documents:
                end = at + len(document.rows)
                rows[n, at:end], starts[n, at:end], following[n, at:end] = document.rows, at, document.labels
                at = end
            starts[n, at:] = at
        most = count * ROW_LENGTH // 3
        learned = np.flatnonzero(following.ravel() != IGNORED)[:most]
        places = np.zeros(most, dtype=np.int64)
        labels = np.full(most, IGNORED, dtype=np.int64)
        places[: learned.size], labels[: learned.size] = learned, following.ravel()[learned]
        yield Batch(rows, starts, places, labels)


def _work(queue: Any, token_ids: Sequence[int], seed: int, exercises: float, count: int) -> None:
    for batch in batches(token_ids, seed, exercises, count):
        queue.put(batch)


def start_workers(token_ids: Sequence[int], workers: int, seed: int, exercises: float, count: int) -> Any:
    """A queue of batches of `count` rows that this many processes fill. They end with this process."""
    queue: Any = multiprocessing.Queue(4 * workers)
    for number in range(workers):
        arguments = (queue, token_ids, seed * 1000 + number, exercises, count)
        multiprocessing.Process(target=_work, args=arguments, daemon=True).start()
    return queue
