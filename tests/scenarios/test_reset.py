"""A reset, or a load, as a host calls it: nothing of what was before is left, and work goes on."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.api import LambdaError
from lambda_provider.context import RequestContext
from lambda_provider.host import HostBase
from lambda_provider.hosts.assembly import Assembly, assemble

from . import machine

pytestmark = pytest.mark.scenario

ACCOUNT, REGION = "000000000000", "us-east-1"
CODE = """
import os, time
def handler(event, context):
    if event == "fail":
        raise ValueError
    open("/tmp/mine", "w").write("x")
    time.sleep(event or 0)
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""


class Emulator:
    """What a host has around us, called as a host calls it: operations and hooks in threads, invokes on the loop."""

    def __init__(self, assembly: Assembly, zip_of: Any) -> None:
        self.assembly = assembly
        self.provider, self.runtime = assembly.provider, assembly.runtime
        self.code = zip_of({"index.py": CODE})

    async def call(self, operation: str, **request: Any) -> Any:
        return await asyncio.to_thread(getattr(self.provider, operation), context(), request)

    async def create(self, name: str, **members: Any) -> None:
        fine = {"Runtime": "python3.12", "Handler": "index.handler", "Role": "arn:aws:iam::000000000000:role/r"}
        await self.call(
            "create_function", FunctionName=name, Code={"ZipFile": self.code}, Timeout=60, **(fine | members)
        )

    async def invoke(self, name: str, payload: bytes = b"0", **members: Any) -> bytes:
        request = {"FunctionName": name, "Payload": payload, **members}
        return bytes((await self.provider.invoke(context(), request))["Payload"])  # type: ignore[arg-type,typeddict-item]

    async def hook(self, name: str) -> None:
        await asyncio.to_thread(getattr(self.provider, name))

    async def reset(self) -> None:
        await self.hook("on_before_state_reset")
        await self.hook("on_after_state_reset")


def context() -> RequestContext:
    return RequestContext(ACCOUNT, REGION, "6c2c1c65-7d4e-4f5d-9d2e-0b8ba9c1a001", "Test")


@pytest.fixture
async def emulator(tmp_path: Path, zip_of: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    host = HostBase({"LAMBDA_SETTLE_MS": "10"})
    assembly = assemble(host, state_dir=tmp_path / "state")
    await assembly.start()
    yield Emulator(assembly, zip_of)
    await assembly.stop()
    assert machine.files(tmp_path / "tmp") == set()


async def busy(emulator: Emulator) -> asyncio.Task[bytes]:
    """Something of everything that runs, waits, or has a timer; the answer is an invoke that is under way."""
    await emulator.create("busy", Publish=True)
    await emulator.call("get_function", FunctionName="busy", Qualifier="1")
    assert await emulator.invoke("busy") == b'"on-demand"'
    under_way = asyncio.create_task(emulator.invoke("busy", b"60"))
    await emulator.call("create_alias", FunctionName="busy", Name="live", FunctionVersion="1")
    await emulator.call(
        "put_provisioned_concurrency_config", FunctionName="busy", Qualifier="live", ProvisionedConcurrentExecutions=2
    )
    async with asyncio.timeout(machine.PATIENCE_S):
        request = {"FunctionName": "busy", "Qualifier": "live"}
        while (await emulator.call("get_provisioned_concurrency_config", **request))["Status"] != "READY":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await emulator.invoke("busy", Qualifier="live") == b'"provisioned-concurrency"'
    await emulator.call("put_function_concurrency", FunctionName="busy", ReservedConcurrentExecutions=7)
    await emulator.call("create_function_url_config", FunctionName="busy", AuthType="NONE")
    # One that runs, and one that waits for its next attempt. The other way round they might have one environment.
    for payload in (b"60", b'"fail"'):
        await emulator.invoke("busy", payload, InvocationType="Event")
    await emulator.create("drained")
    await emulator.call("get_function", FunctionName="drained")
    await emulator.invoke("drained", b"60", InvocationType="Event")
    async with asyncio.timeout(machine.PATIENCE_S):
        while emulator.runtime.environment_count() < 6:  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.01)
    await emulator.call("delete_function", FunctionName="drained")
    await emulator.create("just-created")
    return under_way


