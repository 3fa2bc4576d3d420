"""The life of an executor, with an engine of a few lines: what has to be supplied for a real one is in `BoxExecutor`."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.base import Capability, PreparedVersion, SandboxSpec
from lambda_runtime.executors.containers.ends import KILLED
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.executor import ContainerExecutor, Found, PreparedContainers
from lambda_runtime.executors.containers.image import Contents, Image
from lambda_runtime.executors.containers.plan import ContainerPlan
from lambda_runtime.executors.containers.sandbox import ContainerSandbox
from lambda_runtime.types import CodeArchive, FunctionVersion

IMAGE = Image("sha256:1", "app:1", "amd64", ("/entry",), (), "/srv", {"OF_THE_IMAGE": "1"})

Version = Callable[..., FunctionVersion]


class BoxEngine:
    """Remembers what it was asked for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Box(ContainerSandbox):
    """A sandbox that ends when it is killed."""

    def admits(self, peer: tuple[str, int], local: tuple[str, int]) -> bool:
        return True

    def start_runtime(self) -> None: ...

    def drain_output(self) -> None: ...

    def max_memory_mib(self) -> int | None:
        return None

    def work_begins(self) -> None: ...

    def work_ends(self) -> None: ...

    def rests(self) -> None: ...

    def terminate(self) -> None: ...

    def kill_runtime(self) -> None: ...

    def kill(self) -> None:
        self._on_end()
        self._exit(KILLED)


class BoxExecutor(ContainerExecutor[BoxEngine, str, Box]):
    name = "box"

    def __init__(self, config: RuntimeConfig) -> None:
        super().__init__(config)
        self.did: list[str] = []
        self.engines: list[BoxEngine] = []
        self.problems: dict[str, Exception] = {}
        self.current = True
        self.may_connect = asyncio.Event()
        self.may_connect.set()

    def _do(self, what: str) -> None:
        self.did.append(what)
        if what in self.problems:
            raise self.problems[what]

    def capabilities(self) -> list[Capability]:
        return []

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        return "127.0.0.1"

    def _open_engine(self) -> BoxEngine:
        self.engines.append(BoxEngine(len(self.engines) + 1))
        return self.engines[-1]

    async def _connect(self, engine: BoxEngine) -> str:
        await self.may_connect.wait()
        self._do("connect")
        return f"engine {engine.number}"

    async def _is_current(self, engine: BoxEngine, connection: str) -> bool:
        return self.current

    async def _look_at_image(self, connection: str, version: FunctionVersion) -> tuple[Image, Contents]:
        self._do("look")
        return IMAGE, Contents(True, ("of-the-image",))

    async def _make_ready(self, connection: str, version: FunctionVersion, found: Found) -> PreparedContainers[Any]:
        self._do("make ready")
        return PreparedContainers(version, plan=found.plan.extended(ContainerPlan, labels={"at": connection}))

    async def _give_up(self, prepared: PreparedContainers[Any]) -> None:
        self._do("give up")

    async def _start(self, connection: str, prepared: PreparedContainers[Any], spec: SandboxSpec) -> Box:
        self._do("start")
        box = Box(spec, prepared.plan.extensions, lambda: self._sandboxes.discard(box))
        self._sandboxes.add(box)
        return box

    async def _remove_leftovers(self, connection: str) -> None:
        self._do("leftovers")

    async def _leave(self, engine: BoxEngine, connection: str) -> None:
        assert not self._sandboxes and not engine.closed
        self._do("leave")


def directories(path: Path) -> list[str]:
    return [each.name for each in path.iterdir() if each.is_dir()]


@pytest.fixture
async def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BoxExecutor]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    executor = BoxExecutor(RuntimeConfig(settings={"LAMBDA_DOCKER_FLAGS": "-e FLAG=1"}))
    await executor.start()
    yield executor
    await executor.stop()
    assert directories(tmp_path) == []


@pytest.fixture
def code(tmp_path: Path) -> CodeArchive:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as file:
        file.writestr("index.py", "x")
    return CodeArchive(hashlib.sha256((tmp_path / "code.zip").read_bytes()).hexdigest(), tmp_path / "code.zip")


def spec() -> SandboxSpec:
    return SandboxSpec("e", "127.0.0.1:1", {}, lambda data: None)


def unpacked(tmp_path: Path) -> list[str]:
    return [each.name for each in tmp_path.glob("*/cache/code/*")]


