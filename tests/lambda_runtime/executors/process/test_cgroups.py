"""Control groups, in a directory that has the files of cgroup v2 and a kernel of this test behind it.

On machines whose control groups are not ours to divide this is as real as it gets: what is held here is what is written where,
and what becomes of the kernel's answers.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors.process import ProcessExecutor
from lambda_runtime.executors.process.cgroups import Cgroup, Cgroups, CgroupUnusable
from lambda_runtime.executors.process.memory import family

FILES = {
    "cgroup.procs": "",
    "cgroup.kill": "",
    "memory.max": "max",
    "memory.swap.max": "max",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
    "pids.max": "max",
    "cpu.weight": "100",
}


class Kernel:
    """A group that was delegated: a directory made in it has the files of a group at once."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.moved: list[int] = []
        self.gone: set[int] = set()
        self.busy = 0
        (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (root / "cgroup.procs").write_text("")
        (root / "cgroup.subtree_control").write_text("")
        mkdir, rmdir, write = Path.mkdir, Path.rmdir, os.write

        def make(path: Path, *arguments: object, **options: object) -> None:
            mkdir(path, *arguments, **options)  # type: ignore[arg-type]
            for name, content in FILES.items() if path.parent == root else ():
                (path / name).write_text(content)

        def remove(path: Path) -> None:
            if path.parent != root:
                return rmdir(path)
            if self.busy > 0:
                self.busy -= 1
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            return shutil.rmtree(path)

        def write_to(descriptor: int, data: bytes) -> int:
            if not Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(root):
                return write(descriptor, data)
            if Path(f"/proc/self/fd/{descriptor}").readlink().name == "cgroup.procs":
                if int(data) in self.gone:
                    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
                self.moved.append(int(data))
            os.ftruncate(descriptor, 0)
            return write(descriptor, data)

        monkeypatch.setattr(Path, "mkdir", make)
        monkeypatch.setattr(Path, "rmdir", remove)
        monkeypatch.setattr(os, "write", write_to)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    with monkeypatch.context() as patch:
        yield Kernel(tmp_path, patch)


@pytest.fixture
def cgroups(kernel: Kernel) -> Cgroups:
    cgroups = Cgroups(kernel.root)
    cgroups.open()
    return cgroups


def content(group: Cgroup, name: str) -> str:
    return (group.path / name).read_text()


def enclose(cgroups: Cgroups, *pids: int, memory_mib: int = 512, storage_mib: int = 1024) -> Cgroup:
    return cgroups.enclose("e1", lambda: pids, memory_mib=memory_mib, storage_mib=storage_mib)


def test_the_controllers_are_passed_on(kernel: Kernel, cgroups: Cgroups) -> None:
    assert (kernel.root / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_an_environment_has_its_bounds_before_its_processes(kernel: Kernel, cgroups: Cgroups) -> None:
    group = enclose(cgroups, 11, 12)
    assert content(group, "memory.max") == str(1536 << 20)
    assert content(group, "memory.swap.max") == "0"
    assert content(group, "pids.max") == "1024"
    assert sorted(kernel.moved) == [11, 12]


@pytest.mark.parametrize(("memory_mib", "weight"), [(128, "7"), (1769, "100"), (10240, "578")])
def test_processor_time_is_in_proportion_to_memory(cgroups: Cgroups, memory_mib: int, weight: str) -> None:
    assert content(enclose(cgroups, 11, memory_mib=memory_mib), "cpu.weight") == weight


def test_what_is_started_meanwhile_is_moved_too(kernel: Kernel, cgroups: Cgroups) -> None:
    seen = iter([[11], [11, 12, 13], [11, 12, 13, 14], [11, 14]])
    cgroups.enclose("e1", lambda: next(seen), memory_mib=128, storage_mib=512)
    assert kernel.moved == [11, 12, 13, 14]


def test_a_process_that_has_ended_is_left_out(kernel: Kernel, cgroups: Cgroups) -> None:
    kernel.gone = {12}
    enclose(cgroups, 11, 12)
    assert kernel.moved == [11]


def test_the_kernel_tells_that_it_ended_a_process(cgroups: Cgroups) -> None:
    group = enclose(cgroups, 11)
    assert not group.ran_out_of_memory()
    (group.path / "memory.events").write_text("low 0\nhigh 0\nmax 41\noom 1\noom_kill 1\n")
    assert group.ran_out_of_memory()


def test_a_group_is_removed_when_the_kernel_lets_it_go(kernel: Kernel, cgroups: Cgroups) -> None:
    group = enclose(cgroups, 11)
    kernel.busy = 3
    group.remove()
    assert not group.path.exists()
    group.remove()
    assert not group.ran_out_of_memory()


def test_a_group_that_cannot_be_removed_is_told(
    kernel: Kernel, cgroups: Cgroups, caplog: pytest.LogCaptureFixture
) -> None:
    group = enclose(cgroups, 11)
    kernel.busy = 1000
    with caplog.at_level(logging.WARNING):
        group.remove()
    assert content(group, "cgroup.kill") == "1"
    assert [record.message for record in caplog.records] == [
        f"The control group {group.path} stays behind: there are still processes in it"
    ]


def test_a_group_that_could_not_be_filled_is_removed(kernel: Kernel, cgroups: Cgroups) -> None:
    def fail() -> list[int]:
        raise OSError("no /proc")

    with pytest.raises(OSError, match="no /proc"):
        cgroups.enclose("e1", fail, memory_mib=128, storage_mib=512)
    assert not list(kernel.root.glob("environment-*"))


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("cgroup.controllers", "cpu pids\n", "may not use the memory controller (it may use: cpu, pids)"),
        ("cgroup.controllers", "", "may not use the memory controller (it may use: none)"),
        ("cgroup.procs", "17\n18\n", "has processes of its own (17, 18): name an empty group"),
    ],
)
def test_a_directory_that_cannot_be_divided_is_refused(kernel: Kernel, file: str, text: str, why: str) -> None:
    (kernel.root / file).write_text(text)
    with pytest.raises(CgroupUnusable) as raised:
        Cgroups(kernel.root).open()
    assert str(raised.value) == f"{kernel.root} {why}"


