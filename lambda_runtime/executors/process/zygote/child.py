"""A forked environment as the zygote sees it, and the page of memory in which its processes leave word."""

from __future__ import annotations

import mmap
import os
import select
import struct
from typing import TYPE_CHECKING

from .estates import Estate

if TYPE_CHECKING:
    from . import messages

LEFT = b"left"
"""The last message of an environment that ends by itself, with a descriptor of its mounts for whoever takes its place."""
_TEXT_BYTES = 1800
_STATUS = slice(0, 8)
SETUP_ERROR = slice(8, 8 + _TEXT_BYTES)
ENTRY_POINT_ERROR = slice(SETUP_ERROR.stop, SETUP_ERROR.stop + _TEXT_BYTES)
_MOUNTED = ENTRY_POINT_ERROR.stop


class Outcome:
    """A page that is shared with all processes of an environment."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def write_status(self, status: int) -> None:
        """The wait status of the runtime."""
        self._page[_STATUS] = struct.pack("ii", 1, status)

    def status(self) -> int | None:
        """The wait status of the runtime, if it was left."""
        known, status = struct.unpack("ii", self._page[_STATUS])
        return status if known else None

    def write(self, place: slice, text: bytes) -> None:
        """Leave a text in `SETUP_ERROR` or `ENTRY_POINT_ERROR`; its end, if it is too long."""
        self._page[place] = text[-_TEXT_BYTES:].ljust(_TEXT_BYTES, b"\0")

    def text(self, place: slice) -> str | None:
        """What was left there."""
        return self._page[place].rstrip(b"\0").decode("utf-8", "replace") or None

    def write_mounted(self) -> None:
        """All is mounted that the environment needs."""
        self._page[_MOUNTED] = 1

    @property
    def mounted(self) -> bool:
        """Whether `write_mounted` was called."""
        return self._page[_MOUNTED] != 0

    def close(self) -> None:
        """Let go of it."""
        self._page.close()


class Child:
    """A forked environment, with or without work."""

    def __init__(self, pid: int, requests: messages.Channel, outcome: Outcome, host_id: int | None) -> None:
        self.pid = pid
        self.requests = requests
        self.outcome = outcome
        self.host_id = host_id
        self.environment_id: str | None = None
        self.supervised = False
        """It has extensions: `supervisor` runs in it."""
        self.mounts = -1
        """A descriptor of what is mounted in it, when it ends by itself or is reset."""
        self.unwanted = False
        """Nobody will take its place."""

    def leaves(self, mounts: int) -> None:
        """A descriptor of its mounts, or -1; the first one counts: it may end by itself and be reset at once."""
        if self.mounts < 0:
            self.mounts = mounts
        elif mounts >= 0:
            os.close(mounts)

    def estate(self) -> Estate:
        """What it leaves, now that it has ended."""
        waiting = select.poll()
        waiting.register(self.requests, select.POLLIN)
        while self.mounts < 0 and not self.unwanted and waiting.poll(0):
            message, descriptors = self.requests.receive()
            if not message:
                break
            if message == LEFT:
                self.leaves(descriptors[0])
        return Estate(self.mounts, self.host_id)

    def close(self) -> None:
        """Let go of what it shared with the zygote."""
        self.outcome.close()
        self.requests.close()
