"""What is asked of the engine for one environment: limits, mounts, variables, and the lines of shell around the runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lambda_runtime.executors.containers.ends import NOT_EXECUTABLE, NOT_FOUND
from lambda_runtime.executors.containers.plan import (
    EXTENSIONS,
    PROCESSES,
    SHARE_MIB,
    SHELL,
    USER,
    ContainerPlan,
    hidden,
)
from lambda_runtime.executors.containers.settings import published
from lambda_runtime.executors.docker.limits import Limit
from lambda_runtime.executors.docker.reach import HOST_NAME

PIPES = "/run/lambda"
HOST = "sandbox.localdomain"
INODES_PER_MIB = 256
"""Of /tmp; as the process executor has it."""
_NOTES = "/run/lambda-notes"
_RUNTIME_PID = f"{_NOTES}/runtime"
_PERIOD_US = 100_000

# 126 and 127 are what a shell says of a program that it cannot start; here it says nothing else. Written is the number of the
# process that the program becomes, so that signals can be sent to it and not to its extensions.
_CHECKED = (
    f'case "$1" in */*) [ -f "$1" ] || exit {NOT_FOUND}; [ -x "$1" ] || exit {NOT_EXECUTABLE};; '
    f'*) command -v "$1" >/dev/null || exit {NOT_FOUND};; esac; '
)
_BECOME = f"echo $$ >{_RUNTIME_PID}; "
_TO_PIPES = f"</dev/null >{PIPES}/output 2>&1 3>&1"
_HELD = "read -r _"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(ContainerPlan):
    """How environments of a version are made into containers; the same for all of them."""

    image_id: str
    mounts: tuple[Mapping[str, Any], ...]
    """In the engine's words."""
    memory_watched: bool
    """Somebody sees how much memory the processes use, so that the kernel's limit may allow for what lies in /tmp as well."""
    network: str
    pipes: bool
    """Output goes into named pipes of this machine."""
    podman: bool
    rootless: bool = False
    limits: tuple[Limit, ...] = ()
    """Of every process."""
    platform: str | None = None
    """`linux/arm64`, where it is not the engine's own."""

    @property
    def held(self) -> bool:
        """The container waits, and runtime and extensions are started in it one by one."""
        return bool(self.extensions) and self.shell


def config(plan: Plan, variables: Mapping[str, str], pipes: str | None) -> dict[str, Any]:
    """The body of the engine's call that creates the container; `pipes` is the directory of this machine with its pipes."""
    mounts = [dict(mount) for mount in plan.mounts]
    if pipes is not None:
        mounts.append({"Type": "bind", "Source": pipes, "Target": PIPES, "ReadOnly": True})
    made: dict[str, Any] = {
        "Image": plan.image_id,
        "Env": [f"{name}={value}" for name, value in ({} if plan.held else variables).items()],
        "WorkingDir": plan.working_directory,
        "User": plan.flags.user or USER,
        "Labels": {**plan.flags.labels, **plan.labels},
        "HostConfig": _host_config(plan, mounts),
        "AttachStdout": pipes is None,
        "AttachStderr": pipes is None,
        **_command(plan, variables, pipes is not None),
    }
    if plan.flags.ports:
        made["ExposedPorts"] = {container: {} for _, _, container in map(published, plan.flags.ports)}
    if plan.network != "host":
        # Extensions listen for telemetry on sandbox.localdomain; so the engine writes the name with the container's address.
        # Who is not root may not set the name of a domain, and Podman does not ask for one.
        whole = plan.rootless or plan.podman
        made |= {"Hostname": HOST} if whole else dict(zip(("Hostname", "Domainname"), HOST.split("."), strict=True))
    return made