def test_an_ordinary_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CgroupUnusable, match="is no directory of cgroup v2: No such file or directory"):
        Cgroups(tmp_path).open()


# --- environments


@pytest.fixture
async def enclosing(kernel: Kernel, make_machine: Callable[..., Any]) -> Any:
    """A machine whose environments are put into groups."""
    return await make_machine(cgroup=kernel.root)


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(60):
        while not (found := condition()):
            await asyncio.sleep(0.01)
    return found


async def test_all_processes_of_an_environment_are_put_into_its_group(enclosing: Any, kernel: Kernel) -> None:
    environment = await enclosing.run("def handler(event, context): return event", memory_mib=256)
    assert await environment.invoke(1) == 1
    (path,) = await until(lambda: list(kernel.root.glob("environment-*")))
    environment.sandbox.check_memory()
    await until(lambda: set(kernel.moved) >= set(family(environment.sandbox._root)))
    assert (path / "memory.max").read_text() == str((256 + 512) << 20)
    environment.sandbox.kill()
    await environment.sandbox.exited
    await until(lambda: not path.exists())


async def test_a_runtime_that_the_kernel_ended_is_out_of_memory(enclosing: Any, kernel: Kernel) -> None:
    environment = await enclosing.run("def handler(event, context): return event")
    assert await environment.invoke(1) == 1
    (path,) = await until(lambda: list(kernel.root.glob("environment-*")))
    await until(lambda: environment.sandbox._enclosure._group)
    (path / "memory.events").write_text("oom 1\noom_kill 1\n")
    environment.sandbox.kill()
    async with asyncio.timeout(60):
        assert (await environment.sandbox.exited).out_of_memory


async def test_groups_are_gone_when_the_executor_has_stopped(enclosing: Any, kernel: Kernel) -> None:
    prepared = await enclosing.prepare("def handler(event, context): return event")
    for _ in range(3):
        await enclosing.start(prepared)
    await enclosing.executor.stop()
    assert not list(kernel.root.glob("environment-*"))


async def test_an_environment_runs_without_a_group_that_cannot_be_made(
    enclosing: Any, kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    (kernel.root / "environment-environment-1").mkdir()
    environment = await enclosing.run("def handler(event, context): return event")
    assert await environment.invoke(1) == 1
    await until(lambda: "runs without a control group" in caplog.text)


async def test_a_control_group_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    executor = ProcessExecutor(RuntimeConfig.from_settings({"LAMBDA_CGROUP": str(tmp_path)}))
    with pytest.raises(CgroupUnusable, match=r"setting LAMBDA_CGROUP: .* is no directory of cgroup v2"):
        await executor.start()
    (found,) = [each for each in executor.capabilities() if each.name == "memory limit"]
    assert not found.available
    assert "LAMBDA_CGROUP cannot be used" in found.detail
