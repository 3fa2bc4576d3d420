"""The processes below one: who they are, and how to be rid of all of them.

For plain environments. Where there is a pid namespace, /proc may be that of another one.
"""

from __future__ import annotations

import os
import signal


def children(pid: int) -> list[int]:
    """Of all threads of a process; empty if it is gone."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:  # A thread that has ended; the others have their children.
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Children, and theirs; a parent comes before its children."""
    found = children(pid)
    for process in found:  # It grows while we go along it.
        found += children(process)
    return found


def send(number: int, pids: list[int]) -> None:
    """Signal those that are still there and ours."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def end_descendants() -> None:
    """Kill all below this process, which adopts orphans, and return when nothing is left of them."""
    while remaining := descendants(os.getpid()):
        send(signal.SIGKILL, remaining)
        os.wait()  # By then the children of the one that died are ours.


def mounts_of(child: int) -> int:
    """A descriptor of the mount namespace of a child of this process, which has one thread; -1 if it cannot be had.

    The child is known by its number in this process's pid namespace; /proc may number it as an outer one does.
    """
    try:
        level = len(_numbers("self")) - 1
        with open("/proc/thread-self/children", "rb") as file:
            for number in file.read().decode().split():
                if _numbers(number)[level] == child:
                    return os.open(f"/proc/{number}/ns/mnt", os.O_RDONLY)
    except (OSError, IndexError):
        pass  # It has ended.
    return -1


def _numbers(process: str) -> list[int]:
    """The numbers of a process, from the pid namespace that /proc shows down to its own."""
    with open(f"/proc/{process}/status", "rb") as file:
        for line in file:
            if line.startswith(b"NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []
