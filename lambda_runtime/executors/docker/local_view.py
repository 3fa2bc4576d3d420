"""The processes of a container, where they are processes of this machine that we may look at."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

from lambda_runtime.executors.process.memory import family, used_kib

_HIGH_WATER = re.compile(rb"VmHWM:\s+(\d+) kB")


class LocalView:
    """What /proc tells of a container, and signals without a way through the engine.

    A container of an engine elsewhere, or of one whose processes another pid namespace hides, is not `visible`: all is asked of
    the engine then.
    """

    def __init__(self, root: int, handle: int, memory_mib: int) -> None:
        self.visible = handle >= 0
        self._handle = handle
        self._roots = [root] if self.visible else []
        self._runtime = 0
        self._runtime_handle = -1
        self._status_file = -1
        self._peak_kib = 0
        self._memory_mib = memory_mib

    @classmethod
    def of(cls, pid: int, container_id: str, memory_mib: int) -> LocalView:
        """Of the first process of a container, as the engine numbers it."""
        handle = -1
        with contextlib.suppress(OSError):  # No such process here, or one that is not ours to look at.
            handle = os.pidfd_open(pid) if pid else -1
        if handle >= 0 and not _is_of(pid, container_id):
            os.close(handle)
            handle = -1
        return cls(pid, handle, memory_mib)

    def add(self, pid: int, *, runtime: bool) -> None:
        """A process that was started in the container later."""
        if self.visible:
            self._roots.append(pid)
            if runtime:
                self._runtime = pid
                with contextlib.suppress(OSError):  # It has ended already.
                    self._runtime_handle = os.pidfd_open(pid)

    def processes(self) -> list[int]:
        """All that is inside now."""
        return [process for root in self._roots for process in family(root)]

    def used_mib(self) -> int:
        """What the processes inside use together, rounded up."""
        used = sum(used_kib(root) for root in self._roots)
        self._peak_kib = max(self._peak_kib, used)
        return -(-used // 1024)

    def max_memory_mib(self) -> int | None:
        """The most that was seen, and the high-water mark of the runtime's process; no more than the limit."""
        with contextlib.suppress(OSError):  # It ended in between; what was seen before still holds.
            if self._status_file >= 0 or self._open_status():
                match = _HIGH_WATER.search(os.pread(self._status_file, 4096, 0))
                self._peak_kib = max(self._peak_kib, int(match[1]) if match else 0)
        return min(-(-self._peak_kib // 1024), self._memory_mib) or None

    def kill(self) -> bool:
        """End the container by its first process; False if that has to be asked of the engine."""
        return _send(self._handle)

    def kill_runtime(self) -> bool:
        """End the runtime alone, where it was started in the container; False if that has to be asked of the engine."""
        return _send(self._runtime_handle)

    def close(self) -> None:
        """Look no more. May be called twice."""
        for descriptor in (self._handle, self._runtime_handle, self._status_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._handle = self._runtime_handle = self._status_file = -1

    def _open_status(self) -> bool:
        if self._handle < 0:
            return False
        if not self._runtime:
            # The first process is the shell above it.
            inside = family(self._roots[0])
            self._runtime = inside[1] if len(inside) > 1 else inside[0]
        self._status_file = os.open(f"/proc/{self._runtime}/status", os.O_RDONLY | os.O_CLOEXEC)
        return True


def _is_of(pid: int, container_id: str) -> bool:
    """Whether this machine's process of that number is in that container.

    Its control group names the container, and where there is none for it (rootless, on cgroup v1), what is mounted in it.
    """
    for name in ("cgroup", "mountinfo"):
        with contextlib.suppress(OSError):  # It has ended, or is another user's.
            if container_id in Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace"):
                return True
    return False


def _send(handle: int) -> bool:
    if handle < 0:
        return False
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return True  # It has ended: what follows from that is under way.
    except OSError:
        return False  # Another user's.
    return True
