"""Tumbling windows: records of a shard by the time at which they arrived, and a state that invokes hand on.

https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html and services-ddb-windows.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

STATE_LIMIT_BYTES = 1024 * 1024
"""A state that is larger ends its window early; the next invoke goes on in the same window with an empty one."""

_ENVELOPE_BYTES = 1024
"""More than what an event has around records and state."""


class TumblingWindow:
    """The window of one shard: `closed` until a record opens it, until it is closed again. Touched only on the loop.

    `start` and `end` are seconds since the epoch of the stream's time; a window begins at a multiple of its length.
    """

    def __init__(self, length_s: int, shard_id: str, source_arn: str, stored: Any) -> None:
        self._length_s = length_s
        self._shard_id = shard_id
        self._source_arn = source_arn
        self.start: float | None = stored["start"] if stored else None
        self._state: Any = stored["state"] if stored else {}

    @property
    def is_open(self) -> bool:
        """Whether the window has had a record, and no final invoke yet."""
        return self.start is not None

    @property
    def end(self) -> float:
        """The first moment that does not belong to the open window."""
        return (self.start or 0) + self._length_s

    @property
    def overhead_bytes(self) -> int:
        """What an event has beside its records."""
        return _ENVELOPE_BYTES + len(json.dumps(self._state))

    @property
    def too_large(self) -> bool:
        """Whether the state may not be handed on any more."""
        return len(json.dumps(self._state, ensure_ascii=False, separators=(",", ":")).encode()) > STATE_LIMIT_BYTES

    def covers(self, arrival: float) -> bool:
        """Whether a record belongs to the open window; any does when none is open. One that is late does, too."""
        return self.start is None or arrival < self.end

    def open(self, arrival: float) -> None:
        """Begin the window that a record belongs to, unless one is open."""
        if self.start is None:
            self.start = arrival // self._length_s * self._length_s

    def event(self, records: Sequence[bytes], *, final: bool = False, early: bool = False) -> bytes:
        """The event for records, or for the end of the window."""
        members = {
            "window": {"start": _text(self.start or 0), "end": _text(self.end)},
            "state": self._state,
            "shardId": self._shard_id,
            "eventSourceARN": self._source_arn,
            "isFinalInvokeForWindow": final,
            "isWindowTerminatedEarly": early,
        }
        rest = json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
        return b'{"Records":[' + b",".join(records) + b"]," + rest[1:]

    def take(self, response: bytes) -> bool:
        """Take the state that a function answered; False if it answered none, which is a failure."""
        try:
            document = json.loads(response)
        except ValueError:
            return False
        if not isinstance(document, dict) or "state" not in document:
            return False
        self._state = document["state"]
        return True

    def close(self, *, early: bool = False) -> None:
        """The final invoke is done. One that ended early goes on, with an empty state."""
        self._state = {}
        if not early:
            self.start = None

    def stored(self) -> Any:
        """What has to survive a restart: None, or what the constructor takes."""
        return {"start": self.start, "state": self._state} if self.is_open else None


def _text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
