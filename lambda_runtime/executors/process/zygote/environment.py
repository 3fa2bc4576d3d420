"""What a forked process does to become one execution environment, before the function's runtime runs in it.

Isolated: process 1 of a new pid namespace (`run_init`) mounts what is the environment's own, starts the runtime as its child, and
waits for it; its death ends everything inside. The runtime enters a user namespace in which it is `sbx_user1051`, as on AWS,
and on the host an id that no other environment has; there it has no capability and can get none. Plain: the runtime's parent
(`run_keeper`) adopts what the function leaves behind, so that it can be ended with the environment, and nothing more.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import select
import signal
from typing import Callable

from . import child, linux, messages, processes, standby, supervisor, template

UID, GID = 993, 990
"""The ids of sbx_user1051 on AWS."""
TELEMETRY_DESCRIPTOR = 3
SET_UP = b"set up"
"""The first message of an environment: it can take a request."""
PASSED_ON: dict[int, int] = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGSTOP,
    signal.SIGUSR2: signal.SIGCONT,
}
"""What the zygote sends, and what the processes inside get. Of a freeze and a thaw that wait, the kernel gives the freeze first:
the lower number."""
NO_BOOTSTRAP = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
"""https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html"""
_FILES_PER_MIB = 256
"""One for each page: the kernel's memory for empty files is bounded, too."""
SHIELD = linux.MS_NOSUID | linux.MS_NODEV
# A snapshot is a function's process; what that has patched must not come between us.
_waitpid, _next_signal = os.waitpid, signal.sigwaitinfo


class PassOn:
    """Passes the signals of `PASSED_ON` to everybody inside, in the order in which they came. Whoever makes one forks no more.

    The kernel keeps them until they are asked for. Handlers would change the order: Python calls one within another, or only when
    a later signal ends a system call that had not begun yet. A freeze behind its thaw leaves an environment frozen while its
    function should run.
    """

    def __init__(self, to_everybody: Callable[[int], None]) -> None:
        self._to_everybody = to_everybody
        self._awaited = {*PASSED_ON, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, self._awaited)

    def until_end_of(self, runtime: int) -> int:
        """Pass on what comes, reap who has ended, and return the wait status of this child when it has."""
        while True:
            pid, status = _waitpid(-1, os.WNOHANG)
            if pid == runtime:
                return status
            if pid == 0 and (number := _next_signal(self._awaited).si_signo) in PASSED_ON:
                self._to_everybody(PASSED_ON[number])


class Request:
    """What an environment is to run, as the gateway sent it."""

    def __init__(self, message: bytes, outputs: list[int]) -> None:
        fields = json.loads(message)
        self.code: str | None = fields["code"]
        self.layers: str | None = fields["layers"]
        self.tmp_mib: int = fields["tmp_mib"]
        self.limits: dict[str, list[int]] = fields["limits"]
        self.variables: dict[str, str] = fields["variables"]
        self.directory: str = fields["directory"]
        self.command: list[str] | None = fields["command"]
        """What to execute; None runs the Python function in this process."""
        self.extensions: list[str] = fields["extensions"]
        """File names of extensions, which are started before the runtime."""
        self.extensions_directory: str = fields["extensions_directory"]
        self.extension_variables: dict[str, str] = fields["extension_variables"]
        self.hosts: str | None = fields["hosts"]
        """Content of the environment's own /etc/hosts, if it has one."""
        self.snapshot: bool = fields.get("snapshot", False)
        """The process becomes a snapshot when it is initialised; `outputs[-1]` is its channel to the gateway then."""
        self.output = outputs[0]
        self.extension_output = outputs[-1]


