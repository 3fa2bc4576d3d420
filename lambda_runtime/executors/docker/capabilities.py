"""What the docker executor can do and enforce with the engine there is, in words for `doctor`."""

from __future__ import annotations

from collections.abc import Mapping

import docker
import docker.errors

from lambda_runtime.executors.base import Capability
from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.containers.plan import PROCESSES, USER
from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker import reach
from lambda_runtime.executors.docker.client import EngineInfo, open_client
from lambda_runtime.executors.docker.reach import Reach

_NO_GROUPS = "this engine has no control groups for it (a rootless one needs cgroup v2, delegated to its user)"
_RUNTIMES = (
    *(f"python3.{minor}" for minor in range(9, 15)),
    *(f"nodejs{major}.x" for major in (18, 20, 22, 24)),
    *(f"java{version}" for version in ("8.al2", "11", "17", "21", "25")),
    *(f"ruby3.{minor}" for minor in range(2, 5)),
    *(f"dotnet{major}" for major in (8, 10)),
    "provided.al2",
    "provided.al2023",
)


def describe(variables: Mapping[str, str], settings: ContainerSettings) -> list[Capability]:
    """One line a promise. Blocking: asks the engine."""
    try:
        client, info = open_client(variables)
    except EngineError as error:
        return [Capability("engine", False, f"{error}: start one, or say where it is with DOCKER_HOST")]
    try:
        place = reach.find(client, info, settings)
        return [Capability("engine", True, f"{info.name} at {info.address}"), *_promises(info, place)] + [
            _image(client, runtime, settings) for runtime in _RUNTIMES
        ]
    except docker.errors.APIError as error:
        detail = f"{info.name} at {info.address}: {error.explanation}"
        return [Capability("engine", False, detail)]
    finally:
        client.close()


def _promises(info: EngineInfo, place: Reach) -> list[Capability]:
    return [
        Capability("gateway as containers see it", True, f"{place.address} ({place.detail})"),
        Capability("file isolation", True, "a read-only image; /var/task and /opt cannot be written to"),
        Capability(
            "process isolation", True, "a container for each environment, without capabilities or new privileges"
        ),
        Capability("unprivileged user", True, f"sbx_user1051 ({USER})"),
        Capability("Runtime API isolation", place.sees_containers or _sees_sockets(place), _who_is_let_in(place)),
        Capability("ephemeral storage limit", True, "/tmp is a tmpfs of the configured size"),
        _memory(info, place),
        Capability(
            "process limit",
            info.limits_processes,
            f"{PROCESSES} processes and threads" if info.limits_processes else _NO_GROUPS,
        ),
        Capability(
            "processor share",
            info.shares_processors,
            "in proportion to MemorySize; LAMBDA_DOCKER_CPU=limit makes it a bound"
            if info.shares_processors
            else _NO_GROUPS,
        ),
        Capability("frozen when idle", False, "background work goes on between invocations"),
        Capability(
            "network isolation",
            not place.shares_network,
            f"the network {place.network}" if not place.shares_network else "functions share the host's network",
        ),
    ]


def _sees_sockets(place: Reach) -> bool:
    return place.shares_network and place.sees_processes


def _who_is_let_in(place: Reach) -> str:
    if place.sees_containers:
        return "connections are let in by the address of the container"
    if _sees_sockets(place):
        return "connections are let in by the process that made them"
    others = "; other machines are kept out" if place.from_this_machine else ""
    return f"the engine hides the addresses of containers: a function can ask for the events of another one{others}"


def _memory(info: EngineInfo, place: Reach) -> Capability:
    watched = "looked at 50 times a second where the engine runs on this machine" if place.sees_processes else ""
    if not info.limits_memory:
        return Capability("memory limit", bool(watched), f"{_NO_GROUPS}; {watched or 'nobody looks at it'}")
    swap = "" if info.limits_swap else "; this engine cannot limit swap"
    tmp = f"; {watched}, and what lies in /tmp does not count then" if watched else "; what lies in /tmp counts"
    return Capability("memory limit", True, f"by the kernel{swap}{tmp}")


def _image(client: docker.APIClient, runtime: str, settings: ContainerSettings) -> Capability:
    name = settings.image_of(runtime, "", True)
    try:
        found = client.inspect_image(name)
    except docker.errors.ImageNotFound:
        pulled = "is pulled when a function needs it" if settings.pull == "missing" else "LAMBDA_DOCKER_PULL is `never`"
        return Capability(runtime, False, f"{name} is not on this machine: {pulled}")
    return Capability(runtime, True, f"{name} ({found.get('Architecture')})")
