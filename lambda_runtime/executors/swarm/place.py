"""Where the gateway is for the nodes of a cluster."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import docker

from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker import reach
from lambda_runtime.executors.docker.client import EngineInfo


@dataclass(frozen=True, slots=True)
class GatewayPlace:
    """One network of environments and the gateway's place in it."""

    network: str
    """An overlay network; empty for the one that each node has for itself, from which the nodes' own network is reached."""
    listen: str
    address: str
    """What environments connect to."""
    detail: str
    own_container: str = ""


def why_not(client: docker.APIClient, info: EngineInfo) -> str:
    """Why the engine cannot be used for a cluster; empty if it can. Blocking."""
    swarm = client.info().get("Swarm") or {}
    state = swarm.get("LocalNodeState")
    if info.podman or state in (None, "", "inactive"):
        return f"{info.name} at {info.address} is in no Swarm: docker swarm init, or name a manager with DOCKER_HOST"
    if state != "active":
        return (
            f"{info.name} at {info.address}: its Swarm is {state}{': ' + swarm['Error'] if swarm.get('Error') else ''}"
        )
    if not swarm.get("ControlAvailable"):
        return f"{info.name} at {info.address} is no manager of its Swarm: name one with DOCKER_HOST"
    return ""


def find(client: docker.APIClient, info: EngineInfo, settings: ContainerSettings) -> GatewayPlace:
    """Find out how nodes reach us. Blocking. Raises OSError that says what to set, and the SDK's errors."""
    network = settings.network
    if network and client.inspect_network(network).get("Scope") != "swarm":
        raise OSError(
            f"LAMBDA_DOCKER_NETWORK={network} is no network of the cluster: docker network create -d overlay --attachable"
        )
    beside = reach.find(client, info, settings)
    own = beside.own_container
    if settings.host_address:
        listen = settings.host_address if reach.can_bind(settings.host_address) else "0.0.0.0"
        return GatewayPlace(network, listen, settings.host_address, "set by LAMBDA_DOCKER_HOST_ADDRESS", own)
    if own and beside.sees_containers:
        if client.inspect_network(beside.network).get("Scope") == "swarm":
            return GatewayPlace(beside.network, beside.address, beside.address, beside.detail, own)
        raise OSError(
            f"other nodes cannot reach the gateway's container in the network {beside.network}: attach it to an overlay network, "
            "or publish LAMBDA_SWARM_PORT and say where with LAMBDA_DOCKER_HOST_ADDRESS"
        )
    node = str((client.info().get("Swarm") or {}).get("NodeAddr") or "")
    address = _address_towards(node)
    if address is None:
        raise OSError(f"no way from here to the manager's address {node!r}: set LAMBDA_DOCKER_HOST_ADDRESS")
    return GatewayPlace(network, address, address, f"this machine's address in the nodes' network, towards {node}", own)


def _address_towards(target: str) -> str | None:
    """The address from which this machine talks to another. Nothing is sent."""
    with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return None
