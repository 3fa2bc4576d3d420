"""What the swarm executor can do and enforce with the cluster there is, in words for `doctor`."""

from __future__ import annotations

from collections.abc import Mapping

import docker
import docker.errors

from lambda_runtime.executors.base import Capability
from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.containers.plan import USER
from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker.client import EngineInfo, open_client
from lambda_runtime.executors.process.host import PROCESS_LIMIT
from lambda_runtime.executors.swarm import place
from lambda_runtime.executors.swarm.cluster import Node, read_node


def describe(variables: Mapping[str, str], settings: ContainerSettings) -> list[Capability]:
    """One line a promise. Blocking: asks the managers."""
    try:
        client, info = open_client(variables)
    except EngineError as error:
        return [Capability("cluster", False, f"{error}: say where a manager is with DOCKER_HOST")]
    try:
        if reason := place.why_not(client, info):
            return [Capability("cluster", False, reason)]
        nodes = [read_node(each) for each in client.nodes()]
        found = place.find(client, info, settings)
        return [
            Capability("cluster", True, _summary(info, nodes)),
            Capability("gateway as the cluster sees it", True, f"{found.address} ({found.detail})"),
            *_promises(settings),
        ]
    except docker.errors.APIError as error:
        return [Capability("cluster", False, f"{info.name} at {info.address}: {error.explanation}")]
    except OSError as error:
        return [Capability("cluster", False, str(error))]
    finally:
        client.close()


def _summary(info: EngineInfo, nodes: list[Node]) -> str:
    ready = [node for node in nodes if node.ready]
    names = ", ".join(f"{node.name} ({node.address}, {node.architecture})" for node in ready)
    rest = [f"{node.name} is {'down' if node.down else 'not ready'}" for node in nodes if not node.ready]
    return f"Swarm of {info.name} at {info.address}: {'; '.join([names, *rest])}"


def _promises(settings: ContainerSettings) -> list[Capability]:
    processors = (
        "a bound in proportion to MemorySize"
        if settings.processors == "limit"
        else ("a bound in proportion to MemorySize, of one processor at least (Swarm has no shares)")
    )
    return [
        Capability("file isolation", True, "a read-only image; /var/task and /opt cannot be written to"),
        Capability("process isolation", True, "a container for each environment, without capabilities"),
        Capability(
            "no new privileges",
            False,
            "Swarm can set it since Docker 25 only; programs with setuid get no capabilities",
        ),
        Capability("unprivileged user", True, f"sbx_user1051 ({USER})"),
        Capability("Runtime API isolation", True, "connections are let in by a secret name of the environment"),
        Capability(
            "ephemeral storage limit",
            False,
            "/tmp is on the node's disk: Swarm limits only what nothing can be run from. It goes with its environment",
        ),
        Capability(
            "memory limit", True, "by the kernel; a node's memory is reserved, so that it is not promised twice"
        ),
        Capability("memory used", False, "Swarm does not tell; reports say 0 MB"),
        Capability("process limit", True, f"{PROCESS_LIMIT['RLIMIT_NPROC'][0]} processes and threads"),
        Capability("processor share", True, processors),
        Capability("frozen when idle", False, "background work goes on between invocations"),
        Capability(
            "runtime held back until extensions registered", False, "it starts beside them; events wait for both"
        ),
    ]
