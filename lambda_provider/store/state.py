"""Everything that a provider keeps, in memory or in a state directory."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from lambda_provider.store.archives import ArchiveStore
from lambda_provider.store.errors import NotEmpty, StateError
from lambda_provider.store.event_log import EventLog, event_of
from lambda_provider.store.journal import COPY_S, Journal, Rows
from lambda_provider.store.positions import Positions
from lambda_provider.store.store import Contents, Store
from lambda_provider.store.transfer import StateFile, Summary, write_file
from lambda_runtime.event_queue import QueuedEvent


class State:
    """The store with its archives, the positions of event source mappings, and the accepted events.

    Without a directory all of it is in memory, but for the archives, and there is no event log: events that wait are the
    runtime's own. The order of a life: `open`, use, `close`, and `open` again if somebody has replaced the directory.
    """

    def __init__(self, directory: Path | None = None) -> None:
        """Nothing is read yet."""
        self.directory = directory
        self.archives = ArchiveStore(directory / "code" if directory is not None else None)
        self.store = Store(self.archives)
        self.positions = Positions()
        self.events: EventLog | None = None
        self._journal: Journal | None = None
        self._waiting: list[QueuedEvent] = []

    def open(self) -> None:
        """Take the directory and read what is in it. Raises StateError."""
        if self.directory is None:
            return
        self._journal = Journal(self.directory)
        try:
            self._load(self._journal)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Write what is not written yet, and let go of the directory; what is in memory stays. May be called twice."""
        self.thaw()
        if self.events is not None:
            self.events.close()
        self.positions.close()
        if self._journal is not None:
            self._journal.close()

    def clear(self) -> None:
        """Forget everything, durably. Raises StateError or ServiceException when the disk does not take it."""
        self.store.clear()
        self.positions.clear()
        self._waiting = []
        if self.events is not None:
            self.events.clear()

    def take_events(self) -> list[QueuedEvent]:
        """The events that were there when the state was opened or imported, oldest first; once."""
        taken, self._waiting = self._waiting, []
        return taken

    # Copies

    def freeze(self) -> None:
        """Let somebody copy the directory: until `thaw`, changes wait, so that what is copied belongs together."""
        if self._journal is not None:
            self.positions.flush()
            self.archives.keep_still(COPY_S)
            try:
                self._journal.freeze()
            except StateError:
                self.archives.go_on()
                raise

    def thaw(self) -> None:
        """The copy is made."""
        if self._journal is not None:
            self._journal.thaw()
            self.archives.go_on()

    def export(self, file: IO[bytes]) -> Summary:
        """Write everything into one file, as it is at one moment; work goes on. Blocking. Raises StateError."""
        self.archives.keep_all()
        try:
            return write_file(file, self._rows(), self.archives)
        finally:
            self.archives.keep_counted()

    def require_room_for(self, file: StateFile, *, replace: bool) -> None:
        """Raise NotEmpty if an import would overwrite something, unless it may."""
        if not replace and not self.store.is_empty:
            there = f"the state directory {self.directory}" if self.directory is not None else "the gateway"
            raise NotEmpty(
                f"{there} is not empty, and an import of {file.summary.records} records would replace what is there: "
                "say --replace if that is wanted. Nothing was changed"
            )

    def replace(self, file: StateFile) -> None:
        """Have what is in the file instead of what is here, durably in one step. What runs must have been ended before.

        Raises StateError or ServiceException; then nothing has changed.
        """
        contents, events = self._read(file.rows)
        with file.unpacked_into(self.archives):
            if self._journal is None:
                self._take_over(contents, events, file.rows)
                return
            # What is still on its way to the disk belongs to what is replaced.
            self.positions.close()
            if self.events is not None:
                self.events.close()
            try:
                self._journal.replace(file.rows)
            except StateError:
                self._load(self._journal)
                raise
            self._take_over(contents, events, file.rows)

    def _load(self, journal: Journal) -> None:
        rows = journal.load()
        self._take_over(*self._read(rows), rows)

    def _read(self, rows: Rows) -> tuple[Contents, list[QueuedEvent]]:
        return self.store.read(rows.records), [event_of(row) for row in rows.events]

    def _take_over(self, contents: Contents, events: list[QueuedEvent], rows: Rows) -> None:
        self.store.load(self._journal, contents)
        mappings = {mapping.name for mapping in self.store.event_source_mappings.all()}
        self.positions.open(self._journal, rows.positions, mappings)
        if self._journal is not None:
            self.events = EventLog(self._journal, last_id=events[-1].id if events else 0)
        self._waiting = events

    def _rows(self) -> Rows:
        if self._journal is None:
            return Rows(self.store.records(), [], self.positions.rows())
        self.positions.flush()
        return self._journal.load()
