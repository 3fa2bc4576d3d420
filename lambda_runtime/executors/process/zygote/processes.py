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
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        return found
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
