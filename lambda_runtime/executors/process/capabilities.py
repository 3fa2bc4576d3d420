"""What the process executor can do and enforce on this machine, in words for `doctor` and for a function's log."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.base import Capability
from lambda_runtime.executors.process import layout
from lambda_runtime.executors.process.cgroups import Cgroups, CgroupUnusable
from lambda_runtime.executors.process.host import (
    PROCESS_LIMIT,
    HostIds,
    counts_processes_by_namespace,
    shares_by_session,
)
from lambda_runtime.executors.process.interpreters import Interpreters
from lambda_runtime.executors.process.languages import LANGUAGES
from lambda_runtime.executors.process.languages.base import Language, RuntimeFiles
from lambda_runtime.executors.process.memory import INTERVAL_S, used_kib

_OS_ONLY = ("provided.al2", "provided.al2023")
_PROBE_TIMEOUT_S = 20


def why_not_isolated() -> str:
    """What keeps this machine from building a sandbox; "" if nothing does. Builds one to find out (blocking, some 50 ms)."""
    with tempfile.TemporaryDirectory(prefix="lambda-probe-") as directory:
        root, cache = Path(directory, "root"), Path(directory, "cache")
        root.mkdir()
        cache.mkdir()
        plan = layout.isolated_plan(None, RuntimeFiles({}), cache, root, HostIds().take_block())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            script = str(layout.HERE / "zygote" / "start.py")
            command = [sys.executable, "-I", "-S", script, str(theirs.fileno())]
            process = subprocess.Popen(command, env={}, pass_fds=[theirs.fileno()])
            theirs.close()
            ours.settimeout(_PROBE_TIMEOUT_S)
            try:
                ours.send(json.dumps(plan).encode())
                answer = json.loads(ours.recv(1 << 16) or b'{"failed": "the zygote ended while it started"}')
                ours.shutdown(socket.SHUT_WR)
                process.wait(_PROBE_TIMEOUT_S)
            finally:
                process.kill()
                process.wait()
    return str(answer.get("failed", ""))


def describe(
    interpreters: Interpreters, why_plain: str, cgroups: Cgroups | None = None, freeze_after_s: float = 0
) -> list[Capability]:
    """One line a promise: kept, or what follows from its absence."""
    isolated = not why_plain
    without = f"namespaces are not available ({why_plain}): "

    def promise(name: str, kept: str, broken: str) -> Capability:
        return Capability(name, isolated, kept if isolated else without + broken)

    found = [
        promise(
            "file isolation",
            "mount namespace: functions see /var/task, /opt and a private /tmp, and nothing of the host's files but the system's",
            "functions see the host's files, can change their own code, and run from the directory where it is unpacked",
        ),
        promise(
            "process isolation",
            "pid and ipc namespaces; ending an environment ends everything that it started",
            "functions see and can signal the processes of this user; what one leaves running ends with its environment",
        ),
        promise(
            "Runtime API isolation",
            "nobody but an environment's own processes can ask for its events or answer them",
            "a function can ask for the events of another one, and answer them",
        ),
        promise(
            "unprivileged user",
            "functions run as sbx_user1051 (uid 993) in a user namespace, without capabilities",
            "functions run as the user of the gateway",
        ),
        promise(
            "ephemeral storage limit",
            "/tmp is a tmpfs of the configured size",
            "/tmp is shared with the host and not limited; TMPDIR names a private directory",
        ),
        _memory_limit(cgroups),
        _process_limit(isolated),
        _processor_share(cgroups),
        _frozen(freeze_after_s),
        Capability(
            "network isolation", False, "functions share the host's network, so that they reach services on localhost"
        ),
    ]
    found += [_interpreter(interpreters, each, runtime) for each in LANGUAGES.values() for runtime in each.runtimes]
    return found + [Capability(runtime, True, "the function's own `bootstrap`: Go, Rust, C, …") for runtime in _OS_ONLY]


def _memory_limit(cgroups: Cgroups | None) -> Capability:
    if not used_kib(os.getpid()):
        return Capability("memory limit", False, "not enforced: this machine does not tell (/proc) what processes use")
    looked_at = (
        f"what an environment uses is looked at every {INTERVAL_S * 1000:.0f} ms while it works; one that needs more than its "
        "MemorySize is ended. What is allocated and freed in between, and files in /tmp, do not count"
    )
    if cgroups is None:
        return Capability("memory limit", True, looked_at)
    try:
        cgroups.open()
    except CgroupUnusable as error:
        return Capability("memory limit", False, f"{looked_at}. LAMBDA_CGROUP cannot be used: {error}")
    return Capability(
        "memory limit", True, f"{looked_at}. MemorySize and /tmp together are never exceeded (LAMBDA_CGROUP)"
    )


def _processor_share(cgroups: Cgroups | None) -> Capability:
    name = "processor share"
    if cgroups is not None:
        return Capability(name, True, "in proportion to MemorySize (LAMBDA_CGROUP)")
    if shares_by_session():
        return Capability(name, True, "environments that want all processors get equal shares (autogroup)")
    return Capability(name, False, "an environment with many busy processes slows all others down until its timeout")


def _frozen(after_s: float) -> Capability:
    name = "frozen when idle"
    if not after_s:
        return Capability(name, False, "background work goes on between invocations (LAMBDA_FREEZE_MS is 0)")
    text = f"background work stops {after_s * 1000:.0f} ms after an invocation and goes on in the next one"
    return Capability(name, True, f"{text}; not with extensions")


def _process_limit(isolated: bool) -> Capability:
    count = PROCESS_LIMIT["RLIMIT_NPROC"][0]
    if isolated and (os.getuid() == 0 or counts_processes_by_namespace()):
        return Capability("process limit", True, f"an environment has {count} processes and threads at most")
    why = "this kernel counts processes for each user" if isolated else "functions run as the user of the gateway"
    return Capability("process limit", False, f"{why}: a function that forks without end is ended by its timeout only")


def _interpreter(interpreters: Interpreters, language: Language, runtime: str) -> Capability:
    try:
        interpreter, warning = interpreters.find(runtime)
        client = language.client(interpreter, interpreters.settings)
    except VersionFailed as error:
        return Capability(runtime, False, str(error))
    said = f"{interpreter}, {client}" if not warning else f"{warning} Client: {client}"
    return Capability(runtime, not warning, said)
