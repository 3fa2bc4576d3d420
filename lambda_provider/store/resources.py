"""Resources beside functions: layers, event source mappings, code signing configs, capacity providers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from lambda_provider.model.documents import dump
from lambda_provider.store.journal import Key

logger = logging.getLogger(__name__)


class Resource(Protocol):
    """A stored value: a frozen dataclass that knows its address. `name` is unique in its table, account and region."""

    @property
    def account_id(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def sequence(self) -> int:
        """The position in the order of creation."""
        ...


R = TypeVar("R", bound=Resource)

Write = Callable[[Mapping[Key, str], Iterable[Key]], None]


@dataclass(slots=True, eq=False)
class _Shelf(Generic[R]):
    """The resources of one account in one region. Readers take `values` as it is: a change replaces the dictionary."""

    values: dict[str, R] = field(default_factory=dict)
    next_sequence: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)


class ResourceEditor(Generic[R]):
    """The resources of a table in one account and region, within `ResourceTable.changing(...)`."""

    def __init__(self, values: dict[str, R], next_sequence: int) -> None:
        self.values = dict(values)
        self.next_sequence = next_sequence

    def get(self, name: str) -> R | None:
        """The resource of that name as it is now, with the changes so far."""
        return self.values.get(name)

    def put(self, value: R) -> R:
        """Create or replace a resource. A new one takes `next_sequence` as its sequence."""
        if value.name not in self.values:
            self.next_sequence += 1
        self.values[value.name] = value
        return value

    def remove(self, name: str) -> R:
        """Delete a resource that exists."""
        return self.values.pop(name)


class ResourceTable(Generic[R]):
    """All resources of one kind, by account and region. Usable from every thread.

    Readers take no lock and never see half a change. A writer has the lock of the account's region for the length of its unit
    of work. `archives_of` tells which code archives a resource counts on.
    """

    def __init__(
        self,
        kind: str,
        type_: type[R],
        write: Write,
        archives: Any,
        archives_of: Callable[[R], Iterable[str]] = lambda resource: (),
    ) -> None:
        self.kind = kind
        self.type = type_
        self._write = write
        self._archives = archives
        self._archives_of = archives_of
        self.on_change: Callable[[R | None, R | None], None] = lambda old, new: None
        """Called with the old and the new value of a resource when a change is durable and readers see it; None is a resource
        that does not exist. In the thread of the writer, which has the lock of the region still."""
        self._shelves: dict[tuple[str, str], _Shelf[R]] = {}
        self._shelves_lock = threading.Lock()

    def get(self, account_id: str, region: str, name: str) -> R | None:
        """The resource of that name, or None."""
        shelf = self._shelves.get((account_id, region))
        return shelf.values.get(name) if shelf is not None else None

    def values(self, account_id: str, region: str) -> list[R]:
        """The resources of an account in a region, in order of creation."""
        shelf = self._shelves.get((account_id, region))
        return list(shelf.values.values()) if shelf is not None else []

    def all(self) -> Iterator[R]:
        """The resources of every account and region."""
        for account_id, region in list(self._shelves):
            yield from self.values(account_id, region)

    @contextmanager
    def changing(self, account_id: str, region: str) -> Iterator[ResourceEditor[R]]:
        """Change resources: what the block put and removed is durable and then visible when it ends well."""
        shelf = self._shelf(account_id, region)
        with shelf.lock:
            editor = ResourceEditor(shelf.values, shelf.next_sequence)
            yield editor
            self._commit(shelf, account_id, region, editor)

    def clear(self) -> None:
        """Delete everything, durably."""
        for account_id, region in list(self._shelves):
            with self.changing(account_id, region) as resources:
                resources.values.clear()

    def records(self) -> list[tuple[Key, str]]:
        """The resources of every account and region as records."""
        return [(self._key(each.account_id, each.region, each.name), dump(each)) for each in self.all()]

    def take_over(self, values: Iterable[R]) -> None:
        """Have these stored resources instead of what is here."""
        before = list(self.all())
        self._shelves = {}
        for value in sorted(values, key=lambda each: each.sequence):
            self._adopt(value)
        for resource in before:
            self._archives.release(self._archives_of(resource))

    def _adopt(self, value: R) -> None:
        if missing := self._archives.adopt(self._archives_of(value)):
            logger.error(
                "the code of %s %s in %s is missing: no archive %s",
                self.kind,
                value.name,
                value.region,
                ", ".join(missing),
            )
        shelf = self._shelf(value.account_id, value.region)
        shelf.values[value.name] = value
        shelf.next_sequence = max(shelf.next_sequence, value.sequence + 1)

    def _shelf(self, account_id: str, region: str) -> _Shelf[R]:
        with self._shelves_lock:
            return self._shelves.setdefault((account_id, region), _Shelf())

    def _commit(self, shelf: _Shelf[R], account_id: str, region: str, editor: ResourceEditor[R]) -> None:
        before, after = shelf.values, editor.values
        added = [value for name, value in after.items() if before.get(name) is not value]
        gone = [value for name, value in before.items() if after.get(name) is not value]
        if not added and not gone:
            return
        for value in added:
            self._archives.retain(self._archives_of(value))
        try:
            puts = {self._key(account_id, region, value.name): dump(value) for value in added}
            removed = [self._key(account_id, region, value.name) for value in gone if value.name not in after]
            self._write(puts, removed)
        except BaseException:
            for value in added:
                self._archives.release(self._archives_of(value))
            raise
        shelf.values = after
        shelf.next_sequence = editor.next_sequence
        for value in gone:
            self._archives.release(self._archives_of(value))
        for name in dict.fromkeys([value.name for value in (*gone, *added)]):
            self.on_change(before.get(name), after.get(name))

    def _key(self, account_id: str, region: str, name: str) -> Key:
        return Key(self.kind, account_id, region, name)
