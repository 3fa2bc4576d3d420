"""Versions that come and go, driven through the service with a fake executor."""

from __future__ import annotations

import asyncio

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import EnvironmentNotStarted, ServiceStopped, VersionFailed, VersionNotDeployed
from lambda_runtime.service import RuntimeService

from .fakes import FakeExecutor, Gate, RuntimeClient, function_version, invocation, until


async def test_update_lets_the_old_value_finish_and_releases_it(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    go_on = asyncio.Event()

    async def slow(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        await go_on.wait()
        await client.respond(request_id, b'"old"')
        await client.next()

    executor.scripts = [slow]
    await service.deploy(function_version())
    old = asyncio.create_task(service.invoke(invocation()))
    await until(lambda: bool(executor.started))
    await service.deploy(function_version(revision="r2"))
    assert (await service.invoke(invocation(b'"new"'))).payload == b'"new"'
    assert executor.released == []
    go_on.set()
    assert (await old).payload == b'"old"'
    await executor.started[0].exited
    await until(lambda: executor.released == ["r1"])


async def test_prepared_code_is_released_once(service: RuntimeService, executor: FakeExecutor) -> None:
    await service.deploy(function_version())
    await asyncio.gather(*(service.invoke(invocation()) for _ in range(3)))
    await service.deploy(function_version(revision="r2"))
    await service.retire(function_version().arn)
    await until(lambda: len(executor.released) >= 2)
    await asyncio.gather(*(sandbox.exited for sandbox in executor.started))
    assert sorted(executor.released) == ["r1", "r2"]


async def test_invoke_waits_for_a_deployment_under_way(service: RuntimeService, executor: FakeExecutor) -> None:
    executor.gate = asyncio.Event()
    deployment = asyncio.create_task(service.deploy(function_version()))
    await asyncio.sleep(0)
    result = asyncio.create_task(service.invoke(invocation(b"6")))
    await asyncio.sleep(0)
    executor.gate.set()
    await deployment
    assert (await result).payload == b"6"


async def test_unknown_and_failed_versions_are_told_apart(service: RuntimeService, executor: FakeExecutor) -> None:
    executor.fail_prepare = VersionFailed("InvalidZipFileException", "a damaged archive")
    with pytest.raises(VersionFailed, match="a damaged archive"):
        await service.deploy(function_version())
    with pytest.raises(VersionNotDeployed):
        await service.invoke(invocation())


async def test_missing_runtime_fails_the_invoke_not_the_deployment(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    executor.fail_prepare = VersionFailed("InvalidRuntime", "no such interpreter")
    await service.deploy(function_version())
    with pytest.raises(VersionFailed, match="no such interpreter"):
        await service.invoke(invocation())
    executor.fail_prepare = None
    await service.deploy(function_version(revision="r2"))
    assert (await service.invoke(invocation(b"1"))).payload == b"1"


async def test_what_was_missing_for_a_while_is_tried_again_by_the_next_invoke(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    executor.fail_prepare = VersionFailed("InvalidRuntime", "no engine answers", passing=True)
    await service.deploy(function_version())
    for _ in range(2):
        with pytest.raises(VersionFailed, match="no engine answers"):
            await service.invoke(invocation())
    executor.fail_prepare = None
    answers = await asyncio.gather(*(service.invoke(invocation(b"1")) for _ in range(3)))
    assert [each.payload for each in answers] == [b"1"] * 3


async def test_setting_makes_a_missing_runtime_fail_the_deployment(executor: FakeExecutor) -> None:
    executor.fail_prepare = VersionFailed("InvalidRuntime", "no such interpreter")
    service = RuntimeService(RuntimeConfig(runtime_mismatch="error"), executor)
    await service.start()
    with pytest.raises(VersionFailed, match="no such interpreter"):
        await service.deploy(function_version())
    await service.stop()


async def test_failed_deployment_leaves_the_older_value_in_place(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    await service.deploy(function_version())
    executor.fail_prepare = VersionFailed("InvalidZipFileException", "a damaged archive")
    with pytest.raises(VersionFailed, match="a damaged archive"):
        await service.deploy(function_version(revision="r2"))
    assert (await service.invoke(invocation(b"3"))).payload == b"3"
    assert executor.released == []


async def test_cancelled_deployment_gives_back_what_was_prepared(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    executor.gate = asyncio.Event()
    deployment = asyncio.create_task(service.deploy(function_version()))
    await asyncio.sleep(0)
    deployment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deployment
    with pytest.raises(VersionNotDeployed):
        await service.invoke(invocation())
    executor.gate.set()
    await until(lambda: executor.released == ["r1"])


async def test_stop_does_not_wait_for_a_preparation_that_nobody_wants(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    executor.gate = asyncio.Event()
    deployment = asyncio.create_task(service.deploy(function_version()))
    await asyncio.sleep(0)
    deployment.cancel()
    await asyncio.gather(deployment, return_exceptions=True)
    await service.stop()
    assert executor.released == []
    with pytest.raises(ServiceStopped):
        await service.deploy(function_version())


async def test_reset_waits_for_the_values_that_drain_and_forgets_what_failed(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    gate = executor.script = Gate()
    await service.deploy(function_version())
    call = asyncio.create_task(service.invoke(invocation()))
    await until(lambda: gate.running == 1)
    await service.deploy(function_version(revision="r2"))
    assert service.in_use()["draining_versions"] == 1
    executor.fail_prepare = VersionFailed("InvalidRuntime", "no such interpreter")
    await service.deploy(function_version(arn="arn:other"))
    await service.reset()
    assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], EnvironmentNotStarted)
    assert sorted(executor.released) == ["r1", "r2"]
    assert not any(service.in_use().values())
    with pytest.raises(VersionNotDeployed):
        await service.invoke(invocation(version_arn="arn:other"))
