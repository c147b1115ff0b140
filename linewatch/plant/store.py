"""What a bridge must not lose, on disk within a bound: the service's messages until every consumer has confirmed them.

One SQLite file. A message and the position in the service's journal behind it are written in one transaction, so that
a bridge that is killed, or loses the newest writes with the host's power, follows the service from the position that
fits what it has. The service's own journal supplies the rest.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated, Self

import structlog
from pydantic import Field

from linewatch.client import Position
from linewatch.config.base import Settings
from linewatch.contracts.errors import ConfigError

_ROW_BYTES = 64
"""About what a row takes beside its body."""
_SIZE = f"coalesce(sum(length(body) + {_ROW_BYTES}), 0), count(*)"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    at_unix_ms INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS consumer (name TEXT PRIMARY KEY, confirmed INTEGER NOT NULL, dropped INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS position (topic TEXT PRIMARY KEY, epoch INTEGER NOT NULL, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dropped (
    number INTEGER PRIMARY KEY AUTOINCREMENT, consumer TEXT NOT NULL, topic TEXT NOT NULL, epoch INTEGER NOT NULL,
    first INTEGER NOT NULL, end INTEGER NOT NULL, events INTEGER NOT NULL
);
"""

log = structlog.get_logger()


class StoreSettings(Settings):
    """`[store]`: what waits for the plant while it cannot be reached."""

    file: Annotated[Path, Field(strict=False)] = Field(
        description="SQLite file of messages that are not delivered yet; each bridge needs its own"
    )
    max_mb: float = Field(
        default=256.0, ge=1, le=100_000, description="size of the waiting messages; beyond it the oldest are dropped"
    )


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A message of the service, by its permanent name. number: its place in the store, ascending. body: JSON."""

    number: int
    topic: str
    epoch: int
    sequence: int
    at_unix_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class DroppedEvents:
    """So many events of a topic and epoch, with sequences in [first, end), that were dropped to keep the bound."""

    number: int
    topic: str
    epoch: int
    first: int
    end: int
    events: int


class StoreFullError(Exception):
    """The disk does not take the event: it is full, read-only or failing. The message says why."""


class EventStore:
    """Thread-safe. `append` belongs to one thread, and each consumer to one."""

    def __init__(self, settings: StoreSettings, consumers: Sequence[str]) -> None:
        """Open the file, or make it. A consumer that is new begins with the next event.

        A file that is damaged is put aside. Raises ConfigError where the file cannot be used or another process has it.
        """
        self._file, self._max_bytes = settings.file, int(settings.max_mb * 1e6)
        self._lock = Lock()
        self._database = self._opened_or_new()
        with self._writing() as database:
            read = database.execute
            newest = read("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'")
            self._newest = int(newest.fetchone()[0])
            read(f"DELETE FROM consumer WHERE name NOT IN ({', '.join('?' * len(consumers))})", tuple(consumers))
            for name in consumers:
                read("INSERT OR IGNORE INTO consumer VALUES (?, ?, 0)", (name, self._newest))
            rows = read("SELECT name, confirmed, dropped FROM consumer").fetchall()
            self._bytes, self._events = read(f"SELECT {_SIZE} FROM event").fetchone()
            self._positions = {
                topic: Position(epoch, following)
                for topic, epoch, following in read("SELECT topic, epoch, next FROM position")
            }
        self._confirmed: dict[str, int] = {name: confirmed for name, confirmed, _ in rows}
        self._dropped: dict[str, int] = {name: dropped for name, _, dropped in rows}
        self._discard()
        self._journal = self.fact("journal")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._database.close()

    @property
    def positions(self) -> Mapping[str, Position]:
        """Where the service is to be followed from, by topic; empty in a new store."""
        return self._positions

    @property
    def journal(self) -> str | None:
        """The service's journal in which the positions are; None: not known yet."""
        return self._journal

    @property
    def newest(self) -> int:
        """Number of the newest event; 0: there has been none."""
        return self._newest

    def confirmed(self, consumer: str) -> int:
        """Return the number up to which a consumer has confirmed every event."""
        return self._confirmed[consumer]

    def waiting(self, consumer: str) -> int:
        """Return how many events a consumer has not confirmed."""
        return min(self._newest - self._confirmed[consumer], self._events)

    def dropped(self, consumer: str) -> int:
        """Return how many events were dropped before a consumer confirmed them, since the file was made."""
        return self._dropped[consumer]

    def follow(self, positions: Mapping[str, Position], journal: str | None) -> None:
        """Take positions of topics that have none yet, and the name of the journal. Raises StoreFullError."""
        if journal == self._journal and positions.keys() <= self._positions.keys():
            return
        with self._failing_as_full(), self._writing() as database:
            self._write_positions(database, {**positions, **self._positions}, journal)

    def append(
        self,
        topic: str,
        epoch: int,
        sequence: int,
        at_unix_ms: int,
        body: bytes,
        positions: Mapping[str, Position],
        journal: str | None,
    ) -> None:
        """Keep an event and the positions of the service's topics behind it. Raises StoreFullError."""
        with self._failing_as_full(), self._writing() as database:
            changed = {topic: here for topic, here in positions.items() if self._positions.get(topic) != here}
            self._write_positions(database, changed, journal)
            added = database.execute(
                "INSERT INTO event (topic, epoch, sequence, at_unix_ms, body) VALUES (?, ?, ?, ?, ?)",
                (topic, epoch, sequence, at_unix_ms, body),
            )
            assert added.lastrowid is not None
            self._newest = added.lastrowid
            self._bytes += len(body) + _ROW_BYTES
            self._events += 1
            if self._bytes > self._max_bytes:
                self._shorten(database)

    def after(self, number: int, at_most: int) -> list[StoredEvent]:
        """Return the events that follow event `number`, oldest first."""
        if number >= self._newest:
            return []
        with self._lock:
            rows = self._database.execute(
                "SELECT number, topic, epoch, sequence, at_unix_ms, body FROM event WHERE number > ? "
                "ORDER BY number LIMIT ?",
                (number, at_most),
            )
            return [StoredEvent(*row) for row in rows]

    def confirm(self, consumer: str, number: int) -> None:
        """Note that a consumer has every event up to `number`. An error of the disk is logged: some then come twice."""
        if number <= self._confirmed[consumer]:
            return
        self._confirmed[consumer] = number
        try:
            with self._writing() as database:
                database.execute("UPDATE consumer SET confirmed = ? WHERE name = ?", (number, consumer))
            self._discard()
        except sqlite3.Error as error:
            log.error("store_failed", file=str(self._file), why=str(error))

    def dropped_of(self, consumer: str) -> list[DroppedEvents]:
        """Return what was dropped and `forget_dropped` has not been called for, oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT number, topic, epoch, first, end, events FROM dropped WHERE consumer = ? ORDER BY number",
                (consumer,),
            )
            return [DroppedEvents(*row) for row in rows]

    def forget_dropped(self, consumer: str, number: int) -> None:
        """Forget a consumer's drops up to `number`: it has told the plant of them."""
        with suppress(sqlite3.Error), self._writing() as database:
            database.execute("DELETE FROM dropped WHERE consumer = ? AND number <= ?", (consumer, number))

    def fact(self, name: str) -> str | None:
        """Return a text that a bridge keeps beside its events; None: it was never kept."""
        with self._lock:
            row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def keep_fact(self, name: str, value: str) -> None:
        """Keep a text. An error of the disk is logged: the text then holds until the process ends, or not at all."""
        try:
            with self._writing() as database:
                database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))
        except sqlite3.Error as error:
            log.error("store_failed", file=str(self._file), why=str(error))

    def _opened_or_new(self) -> sqlite3.Connection:
        try:
            return self._opened()
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigError(_unusable(self._file, error)) from error
        except sqlite3.DatabaseError as error:
            aside = self._file.with_name(f"{self._file.name}.damaged-{time.time_ns()}")
            log.error("store_damaged", file=str(self._file), why=str(error), put_aside=str(aside))
            for end in ("", "-wal"):
                with suppress(FileNotFoundError):
                    self._file.with_name(self._file.name + end).rename(aside.with_name(aside.name + end))
        try:
            return self._opened()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(_unusable(self._file, error)) from error

    def _opened(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._file, timeout=0.2, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")  # a second bridge would publish everything twice
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is fetched from the service again
            database.execute("BEGIN IMMEDIATE")
            database.execute("COMMIT")
            if database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("its pages are damaged")
            database.executescript(_SCHEMA)
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, all of it or nothing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _failing_as_full(self) -> Iterator[None]:
        before = (self._newest, self._bytes, self._events, self._positions, self._journal, self._dropped)
        try:
            yield
        except sqlite3.Error as error:
            self._newest, self._bytes, self._events, self._positions, self._journal, self._dropped = before
            raise StoreFullError(str(error)) from error

    def _write_positions(
        self, database: sqlite3.Connection, positions: Mapping[str, Position], journal: str | None
    ) -> None:
        for topic, here in positions.items():
            database.execute("INSERT OR REPLACE INTO position VALUES (?, ?, ?)", (topic, here.epoch, here.next))
        if journal is not None and journal != self._journal:
            database.execute("INSERT OR REPLACE INTO fact VALUES ('journal', ?)", (journal,))
        self._positions, self._journal = {**self._positions, **positions}, journal or self._journal

    def _shorten(self, database: sqlite3.Connection) -> None:
        """Drop the oldest events until a tenth of the bound is free, and note whom they were dropped for."""
        rows, end, freed = [], 0, 0
        oldest = database.execute("SELECT number, topic, epoch, sequence, length(body) FROM event ORDER BY number")
        for number, topic, epoch, sequence, length in oldest:
            if number == self._newest or self._bytes - freed <= 0.9 * self._max_bytes:
                break
            rows.append((number, topic, epoch, sequence))
            end, freed = number, freed + length + _ROW_BYTES
        oldest.close()
        database.execute("DELETE FROM event WHERE number <= ?", (end,))
        self._bytes, self._events = self._bytes - freed, self._events - len(rows)
        self._dropped = dict(self._dropped)
        for consumer, confirmed in self._confirmed.items():
            lost = [row for row in rows if row[0] > confirmed]
            if not lost:
                continue
            self._note_dropped(database, consumer, lost)
            self._dropped[consumer] += len(lost)
            database.execute("UPDATE consumer SET dropped = ? WHERE name = ?", (self._dropped[consumer], consumer))
            log.error("events_dropped", consumer=consumer, events=len(lost), max_mb=self._max_bytes / 1e6)

    def _note_dropped(
        self, database: sqlite3.Connection, consumer: str, lost: Sequence[tuple[int, str, int, int]]
    ) -> None:
        """One row for a topic and epoch, which grows: a long outage does not fill the table."""
        found: dict[tuple[str, int], list[int]] = {}
        for _, topic, epoch, sequence in lost:
            found.setdefault((topic, epoch), []).append(sequence)
        for (topic, epoch), sequences in found.items():
            at = (consumer, topic, epoch)
            where = "consumer = ? AND topic = ? AND epoch = ?"
            known = database.execute(f"SELECT first, end, events FROM dropped WHERE {where}", at).fetchone()
            first, end, events = known or (sequences[0], 0, 0)
            database.execute(f"DELETE FROM dropped WHERE {where}", at)
            database.execute(
                "INSERT INTO dropped (consumer, topic, epoch, first, end, events) VALUES (?, ?, ?, ?, ?, ?)",
                (*at, min(first, sequences[0]), max(end, sequences[-1] + 1), events + len(sequences)),
            )

    def _discard(self) -> None:
        """Delete what every consumer has confirmed."""
        everyone = min(self._confirmed.values(), default=self._newest)
        with self._writing() as database:
            where = "FROM event WHERE number <= ?"
            gone, events = database.execute(f"SELECT {_SIZE} {where}", (everyone,)).fetchone()
            database.execute(f"DELETE {where}", (everyone,))
            self._bytes, self._events = self._bytes - gone, self._events - events


def _unusable(file: Path, error: Exception) -> str:
    if "locked" in str(error):
        return f"{file}: another process has it, expected a file of this bridge alone; end that one, or name another"
    return f"{file}: cannot be used as a store ({error}); let this user own its folder, or name another file"