def run_init(
    requests: messages.Channel, host_id: int | None, outcome: child.Outcome, mounts: int = -1
) -> messages.Channel:
    """Be process 1 of the environment, which never returns from here; in the runtime's process, return where its request comes.

    All that does not depend on the request is done before it arrives. `outcome` hears when all is mounted, and the wait status of
    the runtime. `mounts` is a descriptor of those of an environment of the same version and user that was reset: this one goes on
    with its /tmp.
    """
    linux.die_with_parent(signal.SIGKILL)
    os.setsid()  # The kernel shares processors out between sessions first (sched(7), autogroup): nobody can starve the others.
    inherits = mounts >= 0
    linux.unshare(linux.CLONE_NEWIPC if inherits else linux.CLONE_NEWIPC | linux.CLONE_NEWNS)
    if inherits:
        linux.set_namespace(mounts, linux.CLONE_NEWNS)
        os.close(mounts)
        linux.unmount("/proc")  # It shows the processes of another pid namespace.
    linux.mount("proc", "/proc", "proc", SHIELD | linux.MS_NOEXEC)
    if host_id is not None:
        os.setgroups([])
    ours, theirs = messages.Channel.pair()
    runtime = os.fork()
    if runtime == 0:
        requests.close()
        ours.close()
        linux.unshare(linux.CLONE_NEWUSER)
        theirs.send(b"in a user namespace")
        if not theirs.receive()[0]:
            os._exit(1)
        return theirs
    theirs.close()
    if ours.receive()[0]:
        _map_ids(runtime, host_id)
        ours.send(b"ids are mapped")
    if ours.receive()[0]:
        requests.announce(SET_UP)
    message, outputs = requests.receive()
    if message and standby.order_in(message) is not None:
        _own(outputs, host_id)
        ours.send(message, *outputs)
        messages.close_all(outputs)
        message, outputs = requests.receive() if _first_of(requests, ours) is requests else (b"", [])
    if not message:
        os._exit(0)  # The zygote has no use for this environment any more.
    request = Request(message, outputs)
    _own(outputs, host_id)
    if inherits:
        _write_hosts(request)
    else:
        _mount_own(request)
    outcome.write_mounted()
    # The extensions are one user with the runtime.
    namespace = os.open(f"/proc/{runtime}/ns/user", os.O_RDONLY) if request.extensions else -1

    def settle_extension() -> None:
        linux.set_namespace(namespace, linux.CLONE_NEWUSER)
        become_sandbox_user()
        settle(request, request.extension_output)

    _attend(requests, ours, message, request, runtime, settle_extension, outcome, _signal_everybody)
    requests.announce(child.LEFT, os.open("/proc/self/ns/mnt", os.O_RDONLY))
    os._exit(0)


def _first_of(requests: messages.Channel, runtime: messages.Channel) -> messages.Channel:
    """Where something comes first: a request, or the end of the runtime, which does not write."""
    poll = select.poll()
    for channel in (requests, runtime):
        poll.register(channel, select.POLLIN)
    ready = [descriptor for descriptor, _ in poll.poll()]
    return runtime if runtime.fileno() in ready else requests


def _own(outputs: list[int], host_id: int | None) -> None:
    if host_id is not None:
        for output in outputs:
            os.fchown(output, host_id, host_id)  # So that the function can open /dev/stdout.


def _signal_everybody(number: int) -> None:
    try:
        os.kill(-1, number)
    except ProcessLookupError:
        return  # Process 1 is alone already.


def run_keeper(requests: messages.Channel, outcome: child.Outcome) -> messages.Channel:
    """Be the parent of everything in a plain environment, which never returns from here; in the runtime, as `run_init`.

    It ends what is left when the runtime has ended. If it is killed, or the zygote is, whoever comes next in line adopts and
    ends the rest: the zygote, or this process on a SIGHUP from the kernel.
    """
    os.setsid()
    linux.adopt_orphans()
    ours, theirs = messages.Channel.pair()
    runtime = os.fork()
    if runtime == 0:
        linux.die_with_parent(signal.SIGKILL)
        requests.close()
        ours.close()
        return theirs
    theirs.close()

    def end(*_: object) -> None:
        processes.end_descendants()
        os._exit(0)

    signal.signal(signal.SIGHUP, end)
    linux.die_with_parent(signal.SIGHUP)
    if ours.receive()[0]:
        requests.announce(SET_UP)
    message, outputs = requests.receive()
    if not message:
        end()
    request = Request(message, outputs)

    def settle_extension() -> None:
        linux.die_with_parent(signal.SIGKILL)
        settle(request, request.extension_output)

    def to_everybody(number: int) -> None:
        processes.send(number, processes.descendants(os.getpid()))

    _attend(requests, ours, message, request, runtime, settle_extension, outcome, to_everybody)
    end()
    raise AssertionError("it has ended")


def _attend(
    requests: messages.Channel,
    to_runtime: messages.Channel,
    message: bytes,
    request: Request,
    runtime: int,
    settle_extension: Callable[[], None],
    outcome: child.Outcome,
    to_everybody: Callable[[int], None],
) -> None:
    """Hand the request to the runtime, pass on signals, and return when the environment has ended."""
    if request.extensions:
        start_runtime = functools.partial(to_runtime.announce, message, request.output)
        supervisor.supervise(requests, request, runtime, start_runtime, settle_extension)
        return
    pass_on = PassOn(to_everybody)
    passed = dict.fromkeys([request.output, request.extension_output])
    to_runtime.send(message, *passed)
    to_runtime.close()
    messages.close_all(passed)
    outcome.write_status(pass_on.until_end_of(runtime))


