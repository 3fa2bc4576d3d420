"""Bounds that the kernel keeps, where somebody gave us a control group to divide: LAMBDA_CGROUP.

The setting names a directory of cgroup v2 that belongs to the gateway's user, has no process of its own, and may use the memory
controller; systemd calls that delegation (systemd.resource-control(5), Delegate=). Below it every environment gets a group with

- `memory.max`: MemorySize and the size of /tmp together, because the kernel counts what lies in /tmp as memory. It holds at every
  moment; the limit of MemorySize alone is kept by `memory`, which looks 50 times a second;
- `pids.max`, and `cpu.weight` in proportion to MemorySize, as AWS divides processor time (configuration-memory.md).

Nothing outside of the named directory is touched, and no process is moved that is not an environment's.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_LOG = logging.getLogger(__name__)
_CONTROLLERS = ("memory", "pids", "cpu")
_PROCESSES = 1024
_SHARE_MIB = 1769
"""The memory with which a function has one processor (configuration-memory.md); here it weighs as much as other groups do."""
_MOST_WEIGHT = 10_000
_REMOVE_ATTEMPTS, _REMOVE_PAUSE_S = 50, 0.02


class CgroupUnusable(ValueError):
    """The directory cannot be divided; the message says why."""


class Cgroups:
    """The groups of the environments of one executor. `open` and `enclose` block, for up to tens of ms: for threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._controllers: set[str] = set()
        self._moving: set[asyncio.Future[Any]] = set()

    def enclosure(
        self, name: str, processes: Callable[[], Iterable[int]], *, memory_mib: int, storage_mib: int
    ) -> Enclosure:
        """Begin to put an environment that has just started into a group. On the loop; waits for nothing."""
        loop = asyncio.get_running_loop()
        enclose = functools.partial(self.enclose, name, processes, memory_mib=memory_mib, storage_mib=storage_mib)
        return Enclosure(loop.run_in_executor(None, enclose), self._track)

    async def settle(self) -> None:
        """Wait until the groups of environments that have ended are gone."""
        while self._moving:
            await asyncio.wait(self._moving)

    def _track(self, future: asyncio.Future[Any]) -> None:
        self._moving.add(future)
        future.add_done_callback(self._moving.discard)

    def open(self) -> None:
        """Have the controllers in the groups that will be made. Raises CgroupUnusable."""
        try:
            offered = set(_read(self._root / "cgroup.controllers").split())
            inside = _read(self._root / "cgroup.procs").split()
        except OSError as error:
            raise CgroupUnusable(f"{self._root} is no directory of cgroup v2: {error.strerror}") from error
        if "memory" not in offered:
            found = ", ".join(sorted(offered)) or "none"
            raise CgroupUnusable(f"{self._root} may not use the memory controller (it may use: {found})")
        if inside:
            raise CgroupUnusable(
                f"{self._root} has processes of its own ({', '.join(inside[:3])}): name an empty group"
            )
        self._controllers = offered.intersection(_CONTROLLERS)
        try:
            _write(self._root / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(self._controllers)))
        except OSError as error:
            raise CgroupUnusable(f"{self._root} cannot be divided: {error.strerror}") from error

    def enclose(
        self, name: str, processes: Callable[[], Iterable[int]], *, memory_mib: int, storage_mib: int
    ) -> Cgroup:
        """Make a group and put these processes into it; what they start is in it, too. Raises OSError.

        `processes` is asked again until there is none that was not seen: one may start another before it is moved.
        """
        group = Cgroup(self._root / f"environment-{name}")
        group.path.mkdir()
        try:
            _write(group.path / "memory.max", str((memory_mib + storage_mib) << 20))
            _write_if_there(group.path / "memory.swap.max", "0")
            if "pids" in self._controllers:
                _write(group.path / "pids.max", str(_PROCESSES))
            if "cpu" in self._controllers:
                weight = min(_MOST_WEIGHT, max(1, memory_mib * 100 // _SHARE_MIB))
                _write(group.path / "cpu.weight", str(weight))
            moved: set[int] = set()
            while new := set(processes()) - moved:
                for pid in new:
                    _move(pid, group.path)
                moved |= new
        except BaseException:
            group.remove()
            raise
        return group


class Cgroup:
    """The group of one environment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has ended a process in it for its memory."""
        try:
            counts = dict(line.split() for line in _read(self.path / "memory.events").splitlines())
        except OSError:
            return False
        return counts.get("oom_kill", "0") != "0"

    def remove(self) -> None:
        """End what is left in it, and the group. Never raises; may be called twice."""
        _write_if_there(self.path / "cgroup.kill", "1")
        for _ in range(_REMOVE_ATTEMPTS):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.EBUSY:
                    _LOG.warning("The control group %s stays behind: %s", self.path, error.strerror)
                    return
                time.sleep(_REMOVE_PAUSE_S)  # A process that was killed counts until it is reaped.
            else:
                return
        _LOG.warning("The control group %s stays behind: there are still processes in it", self.path)


class Enclosure:
    """The group of one sandbox, which is made and removed in threads while the sandbox lives. On the loop only.

    A sandbox whose group could not be made goes on without: its memory is looked at in any case.
    """

    def __init__(self, making: asyncio.Future[Cgroup], track: Callable[[asyncio.Future[Any]], None]) -> None:
        self._making = making
        self._track = track
        self._group: Cgroup | None = None
        self._closed = False
        track(making)
        making.add_done_callback(self._made)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has ended a process inside for its memory."""
        return self._group is not None and self._group.ran_out_of_memory()

    def close(self) -> None:
        """The sandbox has ended: the group goes. May be called twice."""
        self._closed = True
        group, self._group = self._group, None
        if group is not None:
            self._track(asyncio.get_running_loop().run_in_executor(None, group.remove))

    def _made(self, making: asyncio.Future[Cgroup]) -> None:
        if making.cancelled():
            return
        if (error := making.exception()) is not None:
            _LOG.warning("An environment runs without a control group: %s", error)
            return
        self._group = making.result()
        if self._closed:
            self.close()


def _move(pid: int, group: Path) -> None:
    try:
        _write(group / "cgroup.procs", str(pid))
    except ProcessLookupError:
        return  # It ended meanwhile.


def _write_if_there(path: Path, text: str) -> None:
    try:
        _write(path, text)
    except OSError:
        return  # Not every kernel has it (`cgroup.kill` since 5.14, `memory.swap.max` with swap), or the group is gone.


def _read(path: Path) -> str:
    return path.read_text("ascii")


def _write(path: Path, text: str) -> None:
    # Not created: every file of a group is the kernel's.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)
