"""Messages to another process that may be slow to take them."""

from __future__ import annotations

import array
import asyncio
import collections
import socket
from collections.abc import Callable, Sequence
from typing import Protocol


class Passed(Protocol):
    """A descriptor that goes with a message."""

    write_end: int

    def close_write_end(self) -> None:
        """The other process has its own copy now, or will never have one."""
        ...


class Outbox:
    """Sends messages with descriptors on a SEQPACKET socket, in order, and never waits. On the loop only."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, on_broken: Callable[[], None]
    ) -> None:
        """`on_broken` is called when the other end is gone."""
        self._loop = loop
        self._connection = connection
        self._on_broken = on_broken
        self._waiting: collections.deque[tuple[bytes, Sequence[Passed]]] = collections.deque()
        self._blocked = False
        self._closed = False

    def send(self, message: bytes, *passed: Passed) -> None:
        """Send now, or when there is room; dropped after `close`."""
        self._waiting.append((message, passed))
        if self._closed:
            self._drop()
        elif not self._blocked:
            self._flush()

    def close(self) -> None:
        """Send nothing more. May be called twice."""
        self._closed = True
        self._unblock()
        self._drop()

    def _flush(self) -> None:
        while self._waiting:
            message, passed = self._waiting[0]
            ends = array.array("i", [each.write_end for each in passed])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, ends)] if passed else []
            try:
                self._connection.sendmsg([message], rights)
            except BlockingIOError:
                if not self._blocked:
                    self._blocked = True
                    self._loop.add_writer(self._connection.fileno(), self._flush)
                return
            except OSError:
                self.close()
                self._on_broken()
                return
            self._waiting.popleft()
            for each in passed:
                each.close_write_end()
        self._unblock()

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._connection.fileno())

    def _drop(self) -> None:
        while self._waiting:
            for each in self._waiting.popleft()[1]:
                each.close_write_end()
