"""Services, and directories on nodes, whose gateway was killed: known by their services' labels, removed at the next start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import docker

from lambda_runtime.executors.docker.leftovers import KIND, MACHINE, abandoned

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
        if labels.get(MACHINE) != own[MACHINE] or not abandoned(client, labels, own, ended=False):
            continue
        services.append(str(service["ID"]))
        if place := labels.get(PLACE):
            directory, _, name = place.partition(" ")
            places[directory, name] = str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])
    return Leftover(tuple(services), places)
