"""Where environments are forked, and wait for work."""

from __future__ import annotations

import os
import signal
import traceback
from typing import Callable

from . import environment, linux, messages, python_runtime, snapshot, standby
from .child import ENTRY_POINT_ERROR, SETUP_ERROR, Child, Outcome
from .estates import Estate, Estates
from .messages import close_all


class InChild(Exception):
    """Leaves the zygote's loop in a forked process; `work` is what that process has to do."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self.work = work


class Nursery:
    """Forks environments. Two wait for work: a spare one that is set up, and one in which an interpreter was started.

    What runs in them from the fork to the function's runtime is here, too. Every method that forks raises InChild in the new
    process, so nothing on its way there may clean up what that needs.
    """

    def __init__(self, gateway: messages.Channel, estates: Estates, isolated: bool) -> None:
        self.children: dict[int, Child] = {}
        """All that were forked and have not ended, by the number of their first process."""
        self._gateway = gateway
        self._estates = estates
        self._isolated = isolated
        self._spare: Child | None = None
        self._standby: Child | None = None
        # Children are forked into a pid namespace that is set for the next fork only; this descriptor leads back.
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY) if isolated else -1

    @property
    def has_spare(self) -> bool:
        """Whether one waits that the next start can take."""
        return self._spare is not None

    def fork_spare(self) -> Child:
        """Fork the one that the next start takes. Raises OSError."""
        self._spare = self.fork()
        return self._spare

    def give_work(self, message: bytes, outputs: list[int], *, from_standby: bool = False) -> Child:
        """Let one that waits, or a new one, go on with this. Raises OSError when no process can be had."""
        # Our end is kept open after that: closing a socket with an unread message in it would reset the child's.
        if from_standby:
            waiting, self._standby = self._standby, None
            if waiting is not None and _sent(waiting, message, outputs):
                return waiting
        spare, self._spare = self._spare, None
        if spare is not None and _sent(spare, message, outputs):
            return spare
        child = self.fork()
        child.requests.send(message, *outputs)
        return child

    def stand_by(self, message: bytes, outputs: list[int]) -> None:
        """Have an interpreter started that a later start can use, unless there is one."""
        try:
            if self._standby is None:
                self._standby = self.give_work(message, outputs)
        except OSError:
            self._standby = None  # The start that wanted to use it forks an environment, as without it.

    def stand_down(self) -> None:
        """End the interpreter that stands by, if there is one."""
        if self._standby is not None:
            os.kill(self._standby.pid, signal.SIGKILL)
        self._standby = None

    def forget(self, child: Child) -> bool:
        """It has ended; whether it was the spare one."""
        self.children.pop(child.pid, None)
        if child is self._standby:
            self._standby = None
        was_spare = child is self._spare
        if was_spare:
            self._spare = None
        return was_spare

    def fork(self, estate: Estate | None = None) -> Child:
        """An environment that waits for a request, and takes what another one left, if that is given. Raises OSError."""
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
        child = self.children[pid] = Child(pid, ours, outcome, host_id)
        return child

    def _be_environment(self, requests: messages.Channel, outcome: Outcome, host_id: int | None, mounts: int) -> None:
        try:
            signal.set_wakeup_fd(-1)
            for changed in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
                signal.signal(changed, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._gateway.close()
            for child in self.children.values():
                child.requests.close()
            left = [child.mounts for child in self.children.values() if child.mounts >= 0]
            close_all([*left, *self._estates.descriptors()])
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


def _sent(waiting: Child, message: bytes, outputs: list[int]) -> bool:
    """Whether one that waited has the message; it may have died."""
    try:
        waiting.requests.send(message, *outputs)
    except OSError:
        return False
    return True
