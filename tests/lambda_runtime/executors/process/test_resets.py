"""What an environment that was reset leaves to the one that takes its place."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.base import Remains, ResettableSandbox

HANDLER = """
import json, os, subprocess
def handler(event, context):
    if event == "write":
        os.makedirs("/tmp/deep/er", exist_ok=True)
        with open("/tmp/deep/er/file", "a") as file:
            file.write("x")
        os.symlink("/etc/passwd", "/tmp/link")
        subprocess.Popen(["sleep", "1000"])
    if event == "exit":
        os._exit(3)
    found = sorted(os.path.join(each, name) for each, _, names in os.walk("/tmp") for name in names)
    writable = all(os.access(each, os.W_OK) for each in found if not os.path.islink(each))
    processes = sum(name.isdigit() for name in os.listdir("/proc"))
    return [found, writable, processes, os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize >> 20]
"""
FILES = ["/tmp/deep/er/file", "/tmp/link"]
NOTHING = [[], True, 2, 512]
"""Process 1 and the function's own."""


def remains(sandbox: object) -> Remains:
    assert isinstance(sandbox, ResettableSandbox)
    found = sandbox.keep()
    assert found is not None
    return found


async def successor(machine: Any, prepared: Any, left: Remains | None) -> Any:
    spec, api, output = await machine.make_spec(prepared)
    spec.remains = left
    sandbox = await machine.executor.start_sandbox(prepared, spec)
    return type(machine.first)(sandbox, api, output)


@pytest.fixture
async def running(isolated: Any) -> Any:
    """The machine of isolated environments, with one that has written to its /tmp: `first`, of the version `prepared`."""
    isolated.prepared = await isolated.prepare(HANDLER)
    isolated.first = await isolated.start(isolated.prepared)
    await isolated.first.invoke("write")
    return isolated


def zygote_descriptors(machine: Any) -> list[str]:
    """Mount namespaces that the zygote holds open."""
    pid = machine.executor._servers.launched(machine.prepared.interpreter)._process.pid
    found = []
    for entry in [entry for each in (pid, *children(pid)) for entry in Path(f"/proc/{each}/fd").iterdir()]:
        with contextlib.suppress(FileNotFoundError):  # It was closed while we looked.
            found.append(str(entry.readlink()))
    return [target for target in found if target.startswith("mnt:")]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_the_tmp_of_one_that_is_killed_goes_to_its_successor(running: Any) -> None:
    left = remains(running.first.sandbox)
    running.first.sandbox.kill()
    second = await successor(running, running.prepared, left)
    assert running.first.sandbox.exited.done()
    assert await second.invoke() == [FILES, True, 2, 512]
    assert zygote_descriptors(running) == []


async def test_the_tmp_of_one_that_ends_by_itself_goes_to_its_successor(running: Any) -> None:
    running.first.api.give("exit")
    status = await asyncio.wait_for(running.first.sandbox.exited, 60)
    assert status.code == 3
    second = await successor(running, running.prepared, remains(running.first.sandbox))
    assert await second.invoke() == [FILES, True, 2, 512]


async def test_a_successor_may_have_a_successor(running: Any) -> None:
    environment = running.first
    for _ in range(3):
        left = remains(environment.sandbox)
        environment.sandbox.kill()
        environment = await successor(running, running.prepared, left)
        assert await environment.invoke() == [FILES, True, 2, 512]
    assert await environment.invoke() == [FILES, True, 2, 512]
    assert environment.sandbox.host_id == running.first.sandbox.host_id


async def test_one_that_is_killed_before_it_is_set_up_leaves_nothing(running: Any) -> None:
    for _ in range(20):
        environment = await running.start(running.prepared)
        left = remains(environment.sandbox)
        environment.sandbox.kill()
        assert await (await successor(running, running.prepared, left)).invoke() == NOTHING


async def test_nobody_else_gets_it_and_only_one_may_have_it(running: Any) -> None:
    left = remains(running.first.sandbox)
    other = await running.start(running.prepared)
    assert await other.invoke() == NOTHING
    running.first.sandbox.kill()
    second, third = await asyncio.gather(*(successor(running, running.prepared, left) for _ in range(2)))
    assert sorted([await second.invoke(), await third.invoke()]) == [NOTHING, [FILES, True, 2, 512]]


async def test_what_nobody_wants_is_forgotten(running: Any) -> None:
    left = remains(running.first.sandbox)
    running.first.sandbox.kill()
    await asyncio.wait_for(running.first.sandbox.exited, 60)
    assert len(zygote_descriptors(running)) == 1
    left.drop()
    left.drop()
    assert await (await successor(running, running.prepared, left)).invoke() == NOTHING
    assert zygote_descriptors(running) == []


async def test_what_is_dropped_before_the_end_is_forgotten_at_the_end(running: Any) -> None:
    remains(running.first.sandbox).drop()
    running.first.sandbox.kill()
    await asyncio.wait_for(running.first.sandbox.exited, 60)
    # Requests are carried out in order: with the answer to this one, the zygote has forgotten the first.
    assert await (await running.start(running.prepared)).invoke() == NOTHING
    assert zygote_descriptors(running) == []


async def test_one_that_just_ends_leaves_nothing(running: Any) -> None:
    running.first.sandbox.kill()
    await asyncio.wait_for(running.first.sandbox.exited, 60)
    assert zygote_descriptors(running) == []
    crashed = await running.start(running.prepared)
    crashed.api.give("exit")
    await asyncio.wait_for(crashed.sandbox.exited, 60)
    crashed.sandbox.kill()
    assert await (await running.start(running.prepared)).invoke() == NOTHING
    assert zygote_descriptors(running) == []


async def test_a_cancelled_successor_leaves_it_to_the_next(running: Any) -> None:
    left = remains(running.first.sandbox)
    spec, _, _ = await running.make_spec(running.prepared)
    spec.remains = left
    waiting = asyncio.ensure_future(running.executor.start_sandbox(running.prepared, spec))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    running.first.sandbox.kill()
    assert await (await successor(running, running.prepared, left)).invoke() == [FILES, True, 2, 512]


async def test_plain_environments_leave_nothing(make_machine: Any) -> None:
    environment = await (await make_machine(isolation="none")).run(HANDLER)
    assert environment.sandbox.keep() is None
