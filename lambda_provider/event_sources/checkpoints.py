"""How far a shard has been processed, and what of it is durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from lambda_provider.store.positions import Positions

STARTED = ""
"""The position under this name is not a shard's: it tells where a mapping began (see `streams`)."""


class Checkpoint:
    """The bookkeeping of one shard, for one reader and `lanes` lanes that process its records side by side.

    The stored position `after` is the last record before which everything is processed, dropped or filtered out: a restart
    goes on behind it. What a lane has done beyond it is stored with it (`lanes`), so that it is not done again while the
    parallelization factor stays as it is. `window` is the state of a tumbling window. Sequence numbers are whole numbers, in
    the order of the shard. Touched only on the loop.
    """

    def __init__(self, positions: Positions, mapping: str, shard: str, lanes: int) -> None:
        self._positions = positions
        self._mapping = mapping
        self._shard = shard
        self._lanes = lanes
        stored = positions.get(mapping, shard) or {}
        self.after: int | None = int(stored["after"]) if "after" in stored else None
        self.finished = bool(stored.get("finished"))
        self.window: Any = stored.get("window")
        same = stored.get("factor", 1) == lanes
        self._ahead = {int(lane): int(number) for lane, number in stored.get("lanes", {}).items()} if same else {}
        self._order: deque[int] = deque()
        self._done: set[int] = set()

    @property
    def outstanding(self) -> int:
        """Records that were read and are not done, or have one before them that is not."""
        return len(self._order)

    def read(self, number: int, lane: int) -> bool:
        """A record came; False if its lane has processed it in an earlier life."""
        self._order.append(number)
        if number <= self._ahead.get(lane, -1):
            self._done.add(number)
            return False
        return True

    def skip(self, number: int) -> None:
        """A record came that nobody is to process."""
        self._order.append(number)
        self._done.add(number)

    def done(self, lane: int, numbers: Iterable[int]) -> None:
        """A lane is through with records; `save` makes it durable."""
        for number in numbers:
            self._done.add(number)
            self._ahead[lane] = number

    def save(self) -> None:
        """Move the position over what is done, and store it."""
        while self._order and self._order[0] in self._done:
            self.after = self._order.popleft()
            self._done.discard(self.after)
        if self.after is None and self.window is None and not self._ahead:
            return
        position: dict[str, Any] = {} if self.after is None else {"after": str(self.after)}
        ahead = {lane: number for lane, number in self._ahead.items() if self.after is None or number > self.after}
        if ahead:
            position |= {"factor": self._lanes, "lanes": {str(lane): str(number) for lane, number in ahead.items()}}
        if self.window is not None:
            position["window"] = self.window
        self._positions.put(self._mapping, self._shard, position)

    def finish(self) -> None:
        """The shard has ended, and all of it is processed."""
        self.finished = True
        self._positions.put(self._mapping, self._shard, {"finished": True})
