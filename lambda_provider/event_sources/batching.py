"""Records on their way into one event: how many, and how large together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

PAYLOAD_LIMIT_BYTES = 6 * 1024 * 1024
"""What an event may have, from every source (lambda/latest/dg/invocation-eventsourcemapping.html, "Batching behavior")."""


_OVERHEAD_BYTES = len('{"Records":[]}')


class Batch(Generic[T]):
    """Records in the order in which they came, each with the JSON that the function gets of it.

    It is full with `size` records, or when one did not fit into `limit_bytes` any more; `overhead_bytes` is what the event has
    around the records (the comma between two is counted here). A record that is too large alone is a batch of its own: AWS's
    limit is the payload's, not the record's.
    """

    def __init__(self, size: int, limit_bytes: int = PAYLOAD_LIMIT_BYTES, overhead_bytes: int = _OVERHEAD_BYTES):
        self.records: list[T] = []
        self.texts: list[bytes] = []
        self._size = size
        self._left = limit_bytes - overhead_bytes
        self._overflowed = False

    def __len__(self) -> int:
        return len(self.records)

    @property
    def room(self) -> int:
        """How many more records are asked for."""
        return 0 if self._overflowed else self._size - len(self.records)

    @property
    def full(self) -> bool:
        """Whether it goes to the function without waiting for more."""
        return self.room <= 0

    def offer(self, record: T, text: bytes) -> bool:
        """Take a record if there is room; False makes the batch full, and the record belongs into the next one."""
        needed = len(text) + 1
        if self.records and (self.full or needed > self._left):
            self._overflowed = True
            return False
        self.records.append(record)
        self.texts.append(text)
        self._left -= needed
        return True

    def event(self) -> bytes:
        """The event of sources whose records stand in one list: `{"Records":[…]}`."""
        return b'{"Records":[' + b",".join(self.texts) + b"]}"


def batches(
    records: Iterable[tuple[T, bytes]],
    size: int,
    limit_bytes: int = PAYLOAD_LIMIT_BYTES,
    overhead_bytes: int = _OVERHEAD_BYTES,
) -> list[Batch[T]]:
    """Records with their JSON in as few batches as their order allows."""
    result: list[Batch[T]] = []
    for record, text in records:
        if not result or not result[-1].offer(record, text):
            result.append(Batch(size, limit_bytes, overhead_bytes))
            result[-1].offer(record, text)
    return result


@dataclass(frozen=True, slots=True)
class Frame:
    """What an event has before and after its records, for sources whose events say more than `{"Records":[…]}`."""

    head: bytes
    tail: bytes

    def event(self, texts: Iterable[bytes]) -> bytes:
        """The event with these records."""
        return self.head + b",".join(texts) + self.tail

    @property
    def size(self) -> int:
        """Bytes around the records."""
        return len(self.head) + len(self.tail)
