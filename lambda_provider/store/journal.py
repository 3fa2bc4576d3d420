"""Durable records: one SQLite transaction for each acknowledged change.

A record is a JSON document under (kind, account, region, name). Accepted asynchronous events are rows of a table of their own,
because they are written more often, carry a payload, and only their order matters; so are the positions of event source
mappings. Each row carries a checksum, see `formats`. The database is in WAL mode with
`synchronous=NORMAL`: a commit is in the operating system's hands when `write` returns, so killing this process loses nothing,
and there is no fsync for each change. What a power failure can take is the last changes before it, never the consistency of
the file (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lambda_provider.store.errors import StateError
from lambda_provider.store.formats import FORMAT, checksum, migrate

logger = logging.getLogger(__name__)

COPY_S = 60.0
"""How long changes wait for somebody who copies the directory."""


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


class Rows(NamedTuple):
    """Everything that a journal holds, in no order but that of the events."""

    records: list[tuple[Key, str]]
    events: list[EventRow]
    positions: list[PositionRow]


_RECORDS = "SELECT kind, account_id, region, name, document, checksum FROM records"
_EVENTS = "SELECT id, document, payload, response, checksum FROM events ORDER BY id"
_POSITIONS = "SELECT mapping, shard, document, checksum FROM positions"


class Journal:
    """The records of a state directory. Owned by one process; usable from every thread, one transaction at a time."""

    def __init__(self, directory: Path) -> None:
        """Open or create the records in `directory`.

        Raises StateError: another process holds the directory, nothing can be written to it, or the file is damaged or of a
        newer format.
        """
        self._path = directory / "state.sqlite3"
        self._mutex = threading.Condition(threading.Lock())
        self._frozen = False
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock_file = self._take(directory / "lock")
            if self._path.exists() and not os.access(self._path, os.R_OK | os.W_OK):
                os.close(self._lock_file)
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._path))
        except OSError as error:
            raise StateError(
                f"the state directory {directory} cannot be used: {error.filename}: {error.strerror}. "
                "Choose a directory that this user may write to"
            ) from error
        try:
            self._database = self._open()
        except BaseException:
            os.close(self._lock_file)
            raise

    def load(self) -> Rows:
        """All that there is, as it is at one moment. Raises StateError when the file is damaged."""
        with self._guarded():
            records, events, positions = (
                self._database.execute(query).fetchall() for query in (_RECORDS, _EVENTS, _POSITIONS)
            )
        return Rows(
            [(Key(*row[:4]), row[4]) for row in self._checked(records, "record")],
            [EventRow(*row) for row in self._checked(events, "event", skip=1)],
            [PositionRow(*row) for row in self._checked(positions, "position")],
        )

    def replace(self, rows: Rows) -> None:
        """Have these instead of all that there is, in one transaction. Raises StateError."""
        with self._transaction():
            self._delete_all()
            self._put_records(rows.records)
            self._put_events(rows.events)
            self._put_positions(rows.positions)

    def clear(self) -> None:
        """Delete everything, in one transaction. Raises StateError."""
        with self._transaction():
            self._delete_all()

    def write(self, puts: Mapping[Key, str], deletes: Iterable[Key] = ()) -> None:
        """Make a change durable, whole or not at all. Raises StateError when the disk does not take it."""
        with self._transaction():
            self._database.executemany(
                "DELETE FROM records WHERE kind = ? AND account_id = ? AND region = ? AND name = ?", deletes
            )
            self._put_records(puts.items())

    def write_events(self, puts: Iterable[EventRow], deletes: Iterable[int]) -> None:
        """Make changes of events durable, all or none. Raises StateError when the disk does not take them."""
        with self._transaction():
            self._database.executemany("DELETE FROM events WHERE id = ?", ((each,) for each in deletes))
            self._put_events(puts)

    def clear_events(self) -> None:
        """Delete all events. Raises StateError."""
        with self._transaction():
            self._database.execute("DELETE FROM events")

    def write_positions(self, puts: Iterable[PositionRow], deletes: Iterable[tuple[str, str]]) -> None:
        """Make changes of positions durable, all or none; `deletes` are (mapping, shard). Raises StateError."""
        with self._transaction():
            self._database.executemany("DELETE FROM positions WHERE mapping = ? AND shard = ?", deletes)
            self._put_positions(puts)

    def freeze(self) -> None:
        """Bring everything into the database file, and hold changes back until `thaw`: the directory can be copied.

        Raises StateError. A copy that takes longer than `COPY_S` is not waited for; it may lack code of the newest functions.
        """
        with self._guarded():
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._frozen = True

    def thaw(self) -> None:
        """Changes may be made again."""
        with self._mutex:
            self._frozen = False
            self._mutex.notify_all()

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
        if not (self._path.exists() and self._path.stat().st_size) and any(self._path.parent.glob("code/*.zip")):
            raise StateError(damaged(self._path, "it is missing or empty, but there is code of functions beside it"))
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
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise StateError(damaged(self._path, "its pages do not fit together"))
        # The only user of the file keeps its lock, and needs no memory that is shared with others.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        if database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StateError(
                f"{self._path} cannot have a write-ahead log there: choose a state directory on a local disk"
            )
        database.execute("PRAGMA synchronous = NORMAL")
        migrate(database, found)

    def _delete_all(self) -> None:
        for table in ("records", "events", "positions"):
            self._database.execute(f"DELETE FROM {table}")

    def _put_records(self, rows: Iterable[tuple[Key, str]]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO records (kind, account_id, region, name, document, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            ((*key, document, checksum(*key, document)) for key, document in rows),
        )

    def _put_events(self, rows: Iterable[EventRow]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO events (id, document, payload, response, checksum) VALUES (?, ?, ?, ?, ?)",
            ((*row, checksum(*row[1:])) for row in rows),
        )

    def _put_positions(self, rows: Iterable[PositionRow]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO positions (mapping, shard, document, checksum) VALUES (?, ?, ?, ?)",
            ((*row, checksum(*row)) for row in rows),
        )

    def _checked(self, rows: list[tuple[Any, ...]], noun: str, *, skip: int = 0) -> Iterator[tuple[Any, ...]]:
        """Rows without their last column: the checksum of the others, of those after the first `skip`."""
        for row in rows:
            if checksum(*row[skip:-1]) != row[-1]:
                raise StateError(damaged(self._path, f"the checksum of the {noun} {_name(row)} is wrong"))
            yield row[:-1]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guarded(change=True), self._database:
            yield

    @contextmanager
    def _guarded(self, *, change: bool = False) -> Iterator[None]:
        with self._mutex:
            if change and not self._mutex.wait_for(lambda: not self._frozen, COPY_S):
                logger.warning("%s is being copied for more than %.0f s; changes go on", self._path.parent, COPY_S)
                self._frozen = False
            try:
                yield
            except sqlite3.OperationalError as error:
                raise StateError(
                    f"{self._path} cannot be used: {error} ({error.sqlite_errorname}); the change was not made. "
                    "If its disk is full, make room: later changes work again"
                ) from error
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
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
