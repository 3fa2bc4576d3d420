"""Where containers find unpacked code: this machine's own directory, or a volume of the engine that got a copy of it once.

Which of the two is found out (`contents.sharing`), never configured: an engine on another machine, or one that was given to a
gateway in a container by its socket, sees other directories than we do.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker

from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.containers.remote import archive
from lambda_runtime.executors.docker.engine import Engine


class CodeStore:
    """Mounts for the entries of a `CodeCache`. On the loop only.

    A volume is filled once, through a container that never runs, and goes with its last user. Those that a killed gateway left
    have its label.
    """

    def __init__(self, engine: Engine, root: Path, labels: Mapping[str, str], owner: str) -> None:
        """`owner` makes the names of volumes this gateway's own."""
        self._engine = engine
        self._root = root
        self._labels = dict(labels)
        self._owner = owner
        self._volumes: dict[str, asyncio.Task[str]] = {}
        self._users: Counter[str] = Counter()
        self._unwanted: set[str] = set()
        """Volumes that containers which just ended may still have."""

    async def mount(self, name: str, target: str, image_id: str, *, shared: bool) -> dict[str, Any]:
        """What the engine has to mount at `target`, read-only; counts a user of an entry that is copied. Raises EngineError."""
        if shared:
            return {"Type": "bind", "Source": str(self._root / name), "Target": target, "ReadOnly": True}
        self._users[name] += 1
        task = self._volumes.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._volumes[name] = asyncio.ensure_future(self._fill(name, image_id))
        try:
            volume = await asyncio.shield(task)
        except BaseException:
            await self.release(name)
            raise
        options = {"NoCopy": True}
        return {"Type": "volume", "Source": volume, "Target": target, "ReadOnly": True, "VolumeOptions": options}

    async def release(self, name: str | None) -> None:
        """One user less of what was copied; the volume goes with the last one."""
        if name is None or name not in self._users:
            return
        self._users[name] -= 1
        if self._users[name] > 0:
            return
        del self._users[name]
        self._give_up(self._volumes.pop(name, None))
        await self._remove_unwanted()

    async def close(self) -> None:
        """Remove all volumes. No container is left that has one."""
        tasks, self._volumes = self._volumes, {}
        self._users.clear()
        for task in tasks.values():
            task.cancel()
            self._give_up(task)
        await self._remove_unwanted()

    def _give_up(self, task: asyncio.Task[str] | None) -> None:
        if task is not None and task.done() and not task.cancelled() and task.exception() is None:
            self._unwanted.add(task.result())

    async def _fill(self, name: str, image_id: str) -> str:
        digest = hashlib.sha256(f"{self._owner} {name}".encode()).hexdigest()[:32]
        volume = f"lambda-code-{digest}"
        await self._engine.call(lambda client: _fill(client, volume, self._root / name, image_id, self._labels))
        return volume

    async def _remove_unwanted(self) -> None:
        for volume in list(self._unwanted):
            # Refused while a container has it, and tried again with the next one; if the engine is gone, its label tells the next
            # start whose it was.
            with contextlib.suppress(EngineError):
                await self._engine.call(functools.partial(_remove, volume))
                self._unwanted.discard(volume)


def _remove(volume: str, client: docker.APIClient) -> None:
    client.remove_volume(volume, force=True)


def _fill(client: docker.APIClient, volume: str, source: Path, image_id: str, labels: dict[str, str]) -> None:
    """Make a volume with what is in a directory. Blocking. Raises the SDK's errors."""
    client.create_volume(volume, labels=labels)
    mount = {"Type": "volume", "Source": volume, "Target": "/var/task"}
    config = {
        "Image": image_id,
        "Cmd": ["-"],
        "Entrypoint": ["-"],
        "Labels": labels,
        "NetworkDisabled": True,
        "HostConfig": {"Mounts": [mount]},
    }
    container = client.create_container_from_config(config)["Id"]
    try:
        with tempfile.TemporaryFile() as file:
            archive.write_tar(source, file)
            file.seek(0, os.SEEK_SET)
            client.put_archive(container, "/var/task", file)
    finally:
        client.remove_container(container, force=True)
