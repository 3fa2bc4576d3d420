"""Environments are never shared between tenants."""

from __future__ import annotations

import asyncio

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.platform_events import InvokeReport, JsonPlatformLog
from lambda_runtime.service import RuntimeService
from lambda_runtime.subscriptions import Event
from lambda_runtime.telemetry import TelemetryPlatformLog

from .fakes import FakeExecutor, RuntimeClient, function_version, invocation, until

ARN = function_version().arn


async def who(client: RuntimeClient) -> None:
    """Answers which environment it is, and for which tenant it was called."""
    while True:
        request_id, headers, _ = await client.next()
        tenant = headers["lambda-runtime-aws-tenant-id"]
        await client.respond(request_id, f"{client.spec.environment_id} {tenant}".encode())


@pytest.fixture
async def executor() -> FakeExecutor:
    return FakeExecutor(who)


@pytest.fixture
def config() -> RuntimeConfig:
    return RuntimeConfig(idle_timeout_s=0.05)


@pytest.fixture
async def service(service: RuntimeService) -> RuntimeService:
    await service.deploy(function_version())
    return service


async def ask(service: RuntimeService, tenant: str) -> tuple[str, str]:
    environment, name = (await service.invoke(invocation(tenant_id=tenant))).payload.decode().split()
    return environment, name


async def test_each_tenant_has_its_own_environment_and_keeps_it(service: RuntimeService) -> None:
    blue, green, blue_again = [await ask(service, tenant) for tenant in ("blue", "green", "blue")]
    assert (blue[1], green[1]) == ("blue", "green")
    assert blue == blue_again
    assert blue[0] != green[0]


async def test_an_idle_environment_of_another_tenant_is_not_used_in_a_burst(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    await ask(service, "green")
    answers = await asyncio.gather(*[ask(service, "blue") for _ in range(4)])
    assert executor.started[0].spec.environment_id not in {environment for environment, _ in answers}


async def test_a_tenant_whose_environments_idled_out_is_forgotten(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    await ask(service, "blue")
    await until(lambda: service.environment_count() == 0)
    assert not service._managers[ARN]._tenants
    assert (await ask(service, "blue"))[1] == "blue"
    assert len(executor.started) == 2


async def test_the_version_is_released_when_the_last_tenant_is_gone(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    await asyncio.gather(ask(service, "blue"), ask(service, "green"))
    await service.retire(ARN)
    await until(lambda: executor.released == ["r1"])
    await until(lambda: not executor.running)


async def test_stop_ends_the_environments_of_all_tenants(service: RuntimeService, executor: FakeExecutor) -> None:
    await asyncio.gather(ask(service, "blue"), ask(service, "green"))
    await service.stop()
    assert not executor.running
    assert service.environment_count() == 0


async def test_telemetry_of_an_invocation_names_its_tenant() -> None:
    platform = TelemetryPlatformLog(JsonPlatformLog(), function_version(), "on-demand", lambda: "127.0.0.1")
    told: list[Event] = []
    platform._tell = told.append
    platform.start(0, "r", "1", None, "blue")
    report = InvokeReport("r", 1.0, 128, 30, tenant_id="blue")
    platform.end(0, report)
    platform.report(0, report)
    records = {event.telemetry[0]: event.telemetry[1] for event in told if event.telemetry}
    assert {kind: record["tenantId"] for kind, record in records.items()} == {
        "platform.start": "blue",
        "platform.runtimeDone": "blue",
        "platform.report": "blue",
    }