def _mount_own(request: Request) -> None:
    # The source mount is read-only, and so is what is bound from it.
    if request.code is not None:
        linux.mount(f"{template.CACHE}/{request.code}", "/var/task", None, linux.MS_BIND)
    if request.layers is not None:
        linux.mount(f"{template.CACHE}/{request.layers}", "/opt", None, linux.MS_BIND)
    size = f"mode=1777,size={request.tmp_mib}m,nr_inodes={request.tmp_mib * _FILES_PER_MIB}"
    linux.mount("tmpfs", "/tmp", "tmpfs", SHIELD, size)
    if request.hosts is not None:
        linux.mount("tmpfs", template.OWN, "tmpfs", SHIELD | linux.MS_NOEXEC, "mode=0755,size=64k")
        _write_hosts(request)
        os.chmod(f"{template.OWN}/hosts", 0o644)
        linux.mount(f"{template.OWN}/hosts", "/etc/hosts", None, linux.MS_BIND)
    # Covered, not unmounted: an unmount waits for a grace period of the kernel.
    linux.mount(template.EMPTY, template.CACHE, None, linux.MS_BIND)


def _write_hosts(request: Request) -> None:
    if request.hosts is not None:
        with open(f"{template.OWN}/hosts", "w", encoding="utf-8") as file:
            file.write(request.hosts)


def _map_ids(pid: int, host_id: int | None) -> None:
    for name, inside in (("uid_map", UID), ("gid_map", GID)):
        with open(f"/proc/{pid}/{name}", "w", encoding="utf-8") as file:
            file.write(f"{inside} 0 1\n" if host_id is None else f"0 0 1\n{inside} {host_id} 1\n")


def become_sandbox_user() -> None:
    """Change to sbx_user1051 without any privilege."""
    os.setresgid(GID, GID, GID)
    os.setresuid(UID, UID, UID)
    linux.drop_capabilities()
    linux.forbid_new_privileges()
    linux.own_proc_entries()


def settle(request: Request, write_to: int) -> None:
    """Limits, standard streams, working directory: the last steps before the runtime or an extension."""
    limit(request.limits)
    linux.forbid_new_privileges()
    attach(write_to)
    os.closerange(TELEMETRY_DESCRIPTOR + 1, 256)
    os.chdir(request.directory)


def limit(limits: dict[str, list[int]]) -> None:
    """Set the limits of this process and its children."""
    for name, (soft, hard) in limits.items():
        kind = getattr(resource, name)
        allowed = resource.getrlimit(kind)[1]
        soft, hard = (_lower(each, allowed) for each in (soft, hard))
        resource.setrlimit(kind, (soft, hard))


def attach(write_to: int) -> None:
    """Standard streams and the telemetry log; the umask of files that the function makes."""
    null = os.open("/dev/null", os.O_RDONLY)
    output = os.dup(write_to)
    os.dup2(null, 0)
    for descriptor in (1, 2, TELEMETRY_DESCRIPTOR):
        os.dup2(output, descriptor)
    os.umask(0o022)


def _lower(limit: int, allowed: int) -> int:
    if allowed == resource.RLIM_INFINITY:
        return limit
    return allowed if limit == resource.RLIM_INFINITY else min(limit, allowed)


def execute(request: Request) -> tuple[int, str]:
    """Replace the process by the requested command. Returns only if that failed: the exit code of a shell, and why.

    An exec wrapper that is not there ends as AWS's `bootstrap` script ends (recorded: test_lambda_runtime_wrapper_not_found).
    """
    assert request.command is not None
    program = request.command[0]
    try:
        os.execve(program, request.command, request.variables)
    except OSError as error:
        missing = not os.path.isfile(program)
        if program == request.variables.get("AWS_LAMBDA_EXEC_WRAPPER"):
            os.write(2, f"{program}: {'does not exist' if missing else 'is not an executable'}\n".encode())
            return (127 if missing else 126), ""
        if missing and os.path.basename(program) == "bootstrap":
            return 127, NO_BOOTSTRAP
        return (127 if missing else 126), f"fork/exec {program}: {os.strerror(error.errno or 0).lower()}"