def processor_limit(memory_mib: int) -> dict[str, int]:
    """Processor time in proportion to memory, for the engine's call that updates a container."""
    return {"cpu_period": _PERIOD_US, "cpu_quota": max(1000, _PERIOD_US * memory_mib // SHARE_MIB)}


def runtime_command(plan: Plan, variables: Iterable[str], pipes: bool) -> list[str]:
    """The runtime in a container that waits."""
    to = _TO_PIPES if pipes else "</dev/null"
    return [SHELL, "-c", f'{_CHECKED}{_BECOME}{_unset(variables)}exec "$@" {to}', "sh", *plan.program]


def extension_command(plan: Plan, name: str, variables: Iterable[str], pipes: bool) -> list[str]:
    """An extension in a container that waits; it sees only `variables` of those that the image has."""
    unset = _unset(variables, plan.image_variables)
    to = f"</dev/null >{PIPES}/extensions 2>&1" if pipes else "</dev/null"
    return [SHELL, "-c", f'{_CHECKED}{unset}exec "$@" {to}', "sh", f"{EXTENSIONS}/{name}"]


def signal_command(signal: str) -> list[str]:
    """Sends a signal to the runtime, and to nobody else in the container."""
    return [SHELL, "-c", f"kill -{signal} $(cat {_RUNTIME_PID})"]


def _unset(variables: Iterable[str], image_variables: Iterable[str] = ()) -> str:
    """Takes away what the engine or the image would add to these variables."""
    names = hidden(variables, image_variables)
    return f"unset {' '.join(names)}; " if names else ""


def _command(plan: Plan, variables: Iterable[str], pipes: bool) -> dict[str, Any]:
    if plan.held:
        # It ends with the gateway, whoever kills that: then nobody has the other end of what it reads from.
        wait = f"{_HELD} <{PIPES}/control" if pipes else _HELD
        command = {"Entrypoint": [SHELL], "Cmd": ["-c", wait]}
        return command if pipes else command | {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    if not plan.shell:
        return {"Entrypoint": list(plan.program), "Cmd": []}
    # The runtime is not the first process, for which the kernel would ignore most signals, its own included. What the first one
    # has to say of how the runtime ended (`Killed`) is not the function's output.
    to = f"{_TO_PIPES} 9>&-" if pipes else "</dev/null 2>&9 9>&-"
    become = f'{_BECOME}{_unset(variables)}exec "$@" {to}'
    script = f"{_CHECKED}exec 9>&2 2>/dev/null; {SHELL} -c '{become}' sh \"$@\"; exit $?"
    return {"Entrypoint": [SHELL], "Cmd": ["-c", script, "sh", *plan.program]}


def _host_config(plan: Plan, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    flags = plan.flags
    limit_mib = plan.memory_mib + (plan.storage_mib if plan.memory_watched else 0)
    made: dict[str, Any] = {
        "AutoRemove": True,
        "Binds": list(flags.binds),
        "Mounts": mounts,
        "NetworkMode": plan.network,
        "Memory": limit_mib << 20,
        "MemorySwap": limit_mib << 20,
        "CpuShares": max(2, 1024 * plan.memory_mib // SHARE_MIB),
        "PidsLimit": PROCESSES,
        "ReadonlyRootfs": True,
        "Tmpfs": _temporary(plan),
        "CapDrop": ["ALL"],
        "CapAdd": list(flags.cap_add),
        "SecurityOpt": ["no-new-privileges"],
        "Ulimits": [dict(limit) for limit in plan.limits],
        "Dns": list(plan.dns),
        "ExtraHosts": list(flags.extra_hosts),
    }
    if not plan.podman:
        made["LogConfig"] = {"Type": "none"}
        made["ExtraHosts"].append(f"{HOST_NAME}:host-gateway")  # Podman knows the name by itself.
    else:
        made["LogConfig"] = {"Type": "k8s-file" if not plan.pipes else "none"}
    if flags.privileged:
        made |= {"Privileged": True, "CapDrop": [], "SecurityOpt": [], "ReadonlyRootfs": False}
    if plan.held and not plan.podman:
        made["Init"] = True  # Takes in what extensions and the runtime leave; the shell that waits does not.
    if flags.ports:
        made["PortBindings"] = {
            container: [{"HostIp": address, "HostPort": port}]
            for address, port, container in map(published, flags.ports)
        }
    return made


def _temporary(plan: Plan) -> dict[str, str]:
    """What can be written to. Podman does not take a number of files."""

    def options(rest: str, files: int) -> str:
        return rest if plan.podman else f"{rest},nr_inodes={files}"

    size = plan.storage_mib
    return {
        "/tmp": options(f"rw,exec,nosuid,nodev,mode=1777,size={size}m", INODES_PER_MIB * size),
        "/dev/shm": "rw,nosuid,nodev,noexec,mode=755,size=64k",  # Not for functions, as on AWS.
        _NOTES: options("rw,nosuid,nodev,noexec,mode=1777,size=64k", 16),
    }
