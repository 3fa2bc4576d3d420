"""Whether a process can be had more than once: what it must not have to become a snapshot, besides files (`descriptors`)."""

from __future__ import annotations

import os
import threading
import warnings

from .descriptors import Unfit

_SHARED = "rw-s"
# What a function has patched must not come between us.
_fork, _waitpid, _exit = os.fork, os.waitpid, os._exit


class Fitness:
    """Looks at this process. Made before the function's code is run, to know what was there before."""

    def __init__(self, isolated: bool) -> None:
        self._isolated = isolated
        self._shared_before = _shared_memory()

    def require(self) -> None:
        """Raise Unfit, with the reason in words for the function's owner, if a fork would lack something or share it."""
        if len(os.listdir("/proc/self/task")) > 1:
            # Some libraries end their threads for a fork and start them again when they need them (OpenBLAS does).
            _try_fork()
        others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        running = len(os.listdir("/proc/self/task")) - 1
        if running:
            names = f" ({', '.join(others)})" if others else ""
            raise Unfit(f"it has {running} thread{'s' * (running > 1)} running{names}")
        if self._has_children():
            raise Unfit("it has child processes")
        if _shared_memory() - self._shared_before:
            raise Unfit("it has memory that it shares with other processes")

    def _has_children(self) -> bool:
        if self._isolated:  # Those that were left behind, too.
            return any(name.isdigit() and int(name) not in (1, os.getpid()) for name in os.listdir("/proc"))
        try:
            return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False


def _try_fork() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Newer Pythons warn of forks in processes with threads; this one does nothing.
        pid = _fork()
    if pid == 0:
        _exit(0)
    _waitpid(pid, 0)


def _shared_memory() -> set[tuple[str, str]]:
    """Address and file of what is written by others, too."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        fields = [line.split(None, 5) for line in file]
    return {(each[0], each[4]) for each in fields if each[1] == _SHARED}
