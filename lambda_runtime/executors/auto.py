"""The executor that picks, for each version, the one that serves it best."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors import executor_names, load_executor
from lambda_runtime.executors.base import (
    Capability,
    PreparedVersion,
    RuntimeExecutor,
    Sandbox,
    SandboxSpec,
    Snapshot,
)
from lambda_runtime.executors.process import ProcessExecutor
from lambda_runtime.types import FunctionVersion

_LOG = logging.getLogger(__name__)

SETTING = "LAMBDA_EXECUTOR_MAPPING"
_RUNTIME = re.compile(r"(python|nodejs|java|ruby|dotnet|go|provided)[\d.]*")


class AutoExecutor:
    """A `RuntimeExecutor` of several: `process` for what this machine has, `docker` for images and for all else.

    A function with a runtime runs as a process when its very interpreter is installed, because that starts in milliseconds. When
    it is not, it runs in AWS's image if an engine can be used, and otherwise with the nearest interpreter, as `process` alone
    would. LAMBDA_EXECUTOR_MAPPING names the executor of a runtime by hand, as JSON: `{"python3.12": "docker"}`; `image` stands
    for container images.

    Without the Docker SDK it is `process`, and says what is missing when an image is needed. On the loop only.
    """

    name = "auto"

    def __init__(self, config: RuntimeConfig) -> None:
        self._process = ProcessExecutor(config)
        self._executors: dict[str, RuntimeExecutor] = {"process": self._process}
        self._why_no_docker = ""
        self._chosen_by_hand = _mapping(config.settings.get(SETTING) or "")
        for name in {"docker", *self._chosen_by_hand.values()} - {"process"}:
            try:
                self._executors[name] = load_executor(name, config)
            except ImportError as error:
                if name != "docker":
                    raise
                self._why_no_docker = str(error)

    async def start(self) -> None:
        """Start all; none of them starts anything that no function asked for."""
        for executor in self._executors.values():
            await executor.start()

    async def stop(self) -> None:
        """Stop all. May be called twice."""
        await asyncio.gather(*(executor.stop() for executor in self._executors.values()))

    def capabilities(self) -> list[Capability]:
        """What each runtime runs with and why, then what the executors enforce."""
        found = {name: executor.capabilities() for name, executor in self._executors.items()}
        by_name = {name: {each.name: each for each in items} for name, items in found.items()}
        runtimes = dict.fromkeys(each.name for items in found.values() for each in items if _RUNTIME.match(each.name))
        lines = [self._chosen("container images", by_name)] + [self._chosen(runtime, by_name) for runtime in runtimes]
        for name, items in found.items():
            lines += [
                Capability(f"{name}: {each.name}", each.available, each.detail)
                for each in items
                if not _RUNTIME.match(each.name)
            ]
        if self._why_no_docker:
            lines.append(Capability("docker: engine", False, self._why_no_docker))
        return lines

    def _chosen(self, what: str, found: Mapping[str, Mapping[str, Capability]]) -> Capability:
        by_hand = self._chosen_by_hand.get("image" if what == "container images" else what)
        if by_hand is not None:
            known = found.get(by_hand, {}).get(what)
            detail = f"{by_hand}, named by {SETTING}" + (f": {known.detail}" if known else "")
            return Capability(what, known is None or known.available, detail)
        engine = found.get("docker", {}).get("engine")
        if what == "container images":
            if engine is None:
                return Capability(what, False, self._why_no_docker)
            return Capability(what, engine.available, f"docker: {engine.detail}")
        own = found["process"].get(what)
        if own is not None and own.available:
            return Capability(what, True, f"process: {own.detail}")
        image = found.get("docker", {}).get(what)
        if what.startswith("provided"):
            return Capability(what, True, "process: brings its own runtime")
        if engine is not None and engine.available:
            return Capability(what, True, f"docker: {image.detail if image else 'by its image'}")
        return Capability(what, False, own.detail if own is not None else "no interpreter and no Docker engine")

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        """That of the executor that prepared the version."""
        return self._of(prepared).runtime_api_host(prepared)

    async def prepare(self, version: FunctionVersion) -> PreparedVersion:
        """Have the version prepared by the executor that serves it best. Raises VersionFailed."""
        by_hand = self._chosen_by_hand.get("image" if version.image_uri is not None else version.runtime or "")
        if by_hand is not None:
            return self._remember(self._executors[by_hand], await self._executors[by_hand].prepare(version))
        docker = self._executors.get("docker")
        if version.image_uri is not None or version.runtime is None:
            if docker is None:
                raise VersionFailed("InvalidRuntime", f"Container images cannot run here: {self._why_no_docker}")
            return self._remember(docker, await docker.prepare(version))
        why_not = await asyncio.to_thread(self._process.why_not, version.runtime)
        if why_not and docker is not None:
            try:
                prepared = await docker.prepare(version)
            except VersionFailed as error:
                if error.code != "InvalidRuntime":
                    raise
                _LOG.info("%s runs as a process, because no container can: %s", version.arn, error)
            else:
                _LOG.info("%s runs in a container: %s", version.arn, why_not)
                return self._remember(docker, prepared)
        return self._remember(self._process, await self._process.prepare(version))

    async def release(self, prepared: PreparedVersion) -> None:
        """Give up what was prepared."""
        await self._of(prepared).release(prepared)

    async def start_sandbox(self, prepared: PreparedVersion, spec: SandboxSpec) -> Sandbox:
        """Start an environment where its version was prepared."""
        return await self._of(prepared).start_sandbox(prepared, spec)

    async def start_snapshot(self, prepared: PreparedVersion, spec: SandboxSpec) -> tuple[Sandbox, Snapshot]:
        """Only processes become snapshots; what was prepared by others says why it cannot."""
        return await self._process.start_snapshot(prepared, spec)

    def _remember(self, executor: RuntimeExecutor, prepared: PreparedVersion) -> PreparedVersion:
        prepared.executor = executor.name
        return prepared

    def _of(self, prepared: PreparedVersion) -> RuntimeExecutor:
        return self._executors[prepared.executor]


def _mapping(text: str) -> dict[str, str]:
    """Raises ValueError that names the setting."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise ValueError(f"setting {SETTING}={text!r}: must be a JSON object of runtimes and executors")
    unknown = set(found.values()) - set(executor_names()) | ({"auto"} & set(found.values()))
    if unknown:
        raise ValueError(f"setting {SETTING}={text!r}: no executor is called {', '.join(sorted(unknown))}")
    return found
