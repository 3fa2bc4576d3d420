"""Durable records: one SQLite transaction for each acknowledged change.

A record is a JSON document under (kind, account, region, name). Accepted asynchronous events are rows of a table of their own,
because they are written more often, carry a payload, and only their order matters; so are the positions of event source
mappings. Each row carries a checksum, see `formats`. The database is in WAL mode with
`synchronous=NORMAL`: a commit is in the operating system's hands when `write` returns, so killing this process loses nothing,
and there is no fsync for each change. What a power failure can take is the last changes before it, never the consistency of
the file (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lambda_provider.store.errors import StateError
from lambda_provider.store.formats import FORMAT, checksum, migrate


class Key(NamedTuple):
    """The address of a record. `name` is unique among records of one kind, account and region."""

    kind: str
    account_id: str
    region: str
    name: str


class EventRow(NamedTuple):
    """An accepted event: `document` is JSON, `response` the payload of the function's last answer, if there was one."""

    id: int
    document: str
    payload: bytes
    response: bytes | None


class PositionRow(NamedTuple):
    """How far the poller of a mapping has come in a shard: `document` is JSON."""

    mapping: str
    shard: str
    document: str


class Journal:
    """The records of a state directory. Owned by one process; usable from every thread, one transaction at a time."""

    def __init__(self, directory: Path) -> None:
        """Open or create the records in `directory`.

        Raises StateError: another process holds the directory, or the file is damaged or of a newer format.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "state.sqlite3"
        self._mutex = threading.Lock()
        self._lock_file = self._take(directory / "lock")
        try:
            self._database = self._open()
        except BaseException:
            os.close(self._lock_file)
            raise

    def load(self) -> Iterator[tuple[Key, str]]:
        """All records with their documents. Raises StateError when the file is damaged."""
        rows = self._rows("SELECT kind, account_id, region, name, document, checksum FROM records", "record")
        for kind, account_id, region, name, document in rows:
            yield Key(kind, account_id, region, name), document

    def write(self, puts: Mapping[Key, str], deletes: Iterable[Key] = ()) -> None:
        """Make a change durable, whole or not at all. Raises StateError when the disk does not take it."""
        with self._transaction():
            self._database.executemany(
                "DELETE FROM records WHERE kind = ? AND account_id = ? AND region = ? AND name = ?", deletes
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO records (kind, account_id, region, name, document, checksum)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                ((*key, document, checksum(*key, document)) for key, document in puts.items()),
            )

    def load_events(self) -> list[EventRow]:
        """All events, oldest first. Raises StateError when the file is damaged."""
        query = "SELECT id, document, payload, response, checksum FROM events ORDER BY id"
        return [EventRow(*row) for row in self._rows(query, "event", skip=1)]

    def write_events(self, puts: Iterable[EventRow], deletes: Iterable[int]) -> None:
        """Make changes of events durable, all or none. Raises StateError when the disk does not take them."""
        with self._transaction():
            self._database.executemany("DELETE FROM events WHERE id = ?", ((each,) for each in deletes))
            self._database.executemany(
                "INSERT OR REPLACE INTO events (id, document, payload, response, checksum) VALUES (?, ?, ?, ?, ?)",
                ((*row, checksum(*row[1:])) for row in puts),
            )

    def clear_events(self) -> None:
        """Delete all events. Raises StateError."""
        with self._transaction():
            self._database.execute("DELETE FROM events")

    def load_positions(self) -> list[PositionRow]:
        """All positions. Raises StateError when the file is damaged."""
        query = "SELECT mapping, shard, document, checksum FROM positions"
        return [PositionRow(*row) for row in self._rows(query, "position")]

    def write_positions(self, puts: Iterable[PositionRow], deletes: Iterable[tuple[str, str]]) -> None:
        """Make changes of positions durable, all or none; `deletes` are (mapping, shard). Raises StateError."""
        with self._transaction():
            self._database.executemany("DELETE FROM positions WHERE mapping = ? AND shard = ?", deletes)
            self._database.executemany(
                "INSERT OR REPLACE INTO positions (mapping, shard, document, checksum) VALUES (?, ?, ?, ?)",
                ((*row, checksum(*row)) for row in puts),
            )

    def checkpoint(self) -> None:
        """Move what the write-ahead log holds into the database file. Raises StateError."""
        with self._guarded():
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the directory. May be called twice."""
        with self._mutex:
            if self._lock_file >= 0:
                self._database.close()
                os.close(self._lock_file)
                self._lock_file = -1

    def _take(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise StateError(
                f"the state directory {path.parent} is in use by another process (pid {owner}): "
                "stop that one first, or choose another directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor

    def _open(self) -> sqlite3.Connection:
        with self._guarded():
            database = sqlite3.connect(self._path, check_same_thread=False)
            # Text that is none is a damaged row, not an error of the query: the checksum tells.
            database.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
            try:
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found > FORMAT:
            raise StateError(
                f"{self._path} has format {found}, this version reads up to {FORMAT}: "
                "use the newer version that wrote it, or another state directory"
            )
        if found == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise StateError(f"{self._path} is a database of something else: choose another state directory")
        if found == 0 and any(self._path.parent.glob("code/*.zip")):
            raise StateError(damaged(self._path, "it is missing or empty, but there is code of functions beside it"))
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        migrate(database, found)

    def _rows(self, query: str, noun: str, *, skip: int = 0) -> list[tuple[Any, ...]]:
        """What a query finds without the last column: the checksum of the others, of those after the first `skip`."""
        with self._guarded():
            rows = self._database.execute(query).fetchall()
        for row in rows:
            if checksum(*row[skip:-1]) != row[-1]:
                raise StateError(damaged(self._path, f"the checksum of the {noun} {_name(row)} is wrong"))
        return [row[:-1] for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guarded(), self._database:
            yield

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._mutex:
            try:
                yield
            except sqlite3.OperationalError as error:
                raise StateError(f"{self._path} cannot be used: {error}; the change was not made") from error
            except sqlite3.DatabaseError as error:
                raise StateError(damaged(self._path, str(error))) from error


def damaged(path: Path, what: str) -> str:
    """The message for a file that is not what was written."""
    return (
        f"{path} is damaged: {what}. Nothing was overwritten: restore the file from a copy, "
        "or move the state directory away to start empty"
    )


def _name(row: Sequence[Any]) -> str:
    """What a person finds the row by: its first columns, without its content."""
    return "/".join(str(column) for column in row[:-2]) if isinstance(row[0], str) else str(row[0])