def timers() -> list[str]:
    """Timers of the loop that are still to come. The loop does not tell otherwise."""
    return [str(each) for each in asyncio.get_running_loop()._scheduled if not each.cancelled()]  # type: ignore[attr-defined]


def remains(tmp_path: Path) -> dict[str, Any]:
    own = os.getpid()
    # asyncio loses a connection that it accepts in the moment in which its listener is closed; the collector closes it.
    gc.collect()
    return {
        "processes": len(machine.descendants(own)),
        "tasks": len(asyncio.all_tasks()),
        "timers": timers(),
        "listeners": machine.listeners(own),
        "descriptors": machine.descriptors(own),
        "mounts": machine.mounts(),
        "temporary files": machine.files(tmp_path / "tmp"),
        "state": {name for name in machine.files(tmp_path / "state") if not name.startswith("state.sqlite3")},
    }


async def settled(tmp_path: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """What remains, once it is as expected: what was told to end may take a moment."""
    deadline = asyncio.get_running_loop().time() + machine.PATIENCE_S
    while (found := remains(tmp_path)) != expected and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return found


async def at_rest(tmp_path: Path) -> dict[str, Any]:
    """What remains once there is no timer, and nothing has changed for a second."""
    loop = asyncio.get_running_loop()
    found, since = remains(tmp_path), loop.time()
    deadline = since + machine.PATIENCE_S
    while found["timers"] or loop.time() < since + 1:
        assert loop.time() < deadline, found
        await asyncio.sleep(0.05)
        if (now := remains(tmp_path)) != found:
            found, since = now, loop.time()
    return found


@pytest.mark.parametrize("then", ["reset", "load"])
async def test_nothing_is_left_behind(emulator: Emulator, tmp_path: Path, then: str) -> None:
    # The interpreter that functions are forked from stays, and so do threads.
    await emulator.create("first")
    await emulator.invoke("first")
    await emulator.reset()
    before = await at_rest(tmp_path)
    for _ in range(2):
        under_way = await busy(emulator)
        runtime, provider = emulator.runtime, emulator.provider
        assert runtime.concurrency.in_use(ACCOUNT, REGION) > 2
        if then == "reset":
            await emulator.reset()
        else:
            await emulator.hook("on_before_state_load")
            for path in (tmp_path / "state").rglob("*"):
                if path.is_file():
                    path.unlink()
            await emulator.hook("on_after_state_load")
        assert runtime.environment_count() == 0
        assert len(runtime.events) == 0
        assert runtime.concurrency.in_use(ACCOUNT, REGION) == 0
        assert runtime.concurrency.unreserved(ACCOUNT, REGION)[1] == 0, "nothing is reserved or provisioned"
        assert provider.transitions._transitions == provider.transitions._latest_preparation == {}
        assert provider.store.is_empty
        assert provider.store._urls == {}
        with pytest.raises(LambdaError):
            await asyncio.wait_for(under_way, machine.PATIENCE_S)
        assert await settled(tmp_path, before) == before
    await emulator.create("busy")
    assert await emulator.invoke("busy") == b'"on-demand"'


async def test_a_load_on_the_loop_itself_ends_what_was_before_what_comes(emulator: Emulator, tmp_path: Path) -> None:
    """A host may call the hooks where it must not block."""
    under_way = await busy(emulator)
    emulator.provider.on_before_state_reset()
    emulator.provider.on_after_state_reset()
    await emulator.create("busy")
    assert await emulator.invoke("busy") == b'"on-demand"'
    assert emulator.runtime.environment_count() == 1
    with pytest.raises(LambdaError):
        await asyncio.wait_for(under_way, machine.PATIENCE_S)
