"""What is inside of an image, and whether containers see this machine's directories: looked at in a container that never runs."""

from __future__ import annotations

import asyncio
import io
import platform
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors

from lambda_runtime.executors.containers.image import Contents
from lambda_runtime.executors.containers.plan import EXTENSIONS, SHELL
from lambda_runtime.executors.docker.client import EngineInfo
from lambda_runtime.executors.docker.engine import Engine

_TOKEN_PLACE = "/var/task"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Sharing:
    """What containers share with this machine."""

    directories: bool
    """A directory of this machine can be mounted: code need not be copied."""
    pipes: bool
    """A named pipe in it, too: the kernel is the same."""
    detail: str


class LookedInto:
    """The contents of an engine's images, each looked at once. On the loop only."""

    def __init__(self, engine: Engine, labels: dict[str, str]) -> None:
        """`labels` are those of the containers that are made for it."""
        self._engine = engine
        self._labels = labels
        self._found: dict[str, asyncio.Task[Contents]] = {}

    async def contents(self, image_id: str) -> Contents:
        """Raises EngineError; then it is tried again by the next one who asks."""
        task = self._found.get(image_id)
        if task is None:
            looking = self._engine.call(lambda client: look_into(client, image_id, self._labels))
            task = self._found[image_id] = asyncio.ensure_future(looking)
            task.add_done_callback(lambda task: self._looked(image_id, task))
        return await asyncio.shield(task)

    def _looked(self, image_id: str, task: asyncio.Task[Contents]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._found[image_id]


def look_into(client: docker.APIClient, image_id: str, label: dict[str, str]) -> Contents:
    """Make a container of an image, look at its files, remove it. Blocking, some 60 ms. Raises the SDK's errors."""
    config = {"Image": image_id, "Cmd": ["-"], "Entrypoint": ["-"], "Labels": label, "NetworkDisabled": True}
    container = client.create_container_from_config(config)["Id"]
    try:
        return Contents(_exists(client, container, SHELL), tuple(sorted(_files(client, container, EXTENSIONS))))
    finally:
        client.remove_container(container, force=True, v=True)


def sharing(
    client: docker.APIClient, info: EngineInfo, image_id: str, directory: Path, label: dict[str, str]
) -> Sharing:
    """Find out whether a container would see a file of this machine's `directory`. Blocking. Nothing is started."""
    place = directory / "shared"
    place.mkdir(exist_ok=True)
    token = secrets.token_bytes(16)
    (place / "token").write_bytes(token)
    mount = {"Type": "bind", "Source": str(place), "Target": _TOKEN_PLACE, "ReadOnly": True}
    config = {
        "Image": image_id,
        "Cmd": ["-"],
        "Entrypoint": ["-"],
        "Labels": label,
        "NetworkDisabled": True,
        "HostConfig": {"Mounts": [mount]},
    }
    try:
        container = client.create_container_from_config(config)["Id"]
    except docker.errors.APIError as error:
        return Sharing(False, False, f"the engine does not see this machine's directories ({error.explanation})")
    try:
        stream, _ = client.get_archive(container, f"{_TOKEN_PLACE}/token")
        seen = _read(stream)
    except docker.errors.APIError:
        seen = {}
    finally:
        client.remove_container(container, force=True, v=True)
    if token not in seen.values():
        return Sharing(False, False, "the engine sees directories of another machine")
    pipes = info.kernel == platform.release() and not info.desktop
    return Sharing(True, pipes, "the engine sees this machine's directories")


def _exists(client: docker.APIClient, container: str, path: str) -> bool:
    try:
        stream, _ = client.get_archive(container, path)
    except docker.errors.NotFound:
        return False
    _close(stream)
    return True


def _files(client: docker.APIClient, container: str, directory: str) -> Iterator[str]:
    try:
        stream, _ = client.get_archive(container, directory)
    except docker.errors.NotFound:
        return
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        for member in archive:
            parts = member.name.strip("/").split("/")
            if len(parts) == 2 and not member.isdir():
                yield parts[1]


def _read(stream: Iterator[bytes]) -> dict[str, bytes]:
    """Small files of an archive, by name."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        for member in archive:
            if member.isfile() and member.size < _MOST_BYTES and (file := archive.extractfile(member)) is not None:
                found[member.name] = file.read()
    return found


def _close(stream: Iterator[bytes]) -> None:
    """Take the rest of an answer, so that its connection can be used again."""
    for _ in stream:
        pass
