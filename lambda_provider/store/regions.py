"""The functions of one account in one region: who they are by name, in which order they came, and how much code they have."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from lambda_provider.api import ResourceConflictException
from lambda_provider.model.function import Function

_BATCH = 64


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one function. `value` is None before it is created and once it is deleted."""

    value: Function | None
    lock: threading.RLock = field(default_factory=threading.RLock)


@dataclass(slots=True, eq=False)
class Region:
    """Slots by name, for readers without a lock, and the order of creation for listing.

    Values change here only, by whoever has the slot's lock. The region's own is taken after it, never before.
    """

    slots: dict[str, Slot] = field(default_factory=dict)
    _order: list[tuple[int, str]] = field(default_factory=list)
    _next_sequence: int = 0
    _code_size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self, name: str, slot: Slot) -> int:
        """Give a name to a function that is to be created; its place in the order. ResourceConflictException if it is taken."""
        with self._lock:
            if name in self.slots:
                raise ResourceConflictException(f"Function already exist: {name}")
            self.slots[name] = slot
            sequence = self._next_sequence
            self._next_sequence += 1
            return sequence

    def release(self, name: str) -> None:
        """The function is not created after all."""
        with self._lock:
            del self.slots[name]

    def put(self, slot: Slot, old: Function | None, new: Function) -> None:
        """Have readers see the new value; `old` is None for a function that is created."""
        with self._lock:
            slot.value = new
            self._code_size += new.code_size() - (old.code_size() if old is not None else 0)
            if old is None:
                insort(self._order, (new.settings.sequence, new.name))

    def remove(self, slot: Slot, function: Function) -> None:
        """The function does not exist any more."""
        with self._lock:
            slot.value = None
            del self.slots[function.name]
            del self._order[bisect_left(self._order, (function.settings.sequence, function.name))]
            self._code_size -= function.code_size()

    def adopt(self, function: Function) -> None:
        """Take a function that was stored, in the order in which these were created."""
        self.slots[function.name] = Slot(function)
        self._order.append((function.settings.sequence, function.name))
        self._next_sequence = max(self._next_sequence, function.settings.sequence + 1)
        self._code_size += function.code_size()

    def functions(self, after: int) -> Iterator[Function]:
        """The functions in order of creation, those behind a sequence number. Cheap to take a few from."""
        while True:
            with self._lock:
                start = bisect_right(self._order, after, key=lambda entry: entry[0])
                names = self._order[start : start + _BATCH]
                found = [slot.value for _, name in names if (slot := self.slots.get(name)) is not None]
            for function in found:
                if function is not None:
                    yield function
            if len(names) < _BATCH:
                return
            after = names[-1][0]

    def usage(self) -> tuple[int, int]:
        """How many functions there are, and the bytes of their code."""
        with self._lock:
            return len(self.slots), self._code_size
