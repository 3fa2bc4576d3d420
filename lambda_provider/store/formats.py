"""The layout of the state file, from its first format to the one of now.

A migration brings a file from one format to the next; a file goes through all that it lacks in one transaction, so that a
process that is killed meanwhile leaves the older file as it was. Files of each format are kept with the tests.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable


def checksum(*fields: object) -> int:
    """What a row carries of itself, so that a damaged one is known even where its JSON can still be read.

    SQLite notices damage of its pages' structure, not of what is in them. Texts, bytes and anything else are different even if
    they look the same: what a value is, is one of its bits, too.
    """
    value = 0
    for field in fields:
        content = field if isinstance(field, bytes) else str(field).encode("utf-8", "surrogateescape")
        kind = b"b" if isinstance(field, bytes) else b"s" if isinstance(field, str) else b"o"
        value = zlib.crc32(content, zlib.crc32(b"%c%d" % (kind, len(content)), value))
    return value


def _records(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE records (kind TEXT, account_id TEXT, region TEXT, name TEXT,"
        " document TEXT NOT NULL, PRIMARY KEY (kind, account_id, region, name)) WITHOUT ROWID"
    )


def _events(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE events (id INTEGER PRIMARY KEY, document TEXT NOT NULL, payload BLOB NOT NULL, response BLOB)"
    )


def _checksums_and_positions(database: sqlite3.Connection) -> None:
    database.create_function("checksum", -1, checksum, deterministic=True)
    for table, fields in (
        ("records", "kind, account_id, region, name, document"),
        ("events", "document, payload, response"),
    ):
        database.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
        database.execute(f"UPDATE {table} SET checksum = checksum({fields})")
    database.execute(
        "CREATE TABLE positions (mapping TEXT, shard TEXT, document TEXT NOT NULL, checksum INTEGER NOT NULL,"
        " PRIMARY KEY (mapping, shard)) WITHOUT ROWID"
    )


_MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_records, _events, _checksums_and_positions)
"""The migration at index n makes format n + 1; 0 is an empty file."""

FORMAT = len(_MIGRATIONS)
"""The version of the file's layout and of the documents in it. A change needs a migration.

2: accepted asynchronous events. 3: the positions of event source mappings, and rows with checksums.
"""


def migrate(database: sqlite3.Connection, found: int) -> None:
    """Bring a file of format `found` to the one of now; nothing is written if it has it."""
    if found == FORMAT:
        return
    with database:
        database.execute("BEGIN IMMEDIATE")
        for migration in _MIGRATIONS[found:]:
            migration(database)
        database.execute(f"PRAGMA user_version = {FORMAT}")
