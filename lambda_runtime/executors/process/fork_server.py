"""The gateway's side of a zygote: start it, send it requests, hear what became of them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lambda_runtime.executors.base import ExitStatus, SandboxSpec
from lambda_runtime.executors.process.host import (
    LIMITS,
    PROCESS_LIMIT,
    SNAPSHOT_PROCESS_LIMIT,
    counts_processes_by_namespace,
)
from lambda_runtime.executors.process.layout import HERE
from lambda_runtime.executors.process.outbox import Outbox, Passed
from lambda_runtime.executors.process.output import OutputPipe
from lambda_runtime.executors.process.sandbox import Custody, ExtensionProcesses, ProcessSandbox, Watchers
from lambda_runtime.executors.process.snapshot import ProcessSnapshot
from lambda_runtime.executors.process.standby import Standby

_LOG = logging.getLogger(__name__)
_BUFFER_BYTES = 1 << 20
_CLOSED = ExitStatus(signal=9)
_LOOKS = 3
"""A list of children that changes while the kernel writes it may lack some that are there all the time (proc(5))."""


class ZygoteFailed(OSError):
    """The zygote could not set itself up; the message says why."""


class IsolationUnavailable(ZygoteFailed):
    """The machine does not allow the namespaces or mounts of a sandbox."""


class ForkServer:
    """One zygote process and the sandboxes that it forked.

    Made by `launch`; on the loop only. When the zygote ends, for whatever reason, all its sandboxes have ended: each
    is reported as killed, and `alive` is False; the executor then launches another.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: socket.socket,
        plan: Mapping[str, Any],
        watchers: Watchers,
    ) -> None:
        self.alive = True
        self._watchers = watchers
        self.isolated: bool = plan["isolated"]
        self._own_pid_namespace = self.isolated and plan["host_ids"] is None
        limited = plan["host_ids"] is not None or (self.isolated and counts_processes_by_namespace())
        self.limits = {**LIMITS, **PROCESS_LIMIT} if limited else LIMITS
        self._snapshot_limits = {**LIMITS, **SNAPSHOT_PROCESS_LIMIT} if limited else LIMITS
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._connection = connection
        self._sandboxes: dict[str, ProcessSandbox] = {}
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._standby: Standby | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._outbox = Outbox(self._loop, connection, self._close)
        self._loop.add_reader(connection.fileno(), self._read)

    @classmethod
    async def launch(cls, python: Path, plan: Mapping[str, Any], watchers: Watchers) -> ForkServer:
        """Start a zygote with this interpreter and wait until it takes requests.

        Raises ZygoteFailed, and leaves nothing behind, when it cannot set itself up; so does cancelling.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            for side, option in ((ours, socket.SO_SNDBUF), (theirs, socket.SO_RCVBUF)):
                side.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
            command = [str(python), "-I", "-S", str(HERE / "zygote" / "start.py"), str(theirs.fileno())]
            process = subprocess.Popen(  # noqa: ASYNC220 - one vfork; a thread would cost more than it
                command,
                env={"LC_CTYPE": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        server = cls(process, ours, plan, watchers)
        try:
            server._send(plan)
            await server._ready
        except BaseException:
            await server.stop()
            raise
        return server

    async def start(
        self,
        request: dict[str, Any],
        spec: SandboxSpec,
        on_exit: Callable[[], None],
        *,
        memory_mib: int,
        address: str = "127.0.0.1",
        snapshot: ProcessSnapshot | None = None,
        from_standby: bool = False,
    ) -> ProcessSandbox:
        """Fork an environment. Raises OSError if that failed; cancelled, the environment ends at once.

        `on_exit` is called when nothing of it is left. `address` is that of listeners inside. Its runtime becomes `snapshot`, if
        there is one. `from_standby` lets an interpreter that stands by become the runtime, if there is one.
        """
        if not self.alive:
            raise OSError("the zygote ended")
        environment_id = request["start"]
        standby = None
        if from_standby:
            standby, self._standby = self._standby, None
        if standby is not None:
            pipe = standby.pipe
            pipe.on_output = spec.on_output
        else:
            pipe = OutputPipe(self._loop, spec.on_output)
        request = {**request, "from_standby": standby is not None}
        pipes, extensions = [pipe], None
        if request["extensions"]:
            pipes.append(OutputPipe(self._loop, spec.on_extension_output))
            extensions = ExtensionProcesses(pipes[1], spec.on_extension_exit, address)
        custody = self.custody(memory_mib, request["tmp_mib"])
        if snapshot is not None:
            request = {**request, "snapshot": True, "limits": self._snapshot_limits}
        sandbox = ProcessSandbox(environment_id, pipe, self._signal, on_exit, self._find_runtime, custody, extensions)
        self._sandboxes[environment_id] = sandbox
        started = self._pending[environment_id] = self._loop.create_future()
        self._send(request, *pipes, *([] if snapshot is None else [snapshot]))
        try:
            await started
        except asyncio.CancelledError:
            sandbox.kill()
            raise
        finally:
            self._pending.pop(environment_id, None)
        return sandbox

    def stand_by(self, command: list[str], variables: Mapping[str, str]) -> None:
        """Have an interpreter started that a later `start` can use, unless there is one. Nobody hears of it if that fails."""
        if self.alive and self._standby is None:
            self._standby = Standby(OutputPipe(self._loop, lambda data: None))
            order = {"command": command, "variables": dict(variables), "limits": self.limits}
            self._send({"stand_by": order}, self._standby)

    def stand_down(self) -> None:
        """End the interpreter that stands by, if there is one: nobody will use it."""
        standby, self._standby = self._standby, None
        if standby is not None:
            standby.close()
            if self.alive:
                self._send({"stand_down": True})

    async def stop(self) -> None:
        """End the zygote and every sandbox of it; returns when it is gone. May be called twice."""
        if self.alive:
            self._connection.shutdown(socket.SHUT_WR)
            await asyncio.wait([self._gone])
        await asyncio.to_thread(self._process.wait)

    def _find_runtime(self, pid: int) -> int | None:
        """The runtime's process on this machine, from the number that the zygote gave to its parent, which forked it first."""
        if not self._own_pid_namespace:
            return next(iter(_children(pid)), None)
        for _ in range(_LOOKS):
            for zygote in _children(self._process.pid):
                for init in _children(zygote):
                    if _pid_one_level_down(init) == pid:
                        return next(iter(_children(init)), None)
        return None

    def _signal(self, name: str, environment_id: str) -> None:
        if self.alive:
            self._send({name: environment_id})

    def custody(self, memory_mib: int, storage_mib: int) -> Custody:
        """What holds for an environment with so much memory and so large a /tmp."""
        return Custody(memory_mib, storage_mib, self.isolated, self._watchers)

    def _send(self, message: Mapping[str, Any], *passed: Passed) -> None:
        self._outbox.send(json.dumps(message).encode(), *passed)

    def _read(self) -> None:
        while self.alive:
            try:
                data = self._connection.recv(_BUFFER_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close()
                return
            self._handle(json.loads(data))

    def _handle(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            if not self._ready.done():  # Nobody waits any more when the launch was cancelled.
                self._ready.set_result(None)
        elif "failed" in message:
            _LOG.error("No execution environment can be set up: %s", message["failed"])
            if not self._ready.done():
                self._ready.set_exception((IsolationUnavailable if self.isolated else ZygoteFailed)(message["failed"]))
        elif "started" in message:
            self._sandboxes[message["started"]].started(message["pid"], message["host_id"])
            self._resolve(message["started"], None)
        elif "process" in message:
            status = _exit_status(message["status"], message["problem"])
            self._sandboxes[message["of"]].process_ended(message["process"], status)
        else:
            self._ended(message)

    def _ended(self, message: dict[str, Any]) -> None:
        environment_id, status, error = message["exited"], message["status"], message["error"]
        sandbox = self._sandboxes.pop(environment_id)
        if error is not None:
            _LOG.error("Execution environment %s could not be set up: %s", environment_id, error)
        self._resolve(environment_id, OSError(error or "the process ended") if status is None else None)
        ended = _exit_status(status, message["entry_point_error"]) if status is not None else _CLOSED
        sandbox.ended(ended, kept=message.get("kept", False))

    def _resolve(self, environment_id: str, error: OSError | None) -> None:
        started = self._pending.get(environment_id)
        if started is None or started.done():
            return
        if error is None:
            started.set_result(None)
        else:
            started.set_exception(error)

    def _close(self) -> None:
        self.alive = False
        descriptor = self._connection.fileno()
        self._loop.remove_reader(descriptor)
        self._outbox.close()
        self._connection.close()
        if self._standby is not None:
            self._standby.close()
        if not self._ready.done():
            self._ready.set_exception(ZygoteFailed("the zygote ended while it started"))
        for environment_id in list(self._sandboxes):
            self._resolve(environment_id, OSError("the zygote ended"))
            self._sandboxes.pop(environment_id).ended(_CLOSED)
        self._gone.set_result(None)


def _exit_status(status: int, entry_point_error: str | None) -> ExitStatus:
    code = os.waitstatus_to_exitcode(status)
    return ExitStatus(code=code, entry_point_error=entry_point_error) if code >= 0 else ExitStatus(signal=-code)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def _pid_one_level_down(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
    except OSError:
        return None  # Another environment, which has ended meanwhile.
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[2])
    return None
