"""A function's initialised process, from which environments are forked: what a snapshot of the machine is on AWS.

The runtime of a version with SnapStart is started and initialised as in every environment, until it has run the hooks before the
snapshot and would ask for `GET restore/next`. There it comes here and stays (`Snapshot.take`), and serves restores:

    snapshot (pid 2 of its namespace)
      └─ process 1 of an environment: new user, mount, pid and IPC namespaces, own /proc, own /tmp with the snapshot's content
           └─ the environment's runtime, which returns from `take` and runs the hooks after the restore

The snapshot has no privilege, so an environment's namespaces are children of its own, and what they need it has in a user
namespace of its own. All environments of a snapshot are one user of the machine; what keeps them apart is their namespaces. When
the snapshot ends, so do they. As in the zygote, a spare environment waits for the next restore.

Messages in: `{"limits": …, "variables": …}` with the environment's output and its own channel to the gateway.
Messages out: `{"taken": true}` or `{"unfit": why}`, once. On an environment's channel: `{"started": true}`, sent by its first
process, whose number the kernel adds; `{"status": wait status}` of its runtime.
"""

from __future__ import annotations

import _socket
import contextlib
import fcntl
import gc
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
from typing import Any, NoReturn

from . import descriptors, environment, fitness, linux, messages, processes, template

Unfit = descriptors.Unfit
_QUIET_MS = 10
# What a function has patched must not come between us.
_fork, _waitpid, _exit, _kill = os.fork, os.waitpid, os._exit, os.kill
_poll = select.poll


