"""Services, and directories on nodes, whose gateway was killed: known by their services' labels, removed at the next start."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors

from lambda_runtime.executors.docker.leftovers import GATEWAY, KIND, MACHINE, OWNER

PLACE = "lambda-provider.place"
"""On services that fill nodes: `directory place`, what they filled. They stay as long as that is there, as the record of it."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """What one gateway left."""

    services: tuple[str, ...]
    places: Mapping[tuple[str, str], str]
    """(directory, place) on nodes -> an image that all of them have."""


def find(client: docker.APIClient, own: Mapping[str, str]) -> Leftover:
    """What gateways of this machine left that do not live any more. Blocking. Raises the SDK's errors.

    What a gateway of another machine made cannot be told from what one still uses there, and is left alone.
    """
    services, places = [], {}
    for service in client.services(filters={"label": KIND}):
        labels = service["Spec"].get("Labels") or {}
        if not abandoned(client, labels, own):
            continue
        services.append(str(service["ID"]))
        if place := labels.get(PLACE):
            directory, _, name = place.partition(" ")
            places[directory, name] = str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])
    return Leftover(tuple(services), places)


def abandoned(client: docker.APIClient, labels: Mapping[str, str], own: Mapping[str, str]) -> bool:
    """Whether the gateway that these labels name has ended, as far as it can be known from here."""
    if labels.get(MACHINE) != own[MACHINE] or labels.get(OWNER) == own[OWNER]:
        return False
    if gateway := labels.get(GATEWAY):
        try:
            return not client.inspect_container(gateway)["State"].get("Running")
        except docker.errors.NotFound:
            return True
    try:
        lock = os.open(Path(labels.get(OWNER, "")) / ".lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # Another user's.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
