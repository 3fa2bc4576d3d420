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

import gc
import json
import os
import select
import signal
import socket
import sys
import tokenize  # noqa: F401 - a traceback needs it, and the library is out of reach once the root has changed
import traceback
from typing import Any, Callable

from . import environment, linux, messages, processes, python_runtime, snapshot, standby, supervisor, template
from .child import ENTRY_POINT_ERROR, LEFT, SETUP_ERROR, Child, Outcome
from .estates import Estate, Estates

_QUIET_MS = 10
"""How long nothing must have been asked before the next spare is forked: not while the last one's function starts."""
_SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "freeze": signal.SIGUSR1, "thaw": signal.SIGUSR2}
_SIGNALS["reset"] = signal.SIGKILL


class InChild(Exception):
    """Leaves the zygote's loop in a forked process; `work` is what that process has to do."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self.work = work


class Zygote:
    """Forks environments on request and reports their ends."""

    def __init__(self, gateway: messages.Channel, plan: dict[str, Any]) -> None:
        self._gateway = gateway
        self._isolated: bool = plan["isolated"]
        host_ids: list[int] | None = None
        if plan["host_ids"] is not None:
            first, count = plan["host_ids"]
            host_ids = list(range(first + count - 1, first - 1, -1))
        self._estates = Estates(host_ids)
        self._children: dict[int, Child] = {}
        self._running: dict[str, Child] = {}
        self._spare: Child | None = None
        self._standby: Child | None = None
        """An environment in which an interpreter was started, and waits for a function."""
        self._poll = select.poll()
        self._supervised: dict[int, Child] = {}
        # Children are forked into a pid namespace that is set for the next fork only; this descriptor leads back.
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY) if self._isolated else -1

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
        self._spare = self._fork()
        # The first one is waited for: if it cannot be set up, no other can.
        if not self._spare.requests.receive()[0]:
            self._ended(self._spare, os.waitpid(self._spare.pid, 0)[1])
        self._tell({"ready": True})
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(None if self._spare else _QUIET_MS)]
            if not ready:
                self._spare = self._fork_in_advance()
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
            self._stand_by(message, outputs)
            return
        if "stand_down" in fields:
            if self._standby is not None:
                os.kill(self._standby.pid, signal.SIGKILL)
            self._standby = None
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
                child = self._fork(estate)
                estate = None
                child.requests.send(message, *outputs)
            else:
                child = self._wake_standby(fields, message, outputs) or self._give_work(message, outputs)
        except OSError as error:
            self._estates.give_back(estate)
            _close(outputs)
            self._tell({"exited": environment_id, "status": None, "error": str(error), "entry_point_error": None})
            return
        _close(outputs)  # Not in a `finally`: InChild comes by here, in the process that needs them.
        child.environment_id = environment_id
        if fields["extensions"]:
            child.supervised = True
            self._supervised[child.requests.fileno()] = child
            self._poll.register(child.requests, select.POLLIN)
        self._running[environment_id] = child
        self._tell({"started": environment_id, "pid": child.pid, "host_id": child.host_id})

    def _stand_by(self, message: bytes, outputs: list[int]) -> None:
        try:
            if self._standby is None:
                self._standby = self._give_work(message, outputs)
        except OSError:
            self._standby = None  # The start that wanted to use it forks an environment, as without it.
        _close(outputs)

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

    def _wake_standby(self, fields: dict[str, Any], message: bytes, outputs: list[int]) -> Child | None:
        if not fields["from_standby"]:
            return None
        child, self._standby = self._standby, None
        if child is not None:
            try:
                child.requests.send(message, *outputs)
            except OSError:  # It died while it waited.
                return None
        return child

    def _give_work(self, message: bytes, outputs: list[int]) -> Child:
        spare, self._spare = self._spare, None
        for child in (spare, None):
            child = child or self._fork()
            try:
                child.requests.send(message, *outputs)
            except OSError:  # The spare died while it waited.
                if child is not spare:
                    raise
                continue
            # Kept open: closing a socket with an unread message in it would reset the child's end.
            return child
        raise AssertionError("the loop ends with a return or an error")

    def _fork_in_advance(self) -> Child | None:
        try:
            return self._fork()
        except OSError:
            return None  # A start will try again and report it.

    def _fork(self, estate: Estate | None = None) -> Child:
        ours, theirs = messages.Channel.pair()
        outcome = Outcome()
        host_id = estate.host_id if estate is not None else self._estates.new_host_id()
        if self._isolated:
            linux.unshare(linux.CLONE_NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0 and self._isolated:
                linux.set_namespace(self._own_pid_namespace, linux.CLONE_NEWPID)
        if pid == 0:
            ours.close()
            self._be_environment(theirs, outcome, host_id, -1 if estate is None else estate.mounts)
        theirs.close()
        if estate is not None:
            os.close(estate.mounts)
        child = self._children[pid] = Child(pid, ours, outcome, host_id)
        return child

    def _be_environment(self, requests: messages.Channel, outcome: Outcome, host_id: int | None, mounts: int) -> None:
        try:
            signal.set_wakeup_fd(-1)
            for changed in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
                signal.signal(changed, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._gateway.close()
            for child in self._children.values():
                child.requests.close()
            left = [child.mounts for child in self._children.values() if child.mounts >= 0]
            _close([*left, *self._estates.descriptors()])
            if self._isolated:
                requests = environment.run_init(requests, host_id, outcome, mounts)
                environment.become_sandbox_user()
            else:
                requests = environment.run_keeper(requests, outcome)
            requests.announce(environment.SET_UP)
            message, outputs = requests.receive()
            if not message:
                os._exit(0)
            order = standby.order_in(message)
            if order is not None:
                os._exit(standby.execute(order, outputs[0], requests))
            request = environment.Request(message, outputs)
            channel = snapshot.keep(outputs[-1]) if request.snapshot else -1
            environment.settle(request, request.output)
            place = snapshot.Snapshot(channel, request, self._isolated) if request.snapshot else None
        except BaseException:  # noqa: BLE001 - whatever it is, the zygote reports it
            outcome.write(SETUP_ERROR, traceback.format_exc().encode())
            os._exit(1)
        if request.command is not None:
            exit_code, problem = environment.execute(request)
            outcome.write(ENTRY_POINT_ERROR, problem.encode())
            os._exit(exit_code)
        raise InChild(lambda: python_runtime.run(request.variables, place))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._children:
                self._ended(self._children.pop(pid), status)
            if not self._isolated:
                # Children that were not forked here are what plain environments that have ended left behind.
                orphans = [child for child in processes.children(os.getpid()) if child not in self._children]
                processes.send(signal.SIGKILL, orphans)

    def _ended(self, child: Child, status: int) -> None:
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
        elif child is self._standby:
            self._standby = None
        elif child is self._spare:
            self._spare = None
            if report["error"] is not None:
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
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
        # Whoever waits for this process knows then that nothing is left.
        if not self._isolated:
            processes.end_descendants()
        try:
            while True:
                os.wait()
        except ChildProcessError:
            return


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


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
