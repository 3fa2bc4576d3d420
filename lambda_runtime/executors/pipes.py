"""Pipes that functions write to, read on the loop: in parts, because who writes without end may write faster than we read."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import termios
from collections.abc import Callable

_PART_BYTES = 16 * 1024
"""What is read before others have their turn: short lines take some milliseconds to become log events."""
_MOST_BYTES = 64 * 1024


class ReadEnd:
    """The end of a pipe that the loop reads, in the order in which it was written. It is owned here, and does not block."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int, hand_over: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._hand_over = hand_over
        self._waiting = bytearray(4)
        loop.add_reader(descriptor, self._read, _PART_BYTES)

    def drain(self) -> None:
        """Hand over everything that was written until now, and nothing that is written meanwhile. Never waits."""
        if self._descriptor < 0:
            return
        fcntl.ioctl(self._descriptor, termios.FIONREAD, self._waiting)
        left = int.from_bytes(self._waiting, sys.byteorder)
        while left > 0 and (count := self._read(min(left, _MOST_BYTES))):
            left -= count

    def close(self) -> None:
        """Read no more. May be called twice."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self, most: int) -> int:
        """Hand over what is there, up to `most` bytes; return how many. Without a writer the end closes."""
        if self._descriptor < 0:
            return 0
        try:
            data = os.read(self._descriptor, most)
        except BlockingIOError:
            return 0
        if data:
            self._hand_over(data)
        else:
            self.close()
        return len(data)
