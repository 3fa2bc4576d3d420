"""What stays in an environment that has extensions: it starts them, holds the runtime back, and tells who has ended.

It is process 1 of an isolated environment, or leads the process group of a plain one. Its children are the runtime, which was
forked before and waits, and the extensions. It goes on when the runtime has ended, because the extensions have a shutdown phase
of their own, and ends with the last of them.

Messages in: `start_runtime`, `terminate` and `kill_runtime`. Messages out: `{"name": extension or null for the runtime,
"status": wait status, "problem": why it could not be executed}`.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
from typing import TYPE_CHECKING, Callable

from . import messages

if TYPE_CHECKING:
    from . import environment

REQUESTS = ("start_runtime", "terminate", "kill_runtime")
_SIGNALS = {b"terminate": signal.SIGTERM, b"kill_runtime": signal.SIGKILL}


def supervise(
    requests: messages.Channel,
    request: environment.Request,
    runtime: int,
    start_runtime: Callable[[], None],
    settle: Callable[[], None],
) -> None:
    """Run the extensions and the runtime until all have ended. `settle` makes the calling process fit for an extension."""
    wake_read, wake_write = os.pipe()
    for descriptor in (wake_read, wake_write):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    processes = {runtime: (None, b"")}  # type: dict[int, tuple[str | None, bytes | mmap.mmap]]
    for name in request.extensions:
        pid, problem = _fork(name, request, settle)
        processes[pid] = (name, problem)
    while _reap(processes, requests):
        ready = [descriptor for descriptor, _ in poll.poll()]
        if wake_read in ready:
            os.read(wake_read, 4096)
        if requests.fileno() in ready:
            message, _ = requests.receive()
            if not message:
                break
            if message == b"start_runtime":
                start_runtime()
            elif runtime in processes:
                os.kill(runtime, _SIGNALS[message])


def _fork(name: str, request: environment.Request, settle: Callable[[], None]) -> tuple[int, mmap.mmap]:
    program = f"{request.extensions_directory}/{name}"
    problem = mmap.mmap(-1, mmap.PAGESIZE)  # Shared with the child.
    pid = os.fork()
    if pid != 0:
        return pid, problem
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        settle()
        os.execve(program, [program], request.extension_variables)
    except OSError as error:
        problem.write(f"fork/exec {program}: {os.strerror(error.errno or 0).lower()}".encode())
    finally:
        os._exit(126)


def _reap(processes: dict[int, tuple[str | None, bytes | mmap.mmap]], requests: messages.Channel) -> bool:
    """Tell of children that have ended; whether there are others."""
    while processes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return True
        if pid in processes:  # Or an orphan that somebody inside left behind.
            name, problem = processes.pop(pid)
            text = bytes(problem[:]).rstrip(b"\0").decode("utf-8", "replace")
            requests.announce(json.dumps({"name": name, "status": status, "problem": text or None}).encode())
    return False
