"""The fork server: one process an interpreter, from which execution environments are forked.

Started by the gateway as `python -I -S start.py DESCRIPTOR`, with an empty environment. DESCRIPTOR is a SEQPACKET socket to
the gateway; the first message is the plan of `layout.py` as JSON. Stays single-threaded, so that fork is safe.
When the gateway goes away, so does the zygote, and with it everything that it started.

An environment is forked before it is needed: the spare one has made its namespaces and waits for a request, so that a
cold start waits for neither. Each start takes the spare and leaves the forking of the next for a quiet moment.

Messages in: `{"start": ID, ...}` with the write ends of the output pipes (the runtime's, and the extensions' if there are any),
`{"stand_by": what to start}` with the write end of its output pipe, which comes again with the start that takes it,
`{"stand_down": true}`, `{"terminate": ID}`, `{"kill": ID}`, `{"freeze": ID}`, `{"thaw": ID}`; with extensions also
`{"start_runtime": ID}`, `{"kill_runtime": ID}`. `{"reset": ID}` kills. What is mounted in one that was reset, or ended by
itself, is kept until a start `inherits` from that ID, or `{"forget": ID}` comes.
Messages out: `{"ready": ...}` or `{"failed": ...}` once; `{"started": ID, "pid": ..., "host_id": its user here, or null}`;
`{"exited": ID, "status": wait status, "error": what went wrong before the runtime, "entry_point_error": why it could not be
executed, "kept": whether somebody may inherit from it}`; for each process of an environment with extensions `{"process": NAME or
null, "of": ID, "status": …, "problem": …}`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import tokenize  # noqa: F401 - a traceback needs it, and the library is out of reach once the root has changed
from typing import Any

from . import environment, linux, messages, processes, python_runtime, supervisor, template
from .child import ENTRY_POINT_ERROR, LEFT, SETUP_ERROR, Child
from .estates import Estates
from .messages import close_all
from .nursery import Nursery

_QUIET_MS = 10
"""How long nothing must have been asked before the next spare is forked: not while the last one's function starts."""
_SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "freeze": signal.SIGUSR1, "thaw": signal.SIGUSR2}
_SIGNALS["reset"] = signal.SIGKILL


