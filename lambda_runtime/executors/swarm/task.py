"""What is asked of Swarm: an environment as a service of one task, and work that every node does once."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lambda_runtime.executors.containers.plan import (
    PROCESSES,
    SHARE_MIB,
    SHELL,
    USER,
    ContainerPlan,
    ulimits,
)
from lambda_runtime.executors.containers.remote.archive import FILL
from lambda_runtime.executors.containers.remote.shell import script

NODE = "/mnt/node"
"""Where a node's own directory is in the task that fills or cleans it."""
_NANO = 1_000_000_000
_GRACE_NS = 2 * _NANO
"""What AWS gives extensions to end (lambda/latest/dg/lambda-runtime-environment.md)."""
_STORAGE = {"Type": "volume", "Target": "/tmp"}
"""Nameless, so it goes with its task. A tmpfs of Swarm's would have a size, but forbids to run what lies there, which functions
on AWS do; and a volume with options of its own (a tmpfs of a size) is made twice by Swarm, and once of these never removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(ContainerPlan):
    """How environments of a version are made into services; the same for all of them."""

    image: str
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Directories of nodes, by where they are in an environment."""
    limit_processors: bool
    network: str
    constraints: tuple[str, ...]


def environment(
    plan: Plan,
    name: str,
    variables: Mapping[str, str],
    extension_variables: Mapping[str, str],
    token: str,
    gate: tuple[str, str],
    avoided: Sequence[str],
) -> dict[str, Any]:
    """A service of one task that is never started again. `gate` is an address and its name; `avoided` are nodes' ids."""
    flags = plan.flags
    container: dict[str, Any] = {
        "Image": plan.image,
        "Labels": {**flags.labels, **plan.labels},
        "Env": [f"{key}={value}" for key, value in variables.items()],
        "Dir": plan.working_directory,
        "User": flags.user or USER,
        # Extensions listen for telemetry on this name; so it is written with the task's own address.
        "Hostname": "sandbox.localdomain",
        "Hosts": [" ".join(gate), *(_host(each) for each in flags.extra_hosts)],
        "Mounts": [dict(_STORAGE), *(_bind(source, target) for target, source in plan.mounts.items())],
        "Init": True,
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": list(flags.cap_add),
        "Ulimits": ulimits(flags),
        "StopSignal": "SIGTERM" if plan.extensions else "SIGKILL",
        "StopGracePeriod": _GRACE_NS if plan.extensions else 0,
    }
    if plan.dns:
        container["DNSConfig"] = {"Nameservers": list(plan.dns)}
    if plan.shell:
        container |= {
            "Command": [SHELL],
            "Args": ["-c", script(plan, extension_variables, variables), "sh", token],
        }
        container["Args"] += plan.program
    else:
        container |= {"Command": list(plan.program), "Args": []}
    limits = {
        "MemoryBytes": plan.memory_mib << 20,
        "NanoCPUs": max(0 if plan.limit_processors else _NANO, _NANO * plan.memory_mib // SHARE_MIB),
        "Pids": PROCESSES,
    }
    service = _service(name, plan, container, {"Replicated": {"Replicas": 1}}, avoided)
    service["TaskTemplate"]["Resources"] = {"Limits": limits, "Reservations": {"MemoryBytes": plan.memory_mib << 20}}
    return service


def filling(
    plan: Plan, name: str, directory: str, place: str, entries: Sequence[str], gate: tuple[str, str, int]
) -> dict[str, Any]:
    """A task on every node that gets the image, and the entries into `place` below the node's directory."""
    address, host, port = gate
    container = {
        "Image": plan.image,
        "Labels": dict(plan.labels),
        "Env": [f"GATE={host}:{port}", f"PLACE={NODE}/{place}", f"NAMES={' '.join(entries)}"],
        "Hosts": [f"{address} {host}"],
        "Command": [SHELL, "-c", FILL] if entries else [SHELL, "-c", ":"],
    }
    return _everywhere(name, plan, container, directory)


def cleaning(plan: Plan, name: str, directory: str, paths: Sequence[str]) -> dict[str, Any]:
    """A task on every node that removes these paths below the node's directory."""
    command = "rm -rf " + " ".join(shlex.quote(f"{NODE}/{path}") for path in paths)
    container = {"Image": plan.image, "Labels": dict(plan.labels), "Command": [SHELL, "-c", command]}
    return _everywhere(name, plan, container, directory)


def _everywhere(name: str, plan: Plan, container: dict[str, Any], directory: str) -> dict[str, Any]:
    container |= {"User": "0:0", "ReadOnly": True, "CapabilityDrop": ["ALL"], "StopGracePeriod": 0}
    container["Mounts"] = [{"Type": "bind", "Source": directory, "Target": NODE}]
    return _service(name, plan, container, {"Global": {}}, ())


def _service(
    name: str, plan: Plan, container: dict[str, Any], mode: dict[str, Any], avoided: Sequence[str]
) -> dict[str, Any]:
    template: dict[str, Any] = {
        "ContainerSpec": container,
        # A function's environment that ended is another one's beginning, with other secrets: who starts it is the gateway.
        "RestartPolicy": {"Condition": "none", "MaxAttempts": 0},
        "Placement": {"Constraints": [*plan.constraints, *(f"node.id!={node}" for node in avoided)]},
        # The one driver that every node has and whose output the managers can read.
        "LogDriver": {"Name": "json-file", "Options": {"max-size": "20m", "max-file": "2"}},
    }
    if plan.network:
        template["Networks"] = [{"Target": plan.network}]
    return {
        "Name": name,
        "Labels": dict(plan.labels),
        "TaskTemplate": template,
        "Mode": mode,
        # Nobody looks for it by name: no virtual address, and no need of the kernel's IPVS.
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def _bind(source: str, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}


def _host(text: str) -> str:
    """`name:address` of `docker run` as a line of /etc/hosts."""
    name, _, address = text.partition(":")
    return f"{address} {name}"
