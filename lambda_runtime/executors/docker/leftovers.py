"""Containers and volumes whose gateway was killed: known by their labels, removed at the next start.

Every container names its owner: the lock file that a gateway holds while it lives (`lambda_runtime.scratch`), where that lock can
be looked at, and the container that the gateway runs in, if it does. What belongs to a gateway that may be alive is left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import docker
import docker.errors
import requests.exceptions

from lambda_runtime.executors.docker.reach import machine

_LOG = logging.getLogger(__name__)

_GONE_LIMIT_S = 10

KIND = "lambda-provider.environment"
OWNER = "lambda-provider.owner"
MACHINE = "lambda-provider.machine"
GATEWAY = "lambda-provider.gateway-container"
FUNCTION = "lambda-provider.function"


def owner_labels(scratch: Path, own_container: str) -> dict[str, str]:
    """The labels of everything that the gateway with this scratch directory makes."""
    return {KIND: "", OWNER: str(scratch), MACHINE: machine(), GATEWAY: own_container}


def remove_leftovers(client: docker.APIClient, own: Mapping[str, str]) -> int:
    """Remove what gateways left that do not live any more; how many. Blocking. Raises the SDK's errors."""
    removed = 0
    for container in client.containers(all=True, filters={"label": KIND}):
        ended = container.get("State") in ("exited", "dead")
        if abandoned(client, container.get("Labels") or {}, own, ended=ended):
            removed += remove_container(client, container["Id"])
    for volume in client.volumes(filters={"label": KIND}).get("Volumes") or ():
        if abandoned(client, volume.get("Labels") or {}, own, ended=False):
            with contextlib.suppress(docker.errors.APIError):
                client.remove_volume(volume["Name"], force=True)
                removed += 1
    if removed:
        _LOG.info("removed %d containers and volumes of gateways that do not live any more", removed)
    return removed


def remove_all(client: docker.APIClient, labels: list[str]) -> None:
    """Remove every container with these labels. Blocking."""
    for container in client.containers(all=True, filters={"label": labels}):
        remove_container(client, container["Id"])


def remove_container(client: docker.APIClient, container_id: str) -> bool:
    """Remove a container, running or not; False if somebody else does. It is gone when this returns."""
    killed = False
    with contextlib.suppress(docker.errors.APIError):  # It does not run.
        client.kill(container_id)  # Podman would ask it to end before, and wait for ten seconds.
        killed = True
    try:
        client.remove_container(container_id, force=True, v=True)
    except docker.errors.APIError as error:
        if error.status_code == 404:
            return killed
        if error.status_code != 409:
            raise
        # The engine is at it already.
        with contextlib.suppress(docker.errors.APIError, requests.exceptions.RequestException):
            client.wait(container_id, timeout=_GONE_LIMIT_S, condition="removed")
        return killed
    return True


def abandoned(client: docker.APIClient, labels: Mapping[str, str], own: Mapping[str, str], *, ended: bool) -> bool:
    """Whether the gateway with these labels has ended, as far as it can be known from here; `ended` is what it made.

    Blocking. Raises the SDK's errors.
    """
    if labels.get(OWNER) == own[OWNER] and labels.get(MACHINE) == own[MACHINE]:
        return False
    if gateway := labels.get(GATEWAY):
        if gateway == own[GATEWAY]:
            # Of this very container: of a gateway beside us, or of the one before the container was started again.
            return not _lives(Path(labels.get(OWNER, "")))
        return not _runs(client, gateway)
    if labels.get(MACHINE) == own[MACHINE]:
        return not _lives(Path(labels.get(OWNER, "")))
    # Of another machine, or of this one before it was started again: only what has ended is nobody's any more.
    return ended


def _runs(client: docker.APIClient, container_id: str) -> bool:
    try:
        return bool(client.inspect_container(container_id)["State"].get("Running"))
    except docker.errors.NotFound:
        return False


def _lives(scratch: Path) -> bool:
    """Whether somebody holds the lock of this directory."""
    try:
        lock = os.open(scratch / ".lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # Another user's.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
