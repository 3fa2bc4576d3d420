"""What a forked process does to become one execution environment, before the function's runtime runs in it.

Isolated: process 1 of a new pid namespace (`run_init`) mounts what is the environment's own, starts the runtime as its child, and
waits for it; its death ends everything inside. The runtime enters a user namespace in which it is `sbx_user1051`, as on AWS,
and on the host an id that no other environment has; there it has no capability and can get none. Plain: the runtime
is a process group of its own and nothing more.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from typing import Callable

from . import linux, messages, supervisor, template

UID, GID = 993, 990
"""The ids of sbx_user1051 on AWS."""
TELEMETRY_DESCRIPTOR = 3
SET_UP = b"set up"
"""The first message of an environment: it can take a request."""
_FILES_PER_MIB = 256
"""One for each page: the kernel's memory for empty files is bounded, too."""
_SHIELD = linux.MS_NOSUID | linux.MS_NODEV


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
        self.output = outputs[0]
        self.extension_output = outputs[-1]


def run_init(requests: messages.Channel, host_id: int | None, report: Callable[[int], object]) -> messages.Channel:
    """Be process 1 of the environment, which never returns from here; in the runtime's process, return where its request comes.

    All that does not depend on the request is done before it arrives. `report` gets the wait status of the runtime.
    """
    linux.die_with_parent(signal.SIGKILL)
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWIPC)
    linux.mount("proc", "/proc", "proc", _SHIELD | linux.MS_NOEXEC)
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
    if not message:
        os._exit(0)  # The zygote has no use for this environment any more.
    request = Request(message, outputs)
    if host_id is not None:
        for output in outputs:
            os.fchown(output, host_id, host_id)  # So that the function can open /dev/stdout.
    _mount_own(request)
    if request.extensions:
        _stay_behind(requests, request, runtime, lambda: ours.announce(message, request.output))
    requests.close()
    output = request.output
    ours.send(message, output)
    ours.close()
    os.close(output)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(-1, signal.SIGTERM))
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == runtime:
            report(status)
            os._exit(0)


def _stay_behind(requests: messages.Channel, request: Request, runtime: int, start_runtime: Callable[[], None]) -> None:
    """Be process 1 of an environment with extensions, which are one user with the runtime. Never returns."""
    namespace = os.open(f"/proc/{runtime}/ns/user", os.O_RDONLY)

    def settle_extension() -> None:
        linux.set_namespace(namespace, linux.CLONE_NEWUSER)
        become_sandbox_user()
        settle(request, request.extension_output)

    supervisor.supervise(requests, request, runtime, start_runtime, settle_extension)


def fork_runtime(requests: messages.Channel, request: Request) -> None:
    """Stay behind in a plain environment with extensions; returns in a child, when the runtime is to start there."""
    ours, theirs = messages.Channel.pair()
    runtime = os.fork()
    if runtime != 0:
        theirs.close()

        def settle_extension() -> None:
            linux.die_with_parent(signal.SIGKILL)
            settle(request, request.extension_output)

        supervisor.supervise(requests, request, runtime, lambda: ours.announce(b"start"), settle_extension)
    linux.die_with_parent(signal.SIGKILL)
    requests.close()
    ours.close()
    if not theirs.receive()[0]:
        os._exit(0)


def _mount_own(request: Request) -> None:
    # The source mount is read-only, and so is what is bound from it.
    if request.code is not None:
        linux.mount(f"{template.CACHE}/{request.code}", "/var/task", None, linux.MS_BIND)
    if request.layers is not None:
        linux.mount(f"{template.CACHE}/{request.layers}", "/opt", None, linux.MS_BIND)
    size = f"mode=1777,size={request.tmp_mib}m,nr_inodes={request.tmp_mib * _FILES_PER_MIB}"
    linux.mount("tmpfs", "/tmp", "tmpfs", _SHIELD, size)
    if request.hosts is not None:
        linux.mount("tmpfs", template.OWN, "tmpfs", _SHIELD | linux.MS_NOEXEC, "mode=0755,size=64k")
        with open(f"{template.OWN}/hosts", "w", encoding="utf-8") as file:
            file.write(request.hosts)
        os.chmod(f"{template.OWN}/hosts", 0o644)
        linux.mount(f"{template.OWN}/hosts", "/etc/hosts", None, linux.MS_BIND)
    # Covered, not unmounted: an unmount waits for a grace period of the kernel.
    linux.mount(template.EMPTY, template.CACHE, None, linux.MS_BIND)


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
    for name, (soft, hard) in request.limits.items():
        kind = getattr(resource, name)
        allowed = resource.getrlimit(kind)[1]
        soft, hard = (_lower(limit, allowed) for limit in (soft, hard))
        resource.setrlimit(kind, (soft, hard))
    linux.forbid_new_privileges()
    null = os.open("/dev/null", os.O_RDONLY)
    output = os.dup(write_to)
    os.dup2(null, 0)
    for descriptor in (1, 2, TELEMETRY_DESCRIPTOR):
        os.dup2(output, descriptor)
    os.closerange(TELEMETRY_DESCRIPTOR + 1, 256)
    os.umask(0o022)
    os.chdir(request.directory)


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
        return (127 if missing else 126), f"fork/exec {program}: {os.strerror(error.errno or 0).lower()}"
