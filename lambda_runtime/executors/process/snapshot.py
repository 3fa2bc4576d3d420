"""The gateway's side of a snapshot: a process that forks environments of one version, and those environments.

A snapshot is forked by the zygote like any environment, and is a sandbox while it initialises; `zygote/snapshot.py` says what it
does then. Restores do not pass through the zygote. Each environment has a channel of its own to the gateway, on which the kernel
says who its first process is, and signals are sent by a descriptor of that process: the snapshot runs the function's code, so
nothing that it says about others is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lambda_runtime.executors.base import ExitStatus, Sandbox, SandboxSpec
from lambda_runtime.executors.process.outbox import Outbox
from lambda_runtime.executors.process.output import OutputPipe
from lambda_runtime.executors.process.sandbox import Custody, ProcessSandbox

_MESSAGE_BYTES = 64 * 1024
_CREDENTIALS = struct.Struct("3i")
_KILLED = ExitStatus(signal=9)
_SIGNALS = {
    "kill": signal.SIGKILL,
    "terminate": signal.SIGTERM,
    "freeze": signal.SIGUSR1,
    "thaw": signal.SIGUSR2,
}
"""As the zygote sends them to the first process of an environment."""

Occupy = Callable[[SandboxSpec], tuple[Mapping[str, str], Callable[[], None]]]
"""Takes what an environment needs of the executor: its variables, and what to call when nothing of it is left."""


class ProcessSnapshot:
    """A `lambda_runtime.executors.base.Snapshot` that is a local process. On the loop only."""

    def __init__(self, occupy: Occupy, custody: Custody, limits: Mapping[str, Any]) -> None:
        """`limits` are the resource limits of its environments."""
        self._loop = asyncio.get_running_loop()
        self.taken: asyncio.Future[str] = self._loop.create_future()
        self.host_id: int | None = None
        """The user of this machine that its environments are, if they have one of their own."""
        self._occupy = occupy
        self._custody = custody
        self._limits = limits
        self._connection, self._theirs = _socket_pair()
        self.write_end = self._theirs.fileno()
        self._outbox = Outbox(self._loop, self._connection, self.close)
        self.alive = True
        self._loop.add_reader(self._connection.fileno(), self._read)

    async def start_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Fork an environment. Raises OSError when that failed; cancelled, the environment ends at once."""
        variables, on_exit = self._occupy(spec)
        environment = _Environment(self._loop)
        pipe = OutputPipe(self._loop, spec.on_output)
        if self.host_id is not None:
            os.fchown(pipe.write_end, self.host_id, self.host_id)  # So that the function can open /dev/stdout.
        sandbox = ProcessSandbox(spec.environment_id, pipe, environment.signal, on_exit, _first_child, self._custody)
        environment.attach(sandbox)
        message = {"limits": self._limits, "variables": variables}
        self._outbox.send(json.dumps(message).encode(), pipe, environment)
        try:
            await asyncio.shield(environment.started)
        except asyncio.CancelledError:
            sandbox.kill()
            raise
        return sandbox

    def close_write_end(self) -> None:
        """The snapshot has its end of the channel."""
        self._theirs.close()

    def _read(self) -> None:
        while self.alive:
            try:
                message = self._connection.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self.close()
            elif not self.taken.done():
                self.taken.set_result(_reason(message))

    def close(self) -> None:
        """It has ended, or will never begin. May be called twice."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._connection.fileno())
        self._outbox.close()
        self._connection.close()
        self._theirs.close()
        if not self.taken.done():
            self.taken.cancel()


class _Environment:
    """The channel to one restored environment.

    Its end is known from the process itself: the channel is closed a moment before the last of its processes is gone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.started: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._sandbox: ProcessSandbox | None = None
        self._connection, self._theirs = _socket_pair()
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.write_end = self._theirs.fileno()
        self._process = -1
        self._status: ExitStatus | None = None
        self._killed = False

    def attach(self, sandbox: ProcessSandbox) -> None:
        """The sandbox that it belongs to."""
        self._sandbox = sandbox
        self._loop.add_reader(self._connection.fileno(), self._read)

    def close_write_end(self) -> None:
        """The environment has its end."""
        self._theirs.close()

    def signal(self, name: str, environment_id: str) -> None:
        """Send a signal to its first process; one that does not exist yet can only be killed."""
        if self._process >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, _SIGNALS[name])
        elif name == "kill":
            self._killed = True

    def _read(self) -> None:
        while self._connection.fileno() >= 0:
            try:
                message, ancillary, _, _ = self._connection.recvmsg(
                    _MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
            except OSError:
                message, ancillary = b"", []
            if not message:
                self._loop.remove_reader(self._connection.fileno())
                self._connection.close()
                if self._process < 0:
                    self._ended()
            elif self._process < 0:
                self._exists(ancillary)
            else:
                self._status = _exit_status(message)

    def _exists(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        assert self._sandbox is not None
        pids = [_CREDENTIALS.unpack(data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS]
        try:
            self._process = os.pidfd_open(pids[0])
        except (IndexError, OSError):
            return  # It has ended; the end of the channel follows.
        self._loop.add_reader(self._process, self._ended)
        self._sandbox.started(pids[0], None)
        if self._killed:
            self.signal("kill", "")
        if not self.started.done():
            self.started.set_result(None)

    def _ended(self) -> None:
        assert self._sandbox is not None
        if self._connection.fileno() >= 0:
            self._read()  # What its first process said last.
        if self._process >= 0:
            self._loop.remove_reader(self._process)
            os.close(self._process)
            self._process = -1
        elif not self.started.done():
            self.started.set_exception(OSError("the snapshot could not start an environment"))
        self._sandbox.ended(self._status or _KILLED)


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def _reason(message: bytes) -> str:
    """Why there is no snapshot; empty if there is one."""
    try:
        fields = json.loads(message)
        return "" if "taken" in fields else str(fields["unfit"])
    except (ValueError, KeyError, TypeError):
        return "it does not answer as it should"


def _exit_status(message: bytes) -> ExitStatus | None:
    try:
        code = os.waitstatus_to_exitcode(int(json.loads(message)["status"]))
    except (ValueError, KeyError, TypeError):
        return None
    return ExitStatus(code=code) if code >= 0 else ExitStatus(signal=-code)


def _first_child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return int(children[0]) if children else None
