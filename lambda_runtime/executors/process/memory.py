"""The memory limit of environments, kept by looking: how much the processes inside use while they work.

A limit in the kernel (a memory cgroup) would be exact, but the gateway's own group belongs to whoever started the gateway, and
may not be divided by it. So what a function uses is read from /proc while it runs, some fifty times a second, and nothing is
read while it waits. Not seen: what is allocated and freed between two looks, /tmp (it has its own limit, as on AWS), and memory
that the kernel holds for the function (sockets, page tables).
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import Protocol

INTERVAL_S = 0.02
_MOST_OF_THE_TIME = 20
"""Looking takes at most one part in so many of the loop's time; with very many busy environments it happens less often."""

_MOST_SHARES = 32
"""Of so many processes of an environment, the largest, what they share is looked up; a fork bomb's others are copies of them."""

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_SHARE = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
_PARENT = re.compile(rb"^PPid:\s+(\d+)", re.MULTILINE)


class Watched(Protocol):
    """An environment that can be looked at."""

    def check_memory(self) -> None:
        """Look once, and end the runtime if it uses more than it may."""
        ...


class MemoryWatch:
    """Looks at the environments that work. On the loop only; without any there is no timer."""

    def __init__(self) -> None:
        self._working: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, environment: Watched) -> None:
        """It works from now on. May be called twice."""
        self._working.add(environment)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._look)

    def end(self, environment: Watched) -> None:
        """It waits, or is gone. May be called twice."""
        self._working.discard(environment)

    def stop(self) -> None:
        """Look no more."""
        self._working.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._working:
            return
        began = time.monotonic()
        for environment in list(self._working):
            environment.check_memory()
        took = time.monotonic() - began
        self._timer = asyncio.get_running_loop().call_later(max(INTERVAL_S, took * _MOST_OF_THE_TIME), self._look)


def used_kib(pid: int) -> int:
    """What a process and all its descendants use: resident memory, of which what they share with each other counts once.

    Processes that end meanwhile count as 0.
    """
    sizes = sorted(((resident_kib(process), process) for process in family(pid)), reverse=True)
    if not sizes:
        return 0
    largest, *others = sizes
    # Their resident sizes count shared pages again; their shares of them are costly to ask for, so only where it can matter.
    return largest[0] + sum(_share_kib(process) for _, process in others[:_MOST_SHARES])


def resident_kib(pid: int) -> int:
    """The resident memory of a process; 0 if there is none."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - a tenth of the time of a Path
            return int(file.read().split()[1]) * _PAGE_KIB
    except (OSError, IndexError):
        return 0


def parent_of(pid: int) -> int | None:
    """The parent of a process; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
            match = _PARENT.search(file.read())
    except OSError:
        return None
    return int(match[1]) if match else None


def _share_kib(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
            match = _SHARE.search(file.read())
    except OSError:
        match = None
    # Where we may not ask, all of it counts. Or it has ended since its size was read, and then nothing does: many that end at
    # once would else seem to have all that they shared, each for itself.
    return int(match[1]) if match else resident_kib(pid)


def family(pid: int) -> list[int]:
    """A process and all its descendants, as far as they can be seen."""
    found = [pid]
    for process in found:  # It grows while we go along it.
        try:
            tasks = os.listdir(f"/proc/{process}/task")  # noqa: PTH208
        except OSError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{process}/task/{task}/children", "rb") as file:  # noqa: PTH123
                    found += map(int, file.read().split())
            except OSError:  # A thread that has ended; the others have their children.
                continue
    return found
