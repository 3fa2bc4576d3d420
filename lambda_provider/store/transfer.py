"""State as one file, to be moved to another directory or machine.

A zip archive: `manifest.json`, one JSON line a row in `records.jsonl`, `events.jsonl` and `positions.jsonl`, and the code as
`code/<sha256>.zip`. Its format has a version of its own; the documents in it are those of the state format that it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from lambda_provider.store.archives import ArchiveStore
from lambda_provider.store.errors import StateError
from lambda_provider.store.formats import FORMAT
from lambda_provider.store.journal import EventRow, Key, PositionRow, Rows

KIND = "lambda-provider state"
FILE_FORMAT = 1
OLDEST_STATE_FORMAT = 3
"""The first format whose state could be exported. A later one that changes documents has to change those of a file here, too."""

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Summary:
    """What is in a file, for whoever made or reads it."""

    records: int
    events: int
    positions: int
    archives: int

    def __str__(self) -> str:
        return (
            f"{self.records} records, {self.events} asynchronous events, {self.positions} positions of event sources, "
            f"{self.archives} code archives"
        )


def write_file(file: IO[bytes], rows: Rows, archives: ArchiveStore) -> Summary:
    """Write state into a file that is open for writing. Blocking.

    The archives that the records name must stay meanwhile (`ArchiveStore.keep_all`); one that is missing is missing in the file.
    """
    names = sorted({sha256 for _, document in rows.records for sha256 in _hashes(json.loads(document))})
    kept = [archive for archive in map(archives.get, names) if archive.path.exists()]
    summary = Summary(len(rows.records), len(rows.events), len(rows.positions), len(kept))
    manifest = {
        "kind": KIND,
        "fileFormat": FILE_FORMAT,
        "stateFormat": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **vars(summary),
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("manifest.json", json.dumps(manifest, indent=2) + "\n")
        for name, values in (
            ("records.jsonl", ([*key, json.loads(document)] for key, document in rows.records)),
            ("events.jsonl", map(_event_line, rows.events)),
            ("positions.jsonl", ([row.mapping, row.shard, json.loads(row.document)] for row in rows.positions)),
        ):
            with opened.open(name, "w", force_zip64=True) as member:
                for value in values:
                    member.write(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
        for archive in kept:
            opened.write(archive.path, f"code/{archive.sha256}.zip", zipfile.ZIP_STORED)
    return summary


class StateFile:
    """A file that `write_file` wrote, checked as far as that is possible without unpacking code."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read everything but the code. Blocking. Raises StateError: no such file, damaged, or of a newer version."""
        self._file = file
        with self._reading() as opened:
            self._check(self._manifest(opened))
            self.rows = Rows(
                [(Key(*line[:4]), _text(line[4])) for line in _lines(opened, "records.jsonl")],
                [_event_row(line) for line in _lines(opened, "events.jsonl")],
                [PositionRow(line[0], line[1], _text(line[2])) for line in _lines(opened, "positions.jsonl")],
            )
            self._archives = [name for name in opened.namelist() if name.startswith("code/")]
        self.summary = Summary(
            len(self.rows.records), len(self.rows.events), len(self.rows.positions), len(self._archives)
        )

    @contextmanager
    def unpacked_into(self, archives: ArchiveStore) -> Iterator[None]:
        """Have the file's code in `archives` for the length of the block; what is stored keeps it longer. Raises StateError."""
        with ExitStack() as held:
            with self._reading() as opened:
                for name in self._archives:
                    content = opened.read(name)
                    if name != f"code/{hashlib.sha256(content).hexdigest()}.zip":
                        raise ValueError(f"{name} is not what its name says")
                    held.enter_context(archives.hold(content, sync=False))
            os.sync()
            yield

    def _manifest(self, opened: zipfile.ZipFile) -> Mapping[str, Any]:
        manifest = json.loads(opened.read("manifest.json"))
        if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
            raise KeyError("manifest.json is of something else")
        return manifest

    def _check(self, manifest: Mapping[str, Any]) -> None:
        file_format, state_format = manifest["fileFormat"], manifest["stateFormat"]
        if file_format > FILE_FORMAT or state_format > FORMAT:
            raise StateError(
                f"the file has format {file_format} and state of format {state_format}, this version reads up to "
                f"{FILE_FORMAT} and {FORMAT}: import it with the newer version that wrote it"
            )
        if file_format < 1 or state_format < OLDEST_STATE_FORMAT:
            raise ValueError(f"there is no format {file_format} with state of format {state_format}")

    @contextmanager
    def _reading(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._file) as opened:
                yield opened
        except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError, TypeError, IndexError) as error:
            raise StateError(_damaged(str(error))) from error


def _damaged(what: str) -> str:
    return f"the file cannot be read: {what}. Nothing was changed: is it a file of `lambda-provider state export`, and whole?"


def _hashes(value: Any) -> Iterator[str]:
    """The hashes of archives in a document: whatever is called `sha256`, at any depth."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "sha256" and isinstance(item, str) and _SHA256.fullmatch(item):
                yield item
            else:
                yield from _hashes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _hashes(item)


def _lines(opened: zipfile.ZipFile, name: str) -> Iterable[Any]:
    with opened.open(name) as member:
        yield from map(json.loads, member)


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _event_line(row: EventRow) -> list[Any]:
    return [row.id, json.loads(row.document), *map(_encoded, (row.payload, row.response))]


def _event_row(line: list[Any]) -> EventRow:
    decode: Callable[[str], bytes] = base64.b64decode
    return EventRow(line[0], _text(line[1]), decode(line[2]), None if line[3] is None else decode(line[3]))


def _encoded(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
