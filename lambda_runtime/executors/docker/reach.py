"""How containers reach the gateway: where its listeners are, and under which address containers find them."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import docker.errors

from lambda_runtime.executors.containers.addresses import LOOPBACK
from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker.client import EngineInfo

_LOG = logging.getLogger(__name__)

HOST_NAME = "host.docker.internal"
NOWHERE = "255.255.255.255"
"""To connect there fails at once."""
_ANY = "0.0.0.0"
_UNTRANSLATED = ("macvlan", "ipvlan")
"""Drivers of networks whose containers are seen outside under their own addresses."""
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
    shares_network: bool = False
    """Containers are in the network that the gateway is in, and have no address of their own there."""
    from_this_machine: bool = False
    """Connections come from this machine's own address: who makes them for the containers runs here."""
    sees_processes: bool = True
    """Nothing is known to be in between that hides the processes of containers of this machine: no pid namespace of our own."""


def find(client: docker.APIClient, info: EngineInfo, settings: ContainerSettings, *, join: bool = False) -> Reach:
    """Ask the engine how its containers can reach us. Blocking. Raises the SDK's errors when a network does not exist.

    `join` puts the container that we run in, if it is one of this engine, into the wanted network.
    """
    own = own_container(client)
    found = _find(client, info, settings, own, join)
    if own is None:
        return found
    return replace(found, own_container=str(own["Id"]), sees_processes=own["HostConfig"].get("PidMode") == "host")


def _find(
    client: docker.APIClient, info: EngineInfo, settings: ContainerSettings, own: Mapping[str, Any] | None, join: bool
) -> Reach:
    network = settings.network or _default_network(info)
    if settings.host_address:
        return Reach(network, _ANY, settings.host_address, False, "set by LAMBDA_DOCKER_HOST_ADDRESS")
    if own is not None and (placed := _beside(client, own, settings.network, join)) is not None:
        return placed
    if network == "host" and not info.rootless:
        return Reach("host", LOOPBACK, LOOPBACK, False, "containers share this machine's network", shares_network=True)
    if info.desktop:
        return Reach(network, LOOPBACK, HOST_NAME, False, "Docker Desktop forwards to this machine")
    driver, gateway = _network(client, network)
    if not info.rootless and gateway and can_bind(gateway):
        return Reach(network, gateway, gateway, True, f"the bridge of the network {network}")
    if (address := _outward_address(info.address)) is None:
        return Reach(network, _ANY, HOST_NAME, False, "the engine's name for its machine")
    if info.rootless and urlsplit(info.address).scheme == "unix":
        # Its network is one of its own, from which a process of its user connects to the machine's addresses for containers.
        return Reach(network, address, address, False, "this machine's address", from_this_machine=True)
    return Reach(network, _ANY, address, driver in _UNTRANSLATED, "this machine's address")


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


def in_container() -> bool:
    """Whether this process runs in a container, of whatever engine."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


def own_container(client: docker.APIClient) -> Mapping[str, Any] | None:
    """The container that this process runs in, if it is one of this engine."""
    for candidate in _own_ids() if in_container() else ():
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


def _beside(client: docker.APIClient, own: Mapping[str, Any], wanted: str, join: bool) -> Reach | None:
    """In a network of our own container; None if that is in the machine's network."""
    networks = _networks(client, own)
    wanted = str(client.inspect_network(wanted)["Name"]) if wanted else ""  # It may be an id.
    if wanted not in ("", "host", *networks) and networks and join:
        client.connect_container_to_network(own["Id"], wanted)
        _LOG.info("the gateway's container is in the network %s from now on (LAMBDA_DOCKER_NETWORK)", wanted)
        networks = _networks(client, client.inspect_container(own["Id"]))
    if wanted in networks or not wanted:
        for name in [wanted] if wanted else networks:
            detail = f"the gateway's container in the network {name}"
            return Reach(name, networks[name], networks[name], True, detail)
    elif networks:
        # Of containers in the machine's network, and those of which we only tell (`doctor`).
        address = next(iter(networks.values()))
        return Reach(wanted, address, address, False, "the gateway's container")
    return None


def _networks(client: docker.APIClient, own: Mapping[str, Any]) -> dict[str, str]:
    """The networks of a container in which it has an address, and that."""
    mode = str(own["HostConfig"].get("NetworkMode") or "")
    if mode.startswith("container:"):
        own = client.inspect_container(mode.removeprefix("container:"))
    found = own["NetworkSettings"].get("Networks") or {}
    return {name: str(each["IPAddress"]) for name, each in found.items() if (each or {}).get("IPAddress")}


def _network(client: docker.APIClient, network: str) -> tuple[str, str | None]:
    """The driver of a network, and the address of the engine's machine in it, if it is a bridge."""
    found = client.inspect_network(network)
    driver = str(found.get("Driver") or "")
    for config in (found.get("IPAM") or {}).get("Config") or ():
        if gateway := config.get("Gateway"):
            return driver, str(gateway).partition("/")[0]
    return driver, None


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


def machine() -> str:
    """Equal for processes that see the same files: the boot, and the mount namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/mnt').readlink()}"
    except OSError:
        return os.uname().nodename