class _Restored(Exception):
    """Leaves the snapshot's loop in the runtime of an environment."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__()
        self.variables = variables


class _Fork:
    """An environment that was forked, with or without work."""

    def __init__(self, pid: int, requests: messages.Channel) -> None:
        self.pid = pid
        self.requests = requests


class Snapshot:
    """The place where a runtime waits to be restored. Made before the function's code is run."""

    def __init__(self, descriptor: int, request: environment.Request, isolated: bool) -> None:
        """`descriptor` is the channel to the gateway."""
        self._gateway = _channel(descriptor)
        self._gateway_inode = os.fstat(descriptor).st_ino
        self._isolated = isolated
        self._tmp_mib = request.tmp_mib
        self._variables = dict(request.variables)
        self._log = os.fstat(1)
        self._fitness = fitness.Fitness(isolated)
        self._forks: dict[int, _Fork] = {}
        self._spare: _Fork | None = None
        self._events = _poll()
        self._files: descriptors.OpenFiles | None = None
        self._randomness: tuple[Any, ...] = ()

    def take(self) -> bool:
        """Be the snapshot from now on. Returns in environments that are restored from it; False at once if there can be none.

        The variables of the environment are those of the restore then; what the function itself has changed of them stays.
        """
        if not self._reaches_gateway():
            return False
        try:
            self._require_fitness()
            self._serve()
        except Unfit as unfit:
            self._gateway.announce(json.dumps({"unfit": str(unfit)}).encode())
            self._gateway.receive()
            _exit(0)
        except _Restored as restored:
            found = restored.variables
        if not self._isolated:
            _move_temporary_files(self._variables["TMPDIR"], found["TMPDIR"])
        for name in self._variables.keys() | found.keys():
            if self._variables.get(name) != found.get(name):
                os.environ.pop(name, None)
                if name in found:
                    os.environ[name] = found[name]
        return True

    # --- what can be a snapshot

    def _reaches_gateway(self) -> bool:
        """Whether the channel is still what it was: a function may close whatever is open."""
        try:
            return os.fstat(self._gateway.fileno()).st_ino == self._gateway_inode
        except OSError:
            return False

    def _require_fitness(self) -> None:
        self._fitness.require()
        try:
            self._files = descriptors.OpenFiles({self._gateway.fileno()}, self._log)
        except OSError as error:
            raise Unfit(f"its open files cannot be looked at: {error}") from error

    # --- the loop

    def _serve(self) -> None:
        self._randomness = random.getstate()
        gc.collect()
        gc.freeze()
        if self._isolated:
            _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
            resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
        else:
            linux.adopt_orphans()
        self._events.register(self._gateway.fileno(), select.POLLIN)
        self._spare = self._new_fork()
        ready, _ = self._spare.requests.receive()
        if ready != environment.SET_UP:
            raise Unfit(f"a copy of it cannot be set up: {ready.decode('utf-8', 'replace') or 'it ended at once'}")
        self._gateway.announce(b'{"taken": true}')
        while True:
            ready_now = self._events.poll(None if self._spare else _QUIET_MS)
            if not ready_now:
                self._spare = self._fork_in_advance()
            for descriptor, _ in ready_now:
                if descriptor != self._gateway.fileno():
                    self._hear(self._forks[descriptor])
            if any(descriptor == self._gateway.fileno() for descriptor, _ in ready_now):
                message, passed = self._gateway.receive()
                if not message:
                    _exit(0)
                self._restore(message, passed)

    def _hear(self, fork: _Fork) -> None:
        """An environment is set up, or has ended."""
        message, _ = fork.requests.receive()
        if message:
            return
        self._events.unregister(fork.requests.fileno())
        del self._forks[fork.requests.fileno()]
        fork.requests.close()
        if fork is self._spare:
            self._spare = None
        with contextlib.suppress(
            ChildProcessError
        ):  # The function ignores SIGCHLD, and then there is nothing to wait for.
            _waitpid(fork.pid, 0)
        if not self._isolated:
            self._end_orphans()

    def _end_orphans(self) -> None:
        """Children that were not forked here are what plain environments left behind whose first process was killed."""
        known = {fork.pid for fork in self._forks.values()}
        while orphans := [pid for pid in processes.children(os.getpid()) if pid not in known]:
            processes.send(signal.SIGKILL, orphans)
            for pid in orphans:
                try:
                    _waitpid(pid, 0)
                except ChildProcessError:
                    continue

    def _restore(self, message: bytes, passed: list[int]) -> None:
        """Let the spare, or a new environment, go on with this; the gateway learns from its channel if there is none."""
        spare, self._spare = self._spare, None
        for fork in (spare, None):
            try:
                (fork or self._new_fork()).requests.send(message, *passed)
            except OSError:  # The spare died while it waited, or no process can be had.
                continue
            break
        messages.close_all(
            passed
        )  # Not in a `finally`: _Restored comes by here, in the process that needs what is open.

    def _fork_in_advance(self) -> _Fork | None:
        try:
            return self._new_fork()
        except OSError:
            return None  # A restore will try again.

    def _new_fork(self) -> _Fork:
        ours, theirs = messages.Channel.pair()
        pid = linux.clone(linux.CLONE_NEWUSER | linux.CLONE_NEW_SANDBOX) if self._isolated else _fork()
        if pid == 0:
            raise _Restored(self._be_environment(ours, theirs))
        theirs.close()
        fork = self._forks[ours.fileno()] = _Fork(pid, ours)
        self._events.register(ours.fileno(), select.POLLIN)
        return fork

    # --- in an environment

    def _be_environment(self, ours: messages.Channel, requests: messages.Channel) -> dict[str, str]:
        """Wait for a restore, and become the environment; returns its variables, in its runtime."""
        try:
            for channel in (ours, self._gateway, *(fork.requests for fork in self._forks.values())):
                channel.close()
            requests = self._be_first(requests)
            assert self._files is not None
            self._files.renew()
            _leave_old_directory()
            requests.announce(environment.SET_UP)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the snapshot has to know
            requests.announce(f"{type(error).__name__}: {error}".encode())
            _exit(1)
        message, passed = requests.receive()
        if not message:
            _exit(0)
        fields: dict[str, Any] = json.loads(message)
        self._files.log_to(passed[0])
        os.close(passed[0])
        requests.close()
        for name, limit in fields["limits"].items():
            resource.setrlimit(getattr(resource, name), tuple(limit))
        if "_ssl" in sys.modules:
            # Where a fork cannot be told by the process id, which may be that of the snapshot.
            sys.modules["_ssl"].RAND_add(os.urandom(48), 48.0)
        return fields["variables"]  # type: ignore[no-any-return]

    def _be_first(self, requests: messages.Channel) -> messages.Channel:
        """Be the first process of the environment, which never returns; in the runtime's, return where its request comes.

        It is what `run_init` and `run_keeper` are in environments of the zygote.
        """
        if self._isolated:
            linux.map_own_ids(environment.UID, environment.GID)
            linux.mount("proc", "/proc", "proc", environment.SHIELD | linux.MS_NOEXEC)
            self._own_tmp()
            linux.skip_process_ids()
        else:
            os.setsid()
            linux.adopt_orphans()
        ours, theirs = messages.Channel.pair()
        runtime = _fork()
        if runtime == 0:
            # On AWS every environment goes on with the random numbers of the snapshot; those of the system differ.
            random.setstate(self._randomness)
            requests.close()
            ours.close()
            if self._isolated:
                linux.drop_capabilities()
                linux.own_proc_entries()
            else:
                linux.die_with_parent(signal.SIGKILL)
            return theirs
        theirs.close()
        return self._attend(requests, ours, runtime)

    def _attend(self, requests: messages.Channel, to_runtime: messages.Channel, runtime: int) -> NoReturn:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, lambda *_: self._end())
        if not self._isolated:
            linux.die_with_parent(signal.SIGHUP)
        requests.announce(to_runtime.receive()[0])
        message, passed = requests.receive()
        if not message:
            self._end()
        pass_on = environment.PassOn(self._to_everybody)
        output, descriptor = passed
        gateway = _channel(descriptor)
        gateway.announce(b'{"started": true}')
        to_runtime.announce(message, output)
        to_runtime.close()
        os.close(output)
        gateway.announce(json.dumps({"status": pass_on.until_end_of(runtime)}).encode())
        self._end()

    def _to_everybody(self, number: int) -> None:
        if self._isolated:
            _kill(-1, number)
        else:
            processes.send(number, processes.descendants(os.getpid()))

    def _end(self) -> NoReturn:
        if not self._isolated:
            processes.end_descendants()
        _exit(0)

    def _own_tmp(self) -> None:
        """A /tmp with what the function had in its own when the snapshot was taken."""
        options = f"mode=1777,size={self._tmp_mib}m"
        if not os.listdir("/tmp"):
            linux.mount("tmpfs", "/tmp", "tmpfs", environment.SHIELD, options)
            return
        linux.mount("tmpfs", template.OWN, "tmpfs", environment.SHIELD, options)
        shutil.copytree("/tmp", template.OWN, symlinks=True, ignore=_not_files, dirs_exist_ok=True)
        os.chmod(template.OWN, 0o1777)
        linux.mount(template.OWN, "/tmp", None, linux.MS_MOVE)


def keep(descriptor: int) -> int:
    """A number for a descriptor that is out of the way of the function's, and of what closes those of a fork."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 512)


def _channel(descriptor: int) -> messages.Channel:
    return messages.Channel(_socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, descriptor))


def _not_files(directory: str, names: list[str]) -> list[str]:
    """Sockets and pipes in a directory: their other ends are not restored."""
    paths = [(name, os.path.join(directory, name)) for name in names]
    return [name for name, path in paths if not (os.path.islink(path) or os.path.isfile(path) or os.path.isdir(path))]


def _move_temporary_files(old: str, new: str) -> None:
    """Copy what the function has in its directory for temporary files, and use the copy from now on."""
    shutil.copytree(old, new, symlinks=True, ignore=_not_files, dirs_exist_ok=True)
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None and tempfile.tempdir == old:
        tempfile.tempdir = new  # type: ignore[attr-defined]


def _leave_old_directory() -> None:
    """The working directory by its name: it may have been in the old /tmp."""
    try:
        os.chdir(os.getcwd())
    except OSError:
        os.chdir("/")
