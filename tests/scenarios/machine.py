"""What a gateway has on this machine: processes, mounts, files, ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE_S = 60.0

Process = tuple[int, str]
"""A process id and when it started: ids are used again."""


def descendants(pid: int) -> set[Process]:
    """Every process below this one, in whatever namespace."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))) is not None:
            parent, process = found
            children.setdefault(parent, []).append(process)
    result: set[Process] = set()
    waiting = [pid]
    while waiting:
        for process in children.get(waiting.pop(), ()):
            result.add(process)
            waiting.append(process[0])
    return result


def alive(processes: set[Process]) -> set[Process]:
    """Those of them that still run."""
    return {process for process in processes if (found := _stat(process[0])) is not None and found[1] == process}


def running_with(argument: str) -> list[int]:
    """The processes that have this argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:  # It ended while we looked.
                continue
            if argument.encode() in arguments:
                found.append(int(entry.name))
    return found


def open_files(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def descriptors(pid: int) -> Counter[str]:
    """What the descriptors of a process stand for, without the numbers that differ from one socket to the next."""
    return Counter(re.sub(r"\d+", "", target) for target in _targets(pid))


def listeners(pid: int) -> int:
    """On how many TCP ports a process listens."""
    return len(_listening(pid, "tcp")) + len(_listening(pid, "tcp6"))


def addresses(pid: int) -> list[list[str | int]]:
    """At which IPv4 addresses and ports a process listens."""
    found = (local.split(":") for local in _listening(pid, "tcp"))
    return [[socket.inet_ntoa(int(host, 16).to_bytes(4, "little")), int(port, 16)] for host, port in found]


def _listening(pid: int, table: str) -> list[str]:
    """The addresses of its listeners, as the kernel writes them."""
    sockets = {target.removeprefix("socket:[").removesuffix("]") for target in _targets(pid)}
    lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    return [fields[1] for fields in map(str.split, lines) if fields[3] == "0A" and fields[9] in sockets]


def _targets(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield str(entry.readlink())
        except OSError:  # It was closed while we looked.
            continue


def mounts() -> set[str]:
    """What is mounted, as this process sees it.

    But for what engines mount: anybody's containers come and go, and one that stays is seen by its processes.
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line for line in lines if not _OF_ENGINES.search(line.split()[4])}


_OF_ENGINES = re.compile(r"/docker/|/containers/|/overlay2?/|/netns/")
"""Where they mount."""


def nothing_more_is_mounted(before: set[str]) -> None:
    """Return when all that was mounted since `before` is gone."""
    eventually(lambda: not mounts() - before, lambda: f"what was mounted is gone: {mounts() - before}")


def files(directory: Path) -> set[str]:
    """Everything below a directory, by relative path. What goes while we look may be among it."""
    return {
        os.path.relpath(os.path.join(parent, name), directory)  # noqa: PTH118
        for parent, directories, names in os.walk(directory)  # Path.rglob fails when a directory goes.
        for name in (*directories, *names)
    }


def free_ports(count: int) -> list[int]:
    """Ports for somebody who will listen on them in a while: none that the kernel gives to a connection until then."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(10_000, lowest if lowest > 20_000 else 65_536)
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(ports)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def eventually(condition: Callable[[], object], what: str | Callable[[], str]) -> None:
    """Return when the condition is true; fails when that takes too long."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"{what if isinstance(what, str) else what()}: not after {PATIENCE_S} s"
        time.sleep(0.02)


async def until(condition: Callable[[], object]) -> None:
    """As `eventually`, while the loop goes on."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.01)


def _stat(pid: int) -> tuple[int, Process] | None:
    """The parent of a process that is not a zombie, and who it is."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[1]), (pid, fields[19]))
