"""How containers reach the gateway: where its listeners are, and under which address containers find them."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import docker.errors

from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker.engine import EngineInfo

HOST_NAME = "host.docker.internal"
LOOPBACK = "127.0.0.1"
_ANY = "0.0.0.0"
_CONTAINER_ID = re.compile(r"(?:/|-)([0-9a-f]{64})(?:\.scope|/|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reach:
    """One network of containers and the gateway's place in it."""

    network: str
    listen: str
    """Where Runtime API listeners are bound."""
    address: str
    """What containers connect to."""
    sees_containers: bool
    """Connections come from the container's own address, so that each can be told from the others."""
    detail: str
    own_container: str = ""
    """The id of the container that the gateway runs in; empty when it runs in none."""

    @property
    def shares_network(self) -> bool:
        """Containers are in this machine's network."""
        return self.network == "host"


def find(client: docker.APIClient, info: EngineInfo, settings: ContainerSettings) -> Reach:
    """Ask the engine how its containers can reach us. Blocking. Raises the SDK's errors when a network does not exist."""
    own = _own_container(client)
    wanted = settings.network
    if settings.host_address:
        network = wanted or _default_network(info)
        return Reach(network, _ANY, settings.host_address, False, "set by LAMBDA_DOCKER_HOST_ADDRESS", _id(own))
    if own is not None and (placed := _beside(own, wanted)) is not None:
        return placed
    network = wanted or _default_network(info)
    if network == "host":
        return Reach("host", LOOPBACK, LOOPBACK, False, "containers share this machine's network", _id(own))
    if info.desktop:
        return Reach(network, LOOPBACK, HOST_NAME, False, "Docker Desktop forwards to this machine", _id(own))
    if not info.rootless and (gateway := _gateway(client, network)) and can_bind(gateway):
        return Reach(network, gateway, gateway, True, f"the bridge of the network {network}", _id(own))
    if (address := _outward_address(info.address)) is not None:
        seen = not info.rootless
        return Reach(network, _ANY, address, seen, "this machine's address", _id(own))
    return Reach(network, _ANY, HOST_NAME, False, "the engine's name for its machine", _id(own))


def can_bind(address: str) -> bool:
    """Whether this machine has the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _default_network(info: EngineInfo) -> str:
    return "podman" if info.podman else "bridge"


def _id(own: Mapping[str, Any] | None) -> str:
    return str(own["Id"]) if own is not None else ""


def _own_container(client: docker.APIClient) -> Mapping[str, Any] | None:
    """The container that this process runs in, if it is one of this engine."""
    if not (Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()):
        return None
    for candidate in _own_ids():
        try:
            found = client.inspect_container(candidate)
        except docker.errors.APIError:
            continue
        if found["State"].get("Running"):
            return dict(found)
    return None


def _own_ids() -> list[str]:
    found = []
    for name in ("/proc/self/cgroup", "/proc/self/mountinfo"):
        try:
            found += _CONTAINER_ID.findall(Path(name).read_text("utf-8", "replace"))
        except OSError:
            continue
    return list(dict.fromkeys([*found, socket.gethostname()]))


def _beside(own: Mapping[str, Any], wanted: str) -> Reach | None:
    """In the network of our own container; None if that has no network of its own, or not the one that is wanted."""
    networks = own["NetworkSettings"].get("Networks") or {}
    names = [wanted] if wanted else list(networks)
    for name in names:
        address = (networks.get(name) or {}).get("IPAddress")
        if address and name != "host":
            detail = f"the gateway's container in the network {name}"
            return Reach(name, str(address), str(address), True, detail, str(own["Id"]))
    return None


def _gateway(client: docker.APIClient, network: str) -> str | None:
    """The address of the engine's machine in a network, if it is a bridge."""
    found = client.inspect_network(network)
    for config in (found.get("IPAM") or {}).get("Config") or ():
        if gateway := config.get("Gateway"):
            return str(gateway).partition("/")[0]
    return None


def _outward_address(engine: str) -> str | None:
    """The address from which this machine talks to the engine's, or to others. Nothing is sent."""
    parts = urlsplit(engine)
    target = parts.hostname if parts.scheme in ("tcp", "http", "https", "ssh") and parts.hostname else "192.0.2.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))
            address = str(probe.getsockname()[0])
        except OSError:
            return None
    return None if address.startswith("127.") else address


def is_loopback(host: str | None) -> bool:
    """Whether a host of a URL means this machine alone."""
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except OSError:
        return False
    return all(str(each[4][0]).startswith("127.") or each[4][0] == "::1" for each in found)


def machine() -> str:
    """Equal for processes that see the same files: the boot, and the mount namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/mnt').readlink()}"
    except OSError:
        return os.uname().nodename
