"""One running environment, as the gateway sees it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
from collections.abc import Callable

from lambda_runtime.executors.base import ExitStatus

_PIPE_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024
_HIGH_WATER = re.compile(rb"VmHWM:\s+(\d+) kB")


class OutputPipe:
    """What the processes of an environment write, in the order in which they wrote it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_output: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._on_output = on_output
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
            self._on_output(data)

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


class ProcessSandbox:
    """A `lambda_runtime.executors.base.Sandbox` made of local processes.

    `find_runtime` gives the number of the runtime's process on this machine for the number that the zygote reported. Signals are
    sent by the zygote, its parent: only it knows that the number has not been given to another process.
    """

    def __init__(
        self,
        environment_id: str,
        pipe: OutputPipe,
        send_signal: Callable[[str, str], None],
        on_exit: Callable[[], None],
        find_runtime: Callable[[int], int | None],
    ) -> None:
        self.environment_id = environment_id
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._pipe = pipe
        self._send_signal = send_signal
        self._on_exit = on_exit
        self._find_runtime = find_runtime
        self._pid: int | None = None
        self._status_file = -1
        self._ended = False

    def started(self, pid: int) -> None:
        """The zygote's report that the process exists."""
        self._pid = pid

    def ended(self, status: ExitStatus) -> None:
        """The zygote's report that nothing of the environment is left."""
        if self._ended:
            return
        self._ended = True
        self._pipe.drain()
        self._pipe.close()
        if self._status_file >= 0:
            os.close(self._status_file)
            self._status_file = -1
        self._on_exit()
        if not self.exited.done():
            self.exited.set_result(status)

    def drain_output(self) -> None:
        """Hand everything written so far to `on_output`, now."""
        self._pipe.drain()

    def max_memory_mib(self) -> int | None:
        """The high-water mark of the runtime process's resident memory, rounded up; None once it is gone."""
        try:
            if self._status_file < 0 and not self._open_status():
                return None
            match = _HIGH_WATER.search(os.pread(self._status_file, 4096, 0))
        except OSError:  # The process ended in between.
            return None
        return -(-int(match[1]) // 1024) if match else None

    def _open_status(self) -> bool:
        """Keep /proc/PID/status of the runtime open: asked once an invoke, and a look-up by number could meet another process."""
        if self._pid is None or self._ended:
            return False
        pid = self._find_runtime(self._pid)
        if pid is None:
            return False
        self._status_file = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        return True

    def terminate(self) -> None:
        """SIGTERM to the processes inside."""
        if not self._ended:
            self._send_signal("terminate", self.environment_id)

    def kill(self) -> None:
        """SIGKILL to everything inside; `exited` follows."""
        if not self._ended:
            self._send_signal("kill", self.environment_id)
