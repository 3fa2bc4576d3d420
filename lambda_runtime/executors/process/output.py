"""What the processes of an environment write, on its way to the log."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable

_PIPE_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024


class OutputPipe:
    """A pipe that all of them have: what they wrote, in the order in which they wrote it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_output: Callable[[bytes], None]) -> None:
        self._loop = loop
        self.on_output = on_output
        self._read, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read, False)
        # A larger pipe lets a function print much without waiting; the kernel limits how many a user may have.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        loop.add_reader(self._read, self.drain)

    def drain(self) -> None:
        """Hand over everything that is there. Never waits."""
        while self._read >= 0:
            try:
                data = os.read(self._read, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self.close()
                return
            self.on_output(data)

    def close_write_end(self) -> None:
        """Our copy of the write end, once the sandbox has its own."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Stop reading. May be called twice."""
        self.close_write_end()
        if self._read >= 0:
            self._loop.remove_reader(self._read)
            os.close(self._read)
            self._read = -1
