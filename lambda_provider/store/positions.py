"""Where the pollers of event source mappings have come to, so that they go on there after a restart."""

from __future__ import annotations

import concurrent.futures
import json
import logging
import threading
from collections.abc import Container, Iterable
from typing import Any

from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import Journal, PositionRow

logger = logging.getLogger(__name__)


class Positions:
    """A JSON value for each shard of each mapping; `LambdaProvider.positions` is the one instance of a provider.

        positions.put(uuid, "shardId-000000000000", {"after": "49590338271490256608559692538361571095921575989136588898"})
        positions.get(uuid, "shardId-000000000000")     # the value put last, also after a restart; None if there is none
        positions.of(uuid)                              # {shard: value}
        positions.delete(uuid, "shardId-000000000000")  # the shard has ended
        positions.forget(uuid)                          # the mapping was deleted
        positions.flush()                               # blocks until all of it is durable

    `shard` is whatever a source calls its parts (a shard id, `topic-partition`, or "" where there is one). Usable from every
    thread; nothing but `flush` waits for a disk. A change is seen by readers at once and written soon by a thread of its own,
    with all that came meanwhile in one transaction. A kill within that moment takes a poller back to an earlier position, so
    some records are delivered again: at least once, as on AWS. Without a state directory the values live in memory.
    """

    def __init__(self) -> None:
        self._journal: Journal | None = None
        self._values: dict[str, dict[str, str]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._mutex = threading.Lock()
        self._writing = threading.Lock()
        """Held for the length of a transaction; taken before `_mutex`, never after."""
        self._thread: concurrent.futures.ThreadPoolExecutor | None = None
        self._scheduled = False

    def get(self, mapping: str, shard: str) -> Any:
        """The value that was put last, or None."""
        with self._mutex:
            text = self._values.get(mapping, {}).get(shard)
        return None if text is None else json.loads(text)

    def of(self, mapping: str) -> dict[str, Any]:
        """The values of a mapping, by shard."""
        with self._mutex:
            texts = dict(self._values.get(mapping, {}))
        return {shard: json.loads(text) for shard, text in texts.items()}

    def put(self, mapping: str, shard: str, position: Any) -> None:
        """Keep a value, any that JSON holds; TypeError for others."""
        text = json.dumps(position, separators=(",", ":"))
        with self._mutex:
            self._values.setdefault(mapping, {})[shard] = text
            self._write_soon((mapping, shard))

    def delete(self, mapping: str, shard: str) -> None:
        """Forget a shard, if it is known."""
        with self._mutex:
            if self._values.get(mapping, {}).pop(shard, None) is not None:
                self._write_soon((mapping, shard))

    def forget(self, mapping: str) -> None:
        """Forget a mapping with all its shards, if it is known."""
        with self._mutex:
            self._write_soon(*((mapping, shard) for shard in self._values.pop(mapping, {})))

    def clear(self) -> None:
        """Forget everything, durably. Raises StateError."""
        with self._mutex:
            self._write_soon(*((mapping, shard) for mapping, shards in self._values.items() for shard in shards))
            self._values.clear()
        self.flush()

    def flush(self) -> None:
        """Write what is not written yet. Blocking. Raises StateError when the disk does not take it; it is kept then."""
        with self._writing:
            with self._mutex:
                journal, changed, self._changed = self._journal, self._changed, set()
                self._scheduled = False
                found = {key: self._values.get(key[0], {}).get(key[1]) for key in changed}
            if journal is None or not changed:
                return
            puts = [PositionRow(*key, text) for key, text in found.items() if text is not None]
            try:
                journal.write_positions(puts, [key for key, text in found.items() if text is None])
            except StateError:
                with self._mutex:
                    self._changed |= changed  # They go with the next change.
                raise

    # Life

    def open(self, journal: Journal | None, rows: Iterable[PositionRow], mappings: Container[str]) -> None:
        """Have what the journal holds, `rows`, instead of what is here; what is of other mappings than these is deleted."""
        with self._mutex:
            self._journal = journal
            self._values, self._changed = {}, set()
            for row in rows:
                if row.mapping in mappings:
                    self._values.setdefault(row.mapping, {})[row.shard] = row.document
                else:
                    self._write_soon((row.mapping, row.shard))

    def rows(self) -> list[PositionRow]:
        """Everything, as rows of a journal."""
        with self._mutex:
            return [
                PositionRow(mapping, shard, text)
                for mapping, shards in self._values.items()
                for shard, text in shards.items()
            ]

    def close(self) -> None:
        """Write what is left and let go of the journal, before it is closed; what comes later is lost with the process.

        May be called twice.
        """
        try:
            self.flush()
        except StateError as error:
            logger.warning("positions of event source mappings: %s", error)
        with self._mutex:
            self._journal, thread, self._thread = None, self._thread, None
        if thread is not None:
            thread.shutdown()

    def _write_soon(self, *keys: tuple[str, str]) -> None:
        """Under the mutex: these have changed."""
        if self._journal is None or not keys:
            return
        self._changed.update(keys)
        if not self._scheduled:
            self._scheduled = True
            if self._thread is None:
                self._thread = concurrent.futures.ThreadPoolExecutor(1, "positions")
            self._thread.submit(self._flush_in_background)

    def _flush_in_background(self) -> None:
        try:
            self.flush()
        except StateError as error:
            logger.warning("positions of event source mappings: %s", error)
