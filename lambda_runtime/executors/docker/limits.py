"""Limits of processes that an engine may set: who is not wholly root raises none above his own, and starts nothing instead."""

from __future__ import annotations

import logging
import re
import resource
from collections.abc import Iterable, Mapping
from typing import Any

import docker
import docker.errors

from lambda_runtime.executors.containers.plan import SHELL

_LOG = logging.getLogger(__name__)

# What runc and crun say.
_REFUSED = re.compile(r"setting rlimit type (?P<number>\d+)|(?P<name>RLIMIT_[A-Z]+)")
_END_LIMIT_S = 10
_NAMES = {
    getattr(resource, name): name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
}
_PROCESSES = (16384, 4096, 1024)
"""In place of Podman's own limit for a user, 4,194,304, where it may not set that. The environments of all functions count."""

Limit = Mapping[str, Any]
"""In the engine's words: `Name`, `Soft`, `Hard`."""


def accepted(
    client: docker.APIClient, image_id: str, label: dict[str, str], wanted: Iterable[Limit]
) -> tuple[Limit, ...]:
    """Those limits that the engine sets, found by trying; others of its own are replaced by ones that it may set.

    Blocking: a container that does nothing is run for each try, usually one; some 0.2 s. Nothing is found out with an image that
    has no shell. Raises the SDK's errors.
    """
    limits = {each["Name"]: each for each in wanted}
    processes = list(_PROCESSES)
    while (name := _refused(client, image_id, label, limits.values())) is not None:
        if name == "nproc" and processes:
            limits[name] = {"Name": name, "Soft": processes[0], "Hard": processes.pop(0)}
        elif limits.pop(name, None) is None:
            break  # One of the engine's own, of which we know nothing better; the start of an environment will say it.
        else:
            _LOG.warning("the engine may not set the limit %r of processes: functions have its own", name)
    return tuple(limits.values())


def _refused(client: docker.APIClient, image_id: str, label: dict[str, str], limits: Iterable[Limit]) -> str | None:
    """The name of a limit that the engine may not set; None if it sets all of them."""
    config = {
        "Image": image_id,
        "Cmd": ["-c", ":"],
        "Entrypoint": [SHELL],
        "Labels": label,
        "NetworkDisabled": True,
        "HostConfig": {"Ulimits": list(limits), "NetworkMode": "none"},
    }
    container = client.create_container_from_config(config)["Id"]
    try:
        client.start(container)
        client.wait(container, timeout=_END_LIMIT_S)
    except docker.errors.APIError as error:
        found = _REFUSED.search(str(error.explanation))
        if found is None:
            return None
        name = found["name"] or _NAMES.get(int(found["number"]), "")
        return name.removeprefix("RLIMIT_").lower()
    finally:
        client.remove_container(container, force=True, v=True)
    return None
