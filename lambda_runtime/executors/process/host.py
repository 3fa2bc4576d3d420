"""What this machine lets a sandbox do: ids, limits, namespaces."""

from __future__ import annotations

import itertools
import os
import platform
import random
import re
from pathlib import Path

_FIRST_ID = 0x7000_0000
"""Above the ranges that distributions give to users' containers (subuid(5)) and systemd to its own (524288 to 1879048191)."""
_ID_COUNT = 1 << 20
_BLOCK_SIZE = 4096

LIMITS = {
    "RLIMIT_CORE": (10737418240, 10737418240),
    "RLIMIT_MEMLOCK": (65536, 65536),
    "RLIMIT_NOFILE": (1024, 1024),
    "RLIMIT_STACK": (8388608, -1),
}
"""Recorded: TestLambdaBehavior::test_runtime_ulimits. The others are unlimited there and are left alone."""
PROCESS_LIMIT = {"RLIMIT_NPROC": (742, 742)}
"""Counted for each user, so only for environments that have one of their own, or where the kernel counts for each user namespace
(Linux 5.14)."""

SNAPSHOT_PROCESS_LIMIT = {"RLIMIT_NPROC": (742, 8192)}
"""For the process of a snapshot, whose environments count together where they are one user; each has its own limit besides."""


def counts_processes_by_namespace() -> bool:
    """Whether RLIMIT_NPROC counts the processes of a user in a user namespace, not all that the user has on the machine."""
    major, minor = re.match(r"(\d+)\.(\d+)", platform.release()).groups()  # type: ignore[union-attr]
    return (int(major), int(minor)) >= (5, 14)


def shares_by_session() -> bool:
    """Whether the kernel shares processors out between sessions before processes (sched(7), the autogroup feature).

    It does so only for processes in no control group that has the cpu controller.
    """
    try:
        enabled = Path("/proc/sys/kernel/sched_autogroup_enabled").read_text("ascii").strip() == "1"
        groups = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return False
    if not enabled:
        return False
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if path != "/" and ((not controllers and _divides_processors()) or "cpu" in controllers.split(",")):
            return False
    return True


def _divides_processors() -> bool:
    """Whether control groups of version 2 have the cpu controller."""
    try:
        return "cpu" in Path("/sys/fs/cgroup/cgroup.subtree_control").read_text("ascii").split()
    except OSError:
        return False


class HostIds:
    """The user ids that environments have on this machine: each its own, so that none may signal or trace another."""

    def __init__(self) -> None:
        self._blocks = itertools.cycle(_blocks()) if os.getuid() == 0 else None

    def take_block(self) -> tuple[int, int] | None:
        """First id and number of ids for one zygote; None when the gateway is not root and has only its own id to give."""
        return next(self._blocks) if self._blocks is not None else None


def _blocks() -> list[tuple[int, int]]:
    """Blocks of ids that exist in this user namespace (a container may have few), from a random one, to keep gateways apart."""
    first, count = 0, 0
    for line in Path("/proc/self/uid_map").read_text("ascii").splitlines():
        inside, _, length = map(int, line.split())
        if inside <= _FIRST_ID and inside + length >= _FIRST_ID + _ID_COUNT:
            first, count = _FIRST_ID, _ID_COUNT
            break
        if length > count:
            first, count = inside + length // 2, length // 2
    size = min(_BLOCK_SIZE, max(1, count // 8))
    blocks = [(start, size) for start in range(first, first + count - size + 1, size)]
    turn = random.randrange(len(blocks))
    return blocks[turn:] + blocks[:turn]