async def test_a_prepared_version_has_what_its_image_and_the_settings_say(
    executor: BoxExecutor, version: Version
) -> None:
    prepared = await executor.prepare(version(memory_mib=256, ephemeral_storage_mib=1024))
    assert isinstance(prepared, PreparedContainers)
    plan = prepared.plan
    assert (plan.program, plan.working_directory) == (("/entry", "index.handler"), "/srv")
    assert (plan.memory_mib, plan.storage_mib, plan.labels) == (256, 1024, {"at": "engine 1"})
    assert prepared.variables == {"OF_THE_IMAGE": "1", "FLAG": "1"}
    assert (prepared.extensions, prepared.runtime_version) == (("of-the-image",), "python:3.12.v1")


async def test_what_killed_gateways_left_goes_when_the_engine_answers(executor: BoxExecutor) -> None:
    await executor.stop()
    assert executor.did == ["connect", "leftovers", "leave"]


async def test_a_version_that_cannot_be_made_ready_leaves_no_code(
    executor: BoxExecutor, version: Version, code: CodeArchive, tmp_path: Path
) -> None:
    executor.problems["make ready"] = EngineError("no space left")
    with pytest.raises(VersionFailed, match=r"python3\.12 cannot run here: no space left") as failed:
        await executor.prepare(version(code=code))
    assert (failed.value.code, failed.value.passing) == ("InternalError", False)
    assert unpacked(tmp_path) == []


async def test_a_version_may_run_later_when_no_engine_answers_now(executor: BoxExecutor, version: Version) -> None:
    executor.problems["connect"] = EngineUnavailable("no engine answers")
    executor.current = False
    with pytest.raises(VersionFailed) as failed:
        await executor.prepare(version())
    assert (failed.value.code, failed.value.passing) == ("InvalidRuntime", True)
    executor.problems.clear()
    assert await executor.prepare(version())


async def test_released_code_is_deleted(
    executor: BoxExecutor, version: Version, code: CodeArchive, tmp_path: Path
) -> None:
    prepared = await executor.prepare(version(code=code))
    assert unpacked(tmp_path) == [code.sha256]
    await executor.release(prepared)
    assert (executor.did[-1], unpacked(tmp_path)) == ("give up", [])


async def test_all_who_wait_for_the_engine_look_around_once(executor: BoxExecutor, version: Version) -> None:
    executor.may_connect.clear()
    preparing = [asyncio.ensure_future(executor.prepare(version())) for _ in range(3)]
    await asyncio.sleep(0)
    executor.may_connect.set()
    await asyncio.gather(*preparing)
    assert executor.did.count("connect") == 1


async def test_an_engine_that_has_changed_is_looked_at_again(executor: BoxExecutor, version: Version) -> None:
    prepared = await executor.prepare(version())
    executor.current = False
    await executor.start_sandbox(prepared, spec())
    assert executor.did.count("connect") == 2


async def test_stopping_ends_all_and_leaves_before_the_engine_is_closed(
    executor: BoxExecutor, version: Version
) -> None:
    sandbox = await executor.start_sandbox(await executor.prepare(version()), spec())
    await executor.stop()
    await executor.stop()
    assert sandbox.exited.result() == KILLED
    assert (executor.did[-1], executor.engines[0].closed) == ("leave", True)


async def test_an_engine_that_went_away_does_not_keep_it_from_stopping(executor: BoxExecutor, version: Version) -> None:
    await executor.prepare(version())
    executor.problems["leave"] = EngineUnavailable("gone")
    await executor.stop()
    assert executor.engines[0].closed


async def test_what_starts_while_it_stops_is_ended(executor: BoxExecutor, version: Version) -> None:
    prepared = await executor.prepare(version())
    executor._stopped = True
    sandbox = await executor.start_sandbox(prepared, spec())
    assert sandbox.exited.done()


async def test_without_being_started_it_has_no_engine(executor: BoxExecutor, version: Version) -> None:
    await executor.stop()
    with pytest.raises(VersionFailed, match="the box executor is not running"):
        await executor.prepare(version())


async def test_it_may_be_started_again(executor: BoxExecutor, version: Version, code: CodeArchive) -> None:
    await executor.prepare(version(code=code))
    await executor.stop()
    await executor.start()
    prepared = await executor.prepare(version(code=code))
    assert isinstance(prepared, PreparedContainers)
    assert prepared.plan.labels == {"at": "engine 2"}
    assert len(executor.engines) == 2


async def test_extensions_that_went_with_their_container_are_told_once() -> None:
    told: list[str] = []
    box = Box(
        SandboxSpec("e", "x", {}, lambda data: None, on_extension_exit=lambda name, status: told.append(name)),
        ("b", "a"),
        lambda: None,
    )
    box._extension_ended("b", KILLED)
    box._extensions_killed()
    box._extensions_killed()
    box._extension_ended("unknown", KILLED)
    assert told == ["b", "a"]
