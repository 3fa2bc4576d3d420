"""Which image a version runs in, and how it gets here."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from typing import Any

import docker

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.image import Image, architecture_of
from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker.client import EngineInfo
from lambda_runtime.executors.docker.engine import Engine
from lambda_runtime.types import FunctionVersion

_LOG = logging.getLogger(__name__)

_ECR = re.compile(r"^\d{12}\.dkr[.-]ecr[.-][^/]+/(?P<name>.+)$")
_PROGRESS_S = 2.0


class Images:
    """Finds and pulls images; one that several wait for is pulled once. On the loop only."""

    def __init__(self, engine: Engine, settings: ContainerSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._pulls: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def find(self, version: FunctionVersion, info: EngineInfo) -> Image:
        """The image of a version, pulled if it is not there.

        Raises VersionFailed: InvalidRuntime for a runtime that has no image, and for a container image ImageAccessDenied, or
        InvalidImage (not there, of another architecture), each with what the engine said.
        """
        architecture = architecture_of(version.architecture)
        names = self._names(version, native=architecture == info.architecture)
        wrong: Image | None = None
        for name in names:
            image = await self._local(name)
            if image is not None and image.architecture in (architecture, ""):
                return image
            wrong = wrong or image
        # A tag without a registry that is here was built here: what a registry has under that name is something else.
        if wrong is None or "/" in names[0]:
            try:
                await self._pull_once(names[0], architecture)
            except EngineUnavailable:
                raise
            except EngineError as error:
                if wrong is None:
                    raise _failure(version, version.image_uri or names[0], str(error)) from error
            else:
                image = await self._local(names[0])
                if image is not None and image.architecture in (architecture, ""):
                    return image
                wrong = image or wrong
        found = f"is for {wrong.architecture}" if wrong is not None else "is not there"
        raise VersionFailed(
            "InvalidImage" if version.image_uri else "InvalidRuntime",
            f"The image {version.image_uri or names[0]} {found}, the function's architecture is {version.architecture}.",
        )

    async def close(self) -> None:
        """Wait for no pull any more; the engine ends them."""
        for task in self._pulls.values():
            task.cancel()
        await asyncio.gather(*self._pulls.values(), return_exceptions=True)

    def _names(self, version: FunctionVersion, *, native: bool) -> list[str]:
        """Names under which the image may be here; the first one is that of the registry."""
        if version.image_uri is None:
            assert version.runtime is not None
            name = self._settings.image_of(version.runtime, version.architecture, native)
            plain = self._settings.image_of(version.runtime, version.architecture, True)
            return list(dict.fromkeys((name, plain, f"{plain}-{version.architecture}")))
        if version.image_address is not None:
            # By its digest: what has the tag by now, here or there, may be another image.
            return [version.image_address]
        names = [version.image_uri]
        if match := _ECR.match(version.image_uri):
            # Of an ECR that nobody can pull from: what was built and tagged for it is here.
            names.append(match["name"])
        return names

    async def _local(self, name: str) -> Image | None:
        try:
            found = await self._engine.call(lambda client: client.inspect_image(name))
        except EngineUnavailable:
            raise
        except EngineError:
            return None
        return _read(name, found)

    async def _pull_once(self, name: str, architecture: str) -> None:
        if self._settings.pull == "never":
            raise EngineError("it is not on this machine, and LAMBDA_DOCKER_PULL is `never`")
        key = (name, architecture)
        task = self._pulls.get(key)
        if task is None:
            task = self._pulls[key] = asyncio.ensure_future(
                self._engine.call(lambda client: _pull(client, name, f"linux/{architecture}"))
            )
            task.add_done_callback(lambda task: self._pulled(key, task))
        await asyncio.shield(task)

    def _pulled(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._pulls[key]
        if not task.cancelled():
            task.exception()  # Those who wait have it; a cancelled one may have been the only one.


def _read(name: str, found: Mapping[str, Any]) -> Image:
    config = found.get("Config") or {}
    return Image(
        id=str(found["Id"]),
        name=name,
        architecture=str(found.get("Architecture") or ""),
        entry_point=_words(config.get("Entrypoint")),
        command=_words(config.get("Cmd")),
        working_directory=str(config.get("WorkingDir") or ""),
        variables=dict(each.partition("=")[::2] for each in config.get("Env") or ()),
    )


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return ("/bin/sh", "-c", value)
    return tuple(value or ())


def _pull(client: docker.APIClient, name: str, platform: str) -> None:
    """Pull and log how far it is. Blocking. Raises EngineError with the words of the engine or the registry."""
    repository, tag = _split(name)
    _LOG.info("pulling %s for %s", name, platform)
    began = last = time.monotonic()
    progress = _Progress()
    for line in client.pull(repository, tag=tag, platform=platform, stream=True, decode=True):
        if text := line.get("error"):
            raise EngineError(str(text))
        progress.take(line)
        if time.monotonic() - last > _PROGRESS_S:
            last = time.monotonic()
            _LOG.info("pulling %s: %s", name, progress)
    _LOG.info("pulled %s in %.0f s", name, time.monotonic() - began)


class _Progress:
    """How much of an image's layers is here."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    def take(self, line: Mapping[str, Any]) -> None:
        detail = line.get("progressDetail") or {}
        if line.get("status") == "Downloading" and detail.get("total"):
            self._layers[str(line.get("id"))] = (int(detail.get("current", 0)), int(detail["total"]))
        elif line.get("status") in ("Download complete", "Pull complete") and line.get("id") in self._layers:
            total = self._layers[line["id"]][1]
            self._layers[line["id"]] = (total, total)

    def __str__(self) -> str:
        done, total = (sum(each) >> 20 for each in zip(*self._layers.values(), strict=True)) if self._layers else (0, 0)
        return f"{done} of {total} MB"


def _split(name: str) -> tuple[str, str]:
    """Repository, and tag or digest; `latest` when neither is named, because the SDK would pull all tags."""
    repository, found, digest = name.partition("@")
    if found:
        return repository, digest
    head, slash, last = name.rpartition("/")
    base, found, tag = last.partition(":")
    return f"{head}{slash}{base}", tag if found else "latest"


def _failure(version: FunctionVersion, name: str, said: str) -> VersionFailed:
    """The StateReasonCode for what the engine or the registry said (the model's StateReasonCode)."""
    lower = said.lower()
    if "no space left" in lower:
        return VersionFailed("InternalError", f"The image {name} does not fit on the engine's disk: {said}")
    missing = any(part in lower for part in ("not found", "manifest unknown", "does not exist", "no such image"))
    denied = any(part in lower for part in ("denied", "unauthorized", "authentication", "forbidden"))
    if version.image_uri is None:
        return VersionFailed(
            "InvalidRuntime",
            f"Runtime {version.runtime} cannot run here: the image {name} is not on this machine and cannot be pulled ({said}).",
        )
    if "no match for platform" in lower or "no matching manifest" in lower:
        text = f"The image {name} does not exist for the architecture {version.architecture} ({said})."
        return VersionFailed("InvalidImage", text)
    if denied and not missing:
        text = f"Lambda does not have permission to access the ECR image. Check the ECR permissions. ({said})"
        return VersionFailed("ImageAccessDenied", text)
    return VersionFailed("InvalidImage", f"Source image {name} does not exist. Provide a valid source image. ({said})")
