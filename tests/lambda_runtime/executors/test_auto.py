"""Which executor serves a version, with executors that only say who they are."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors import auto
from lambda_runtime.executors.auto import AutoExecutor
from lambda_runtime.executors.base import Capability, PreparedVersion
from lambda_runtime.types import FunctionVersion


class Fake:
    def __init__(self, name: str, problem: VersionFailed | None = None) -> None:
        self.name = name
        self.problem = problem
        self.installed = {"python3.11"}

    def why_not(self, runtime: str) -> str:
        return "" if runtime in self.installed else f"{runtime} is not installed"

    async def prepare(self, version: FunctionVersion) -> PreparedVersion:
        if self.problem is not None:
            raise self.problem
        return PreparedVersion(version)

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        return self.name

    def capabilities(self) -> list[Capability]:
        found = [Capability("python3.11", self.name == "process", self.name), Capability("ruby3.3", False, self.name)]
        return [*found, Capability("engine", self.problem is None, "an engine")] if self.name == "docker" else found


def version(runtime: str | None, image_uri: str | None = None) -> FunctionVersion:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f:1"
    return FunctionVersion(
        arn, "000000000000", "us-east-1", "f", "1", "r", runtime, "index.handler", None, image_uri=image_uri
    )


def executor(monkeypatch: pytest.MonkeyPatch, problem: VersionFailed | None = None, **settings: str) -> AutoExecutor:
    monkeypatch.setattr(auto, "ProcessExecutor", lambda config: Fake("process"))
    monkeypatch.setattr(auto, "load_executor", lambda name, config: Fake(name, problem))
    return AutoExecutor(RuntimeConfig(settings=settings))


async def chosen(executor: AutoExecutor, *what: Any) -> str:
    return executor.runtime_api_host(await executor.prepare(version(*what)))


async def test_images_run_in_containers_and_installed_runtimes_as_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    both = executor(monkeypatch)
    assert await chosen(both, None, "image:1") == "docker"
    assert await chosen(both, "python3.11") == "process"
    assert await chosen(both, "ruby3.3") == "docker"


async def test_without_an_engine_the_nearest_interpreter_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = executor(monkeypatch, VersionFailed("InvalidRuntime", "no Docker engine answers"))
    assert await chosen(alone, "ruby3.3") == "process"
    with pytest.raises(VersionFailed, match="no Docker engine"):
        await chosen(alone, None, "image:1")


async def test_a_failure_of_the_function_is_not_tried_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = executor(monkeypatch, VersionFailed("InvalidZipFileException", "no zip"))
    with pytest.raises(VersionFailed, match="no zip"):
        await chosen(broken, "ruby3.3")


async def test_a_setting_names_the_executor_of_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    both = executor(monkeypatch, LAMBDA_EXECUTOR_MAPPING='{"python3.11": "docker"}')
    assert await chosen(both, "python3.11") == "docker"


@pytest.mark.parametrize("text", ["python", '["docker"]', '{"python3.11": "hamsters"}', '{"python3.11": "auto"}'])
def test_a_mapping_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(ValueError, match="LAMBDA_EXECUTOR_MAPPING"):
        executor(monkeypatch, LAMBDA_EXECUTOR_MAPPING=text)


def test_without_the_sdk_processes_run_and_images_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, config: RuntimeConfig) -> Any:
        raise ModuleNotFoundError("No module named 'docker'")

    monkeypatch.setattr(auto, "load_executor", missing)
    found = {each.name: each for each in AutoExecutor(RuntimeConfig()).capabilities()}
    assert not found["container images"].available and "docker" in found["container images"].detail


def test_capabilities_say_which_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {each.name: each.detail for each in executor(monkeypatch).capabilities()}
    assert found["python3.11"].startswith("process: ")
    assert found["ruby3.3"].startswith("docker: ")
    assert found["container images"] == "docker: an engine"
