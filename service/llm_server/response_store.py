"""Responses kept for later requests: one SQLite file that all API workers share and that survives a restart.

A response is kept with the input that it answered, as JSON; what a request goes on from is the chain of them. What was
used the longest ago goes first when there are too many, too much, or too old ones. Knows no HTTP and no API's types.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from llm_server.errors import StoreUnavailable

JSON: TypeAlias = dict[str, Any]
T = TypeVar("T")

FILE_NAME: Final = "responses.db"

BUSY_SECONDS: Final = 10.0
"""How long a worker waits for another one that is writing."""

LONGEST_CHAIN: Final = 10_000
"""Responses that may follow each other. A file that was tampered with could make a circle of them."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY, previous TEXT, used REAL NOT NULL, bytes INTEGER NOT NULL,
    input BLOB NOT NULL, response BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_use ON responses (used, bytes);
CREATE TABLE IF NOT EXISTS items (
    id TEXT NOT NULL, response TEXT NOT NULL REFERENCES responses ON DELETE CASCADE, PRIMARY KEY (id, response)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_response ON items (response);
"""

_CHAIN: Final = """
WITH RECURSIVE chain (id, place) AS (
    SELECT ?1, 0 UNION ALL
    SELECT responses.previous, place + 1 FROM chain JOIN responses USING (id)
    WHERE responses.previous IS NOT NULL AND place < ?2
)
SELECT responses.id, previous, input, response FROM chain JOIN responses USING (id) ORDER BY place DESC
"""

log = logging.getLogger("llm_server.store")


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept at most: so many responses, so many bytes of them, unused for so many seconds."""

    responses: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Stored:
    """A response and its own input. Every item of both has an id. `previous` is the response that it goes on from."""

    id: str
    previous: str | None
    input: Sequence[JSON]
    response: JSON

    @property
    def items(self) -> Iterator[JSON]:
        """What the next request goes on from: what was asked, then what was answered."""
        yield from self.input
        yield from self.response["output"]


class ResponseStore:
    """The file at `path`, which is made when something is first stored. Safe to use from several processes.

    All but `save` raise `StoreUnavailable` if the file can not be used; the log says why. `clock` gives seconds since
    the epoch.
    """

    def __init__(self, path: Path, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything is stored at all."""
        return self._limits.responses > 0

    async def save(self, stored: Stored) -> bool:
        """Whether it is kept now. A full disk is no reason to lose an answer: it is logged, and nothing is raised."""
        try:
            return await asyncio.to_thread(self._save, stored)
        except (OSError, sqlite3.Error) as error:
            log.warning("a response could not be stored in %s: %s", self._path, _reason(error))
            return False

    async def find(self, identity: str) -> Stored | None:
        """The response with this id."""
        chain = await self._use(self._chain, identity, 0)
        return chain[-1] if chain else None

    async def chain(self, identity: str) -> list[Stored]:
        """The responses that led to this one, the first of all first. Empty if any of them is not kept any more."""
        chain = await self._use(self._chain, identity, LONGEST_CHAIN)
        return chain if chain and chain[0].previous is None and chain[-1].id == identity else []

    async def items(self, identities: Sequence[str]) -> dict[str, JSON]:
        """The kept items with these ids."""
        return await self._use(self._items, identities)

    async def delete(self, identity: str) -> bool:
        """Whether there was such a response. Its bytes are overwritten."""
        return await self._use(self._delete, identity)

    async def tidy(self) -> None:
        """Forget what is too much or too old. The limits may be others than when it was stored, or allow nothing."""
        with suppress(StoreUnavailable):
            await self._use(self._tidy)

    def close(self) -> None:
        """What is in SQLite's log goes into the file. Who uses the store after that opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    async def _use(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except (OSError, sqlite3.Error) as error:
            log.warning("the responses stored in %s can not be used: %s", self._path, _reason(error))
            raise StoreUnavailable("The stored responses can not be used. The server's log says why.") from None

    def _save(self, stored: Stored) -> bool:
        asked, answered = msgspec.json.encode(stored.input), msgspec.json.encode(stored.response)
        size = len(asked) + len(answered)
        if size > self._limits.bytes or not self.is_open:
            return False
        now = self._clock()
        with self._writing() as connection:
            row = (stored.id, stored.previous, now, size, asked, answered)
            connection.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", row)
            names = {item["id"] for item in stored.items}
            connection.executemany("INSERT INTO items VALUES (?, ?)", [(name, stored.id) for name in names])
            self._make_room(connection, now)
        return True

    def _make_room(self, connection: sqlite3.Connection, now: float) -> None:
        """Sums over all rows are cheap, from the index; sorting them all at every response would not be."""
        connection.execute("DELETE FROM responses WHERE used < ?", (now - self._limits.seconds,))
        count, size = connection.execute("SELECT COUNT(*), SUM(bytes) FROM responses").fetchone()
        over: list[tuple[str]] = []
        for identity, each in connection.execute("SELECT id, bytes FROM responses ORDER BY used, rowid"):
            if count - len(over) <= self._limits.responses and size <= self._limits.bytes:
                break
            over.append((identity,))
            size -= each
        connection.executemany("DELETE FROM responses WHERE id = ?", over)

    def _chain(self, identity: str, longest: int) -> list[Stored]:
        with self._using() as connection:
            rows = connection.execute(_CHAIN, (identity, longest)).fetchall() if connection else []
        chain = [_stored(row) for row in rows]
        self._touch([stored.id for stored in chain])
        return chain

    def _items(self, identities: Sequence[str]) -> dict[str, JSON]:
        wanted = frozenset(identities)
        marks = ",".join("?" * len(identities))
        query = (
            "SELECT id, previous, input, response FROM responses WHERE id IN"
            f" (SELECT response FROM items WHERE id IN ({marks})) ORDER BY used"
        )
        with self._using() as connection:
            rows = connection.execute(query, tuple(identities)).fetchall() if connection else []
        self._touch([row[0] for row in rows])
        return {item["id"]: item for row in rows for item in _stored(row).items if item["id"] in wanted}

    def _delete(self, identity: str) -> bool:
        if not self._path.exists():
            return False
        with self._writing() as connection:
            deleted = connection.execute("DELETE FROM responses WHERE id = ?", (identity,)).rowcount > 0
        self._empty_log()
        return deleted

    def _tidy(self) -> None:
        if self._path.exists():
            with self._writing() as connection:
                self._make_room(connection, self._clock())
            self._empty_log()

    def _empty_log(self) -> None:
        """It still has what was deleted."""
        with self._using() as connection, suppress(sqlite3.Error):
            if connection is not None:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _touch(self, identities: Iterable[str]) -> None:
        """What is used stays. Not to be able to say so is no reason to refuse an answer."""
        rows = [(self._clock(), identity) for identity in identities]
        if rows:
            with suppress(sqlite3.Error), self._writing() as connection:
                connection.executemany("UPDATE responses SET used = ? WHERE id = ?", rows)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        with self._using() as connection:
            assert connection is not None, "the file has just been made"
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection | None]:
        """The connection, for this thread alone; None as long as there is no file."""
        with self._lock:
            if self._connection is None and self._path.exists():
                connection = _opened(self._path)
                weakref.finalize(self, connection.close)
                self._connection = connection
            yield self._connection


def _reason(error: OSError | sqlite3.Error) -> str:
    """Names of errors alone, which can not quote what is stored."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return getattr(error, "sqlite_errorname", type(error).__name__)


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


@retry(
    retry=retry_if_exception(_is_busy), stop=stop_after_delay(BUSY_SECONDS), wait=wait_random(0.005, 0.05), reraise=True
)
def _opened(path: Path) -> sqlite3.Connection:
    """SQLite does not wait where two that open a new file both turn it to WAL: one of them is told that it is busy."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _stored(row: tuple[str, str | None, bytes, bytes]) -> Stored:
    identity, previous, asked, answered = row
    return Stored(identity, previous, msgspec.json.decode(asked), msgspec.json.decode(answered))
