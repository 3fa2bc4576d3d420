"""How far a partition has been processed: what may be committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Progress:
    """The bookkeeping of one partition. Offsets are given in their order, with gaps where the log has some.

    `position` is what a consumer group commits: the offset at which it would go on after a restart. It never passes a record
    that is not done, and passes what is done, discarded or filtered out as soon as nothing before it is open.
    """

    def __init__(self, begin: int) -> None:
        """`begin` is the offset at which reading begins."""
        self.position = begin
        self._seen = begin
        self._open: deque[int] = deque()
        self._done: set[int] = set()

    def taken(self, offset: int) -> bool:
        """A record came that is to be processed. False for one that came before: a fetch may repeat itself."""
        if offset < self._seen:
            return False
        self._seen = offset + 1
        self._open.append(offset)
        self._move()
        return True

    def skipped(self, offset: int) -> None:
        """A record came that nobody is to process."""
        if offset >= self._seen:
            self._seen = offset + 1
            self._move()

    def done(self, offsets: Iterable[int]) -> None:
        """Records are processed, or given up."""
        self._done.update(offsets)
        self._move()

    @property
    def outstanding(self) -> int:
        """Records that are not done."""
        return len(self._open) - len(self._done)

    def _move(self) -> None:
        while self._open and self._open[0] in self._done:
            self._done.discard(self._open.popleft())
        self.position = self._open[0] if self._open else self._seen
