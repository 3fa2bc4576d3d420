"""What the processes of an environment write, on its way to the log."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable

from lambda_runtime.executors.pipes import ReadEnd

_PIPE_BYTES = 256 * 1024


class OutputPipe:
    """A pipe that all of them have: what they wrote, in the order in which they wrote it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_output: Callable[[bytes], None]) -> None:
        self.on_output = on_output
        read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        # A larger pipe lets a function print much without waiting; the kernel limits how many a user may have.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._read_end = ReadEnd(loop, read_end, lambda data: self.on_output(data))

    def drain(self) -> None:
        """Hand over everything that was written until now. Never waits."""
        self._read_end.drain()

    def close_write_end(self) -> None:
        """Our copy of the write end, once the sandbox has its own."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Stop reading. May be called twice."""
        self.close_write_end()
        self._read_end.close()