class Zygote:
    """Has environments forked on request, and reports their ends."""

    def __init__(self, gateway: messages.Channel, plan: dict[str, Any]) -> None:
        self._gateway = gateway
        self._isolated: bool = plan["isolated"]
        host_ids: list[int] | None = None
        if plan["host_ids"] is not None:
            first, count = plan["host_ids"]
            host_ids = list(range(first + count - 1, first - 1, -1))
        self._estates = Estates(host_ids)
        self._nursery = Nursery(gateway, self._estates, self._isolated)
        self._running: dict[str, Child] = {}
        self._poll = select.poll()
        self._supervised: dict[int, Child] = {}

    def serve(self) -> None:
        """Work until the gateway is gone. Raises InChild in every process that is forked meanwhile."""
        wake_read, wake_write = os.pipe()
        for descriptor in (wake_read, wake_write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        poll = self._poll
        poll.register(self._gateway, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        gateway_process = linux.open_process(os.getppid()) if os.getppid() else None
        if gateway_process is not None:
            poll.register(gateway_process, select.POLLIN)
        if not self._isolated:
            linux.adopt_orphans()
        # The first one is waited for: if it cannot be set up, no other can.
        first = self._nursery.fork_spare()
        if not first.requests.receive()[0]:
            self._ended(first, os.waitpid(first.pid, 0)[1])
        self._tell({"ready": True})
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(None if self._nursery.has_spare else _QUIET_MS)]
            if not ready:
                with contextlib.suppress(OSError):  # A start will try again and report it.
                    self._nursery.fork_spare()
            if wake_read in ready:
                os.read(wake_read, 4096)
                self._reap()
            if gateway_process is not None and gateway_process in ready:
                break
            for descriptor in self._supervised.keys() & ready:
                self._relay(self._supervised[descriptor])
            if self._gateway.fileno() in ready:
                message, outputs = self._gateway.receive()
                if not message:
                    break
                self._handle(message, outputs)
        self._end_all()

    def _tell(self, report: dict[str, Any]) -> None:
        self._gateway.announce(json.dumps(report).encode())  # If it is gone, the next poll says so.

    def _handle(self, message: bytes, outputs: list[int]) -> None:
        fields = json.loads(message)
        if "start" in fields:
            self._start(fields, message, outputs)
            return
        if "stand_by" in fields:
            self._nursery.stand_by(message, outputs)
            close_all(outputs)
            return
        if "stand_down" in fields:
            self._nursery.stand_down()
            return
        name = next(iter(fields))
        if name == "forget":
            self._estates.forget(fields[name])
            return
        child = self._running.get(fields[name])
        if child is None:
            return
        if name == "reset":
            child.leaves(processes.mounts_of(child.pid) if child.outcome.mounted else -1)
        elif name == "kill":
            child.unwanted = True
        if child.supervised and name in supervisor.REQUESTS:
            child.requests.announce(name.encode())
        else:
            os.kill(child.pid, _SIGNALS[name])

    def _start(self, fields: dict[str, Any], message: bytes, outputs: list[int]) -> None:
        environment_id = fields["start"]
        estate = self._estates.take(fields["inherits"])
        try:
            if estate is not None:
                child = self._nursery.fork(estate)
                estate = None
                child.requests.send(message, *outputs)
            else:
                child = self._nursery.give_work(message, outputs, from_standby=fields["from_standby"])
        except OSError as error:
            self._estates.give_back(estate)
            close_all(outputs)
            self._tell({"exited": environment_id, "status": None, "error": str(error), "entry_point_error": None})
            return
        close_all(outputs)  # Not in a `finally`: InChild comes by here, in the process that needs them.
        child.environment_id = environment_id
        if fields["extensions"]:
            child.supervised = True
            self._supervised[child.requests.fileno()] = child
            self._poll.register(child.requests, select.POLLIN)
        self._running[environment_id] = child
        self._tell({"started": environment_id, "pid": child.pid, "host_id": child.host_id})

    def _relay(self, child: Child) -> None:
        """Pass on what a supervisor tells, all of it."""
        waiting = select.poll()
        waiting.register(child.requests, select.POLLIN)
        while waiting.poll(0):
            message, descriptors = child.requests.receive()
            if not message:
                self._stop_relaying(child)
                return
            if message == environment.SET_UP:
                continue  # Read of the first spare only.
            if message == LEFT:
                child.leaves(descriptors[0])
                continue
            fields = json.loads(message)
            if fields["name"] is None:
                fields["problem"] = child.outcome.text(ENTRY_POINT_ERROR)
            self._tell({"process": fields.pop("name"), "of": child.environment_id, **fields})

    def _stop_relaying(self, child: Child) -> None:
        if self._supervised.pop(child.requests.fileno(), None) is not None:
            self._poll.unregister(child.requests)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (ended := self._nursery.children.get(pid)) is not None:
                self._ended(ended, status)
            if not self._isolated:
                # Children that were not forked here are what plain environments that have ended left behind.
                orphans = [child for child in processes.children(os.getpid()) if child not in self._nursery.children]
                processes.send(signal.SIGKILL, orphans)

    def _ended(self, child: Child, status: int) -> None:
        was_spare = self._nursery.forget(child)
        left = child.outcome.status()
        report = {
            "exited": child.environment_id,
            "status": status if left is None else left,
            "error": child.outcome.text(SETUP_ERROR),
            "entry_point_error": child.outcome.text(ENTRY_POINT_ERROR),
        }
        if child.supervised:
            self._relay(child)
            self._stop_relaying(child)
        report["kept"] = self._keep(child)
        child.close()
        if child.environment_id is not None:
            del self._running[child.environment_id]
            self._tell(report)
        elif was_spare and report["error"] is not None:
            self._tell({"failed": report["error"]})
            raise SystemExit(1)

    def _keep(self, child: Child) -> bool:
        """Keep what an environment left for one that takes its place; whether there is something."""
        estate = child.estate()
        if child.environment_id is None or child.unwanted or estate.mounts < 0:
            self._estates.give_back(estate)
            return False
        self._estates.keep(child.environment_id, estate)
        return True

    def _end_all(self) -> None:
        for child in self._nursery.children.values():
            os.kill(child.pid, signal.SIGKILL)
        # Whoever waits for this process knows then that nothing is left.
        if not self._isolated:
            processes.end_descendants()
        try:
            while True:
                os.wait()
        except ChildProcessError:
            return


def main() -> None:
    """Set up what the plan says, then serve. Raises InChild in a forked process."""
    gateway = messages.Channel(socket.socket(fileno=int(sys.argv[1])))
    plan = json.loads(gateway.receive()[0] or b"null") if len(sys.argv) == 2 else _plan_inside()
    if plan is None:
        return
    if plan["isolated"] and len(sys.argv) == 2:
        try:
            template.enter(plan, gateway)
        except OSError as error:
            gateway.send(json.dumps({"failed": str(error)}).encode())
            return
        if plan["execute"]:
            command = [*plan["execute"], str(gateway.hand_over()), "inside"]
            os.execve(command[0], command, plan["environment"])
    if plan["python"] is not None:
        python_runtime.preload(plan["python"])
    del sys.path[0]
    gc.collect()
    gc.freeze()
    Zygote(gateway, plan).serve()


def _plan_inside() -> dict[str, Any]:
    with open(template.PLAN, encoding="utf-8") as file:
        plan: dict[str, Any] = json.load(file)
    return plan
