"""How many requests a second, and how many environments in ten seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lambda_runtime.clock import ManualClock
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import Throttled
from lambda_runtime.rates import TokenBucket
from lambda_runtime.service import RuntimeService

from .fakes import FakeExecutor, Gate, function_version, invocation, until

ARN = function_version().arn


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def gate() -> Gate:
    return Gate()


@pytest.fixture
async def make(clock: ManualClock, gate: Gate) -> AsyncIterator:
    services = []

    async def make(gated: bool = False, **settings: int) -> RuntimeService:
        executor = FakeExecutor(gate) if gated else FakeExecutor()
        service = RuntimeService(RuntimeConfig(**settings), executor, clock=clock)
        services.append(service)
        await service.start()
        await service.deploy(function_version())
        return service

    yield make
    gate.open.set()
    for service in services:
        await service.stop()


def reserve(service: RuntimeService, count: int) -> None:
    version = function_version()
    service.concurrency.set_reserved(version.account_id, version.region, version.function_arn, count)


async def refused(service: RuntimeService, **more: str) -> Throttled:
    with pytest.raises(Throttled) as error:
        await service.invoke(invocation(**more))
    return error.value


# The bucket


def test_a_bucket_refills_continuously_and_saves_nothing_up() -> None:
    bucket = TokenBucket(2, 100.0)
    assert [bucket.take(100.0, 1, 2) for _ in range(3)] == [True, True, False]
    assert bucket.wait_s(1) == 1
    assert not bucket.take(100.5, 1, 2)
    assert bucket.take(101.0, 1, 2)
    assert [bucket.take(1000.0, 1, 2) for _ in range(3)] == [True, True, False]


def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing() -> None:
    bucket = TokenBucket(1, 100.0)
    assert bucket.take(50.0, 1, 1)
    assert not bucket.take(50.5, 1, 1)
    assert bucket.take(51.0, 1, 1)


# Requests a second


async def test_each_unit_of_reserved_concurrency_allows_ten_requests_a_second(make, clock) -> None:
    service = await make()
    reserve(service, 2)
    for _ in range(20):
        await service.invoke(invocation())
    assert (await refused(service)).reason == "ReservedFunctionInvocationRateLimitExceeded"
    clock.advance(0.125)  # Two and a half.
    await service.invoke(invocation())
    await service.invoke(invocation())
    error = await refused(service)
    assert error.retry_after_s == pytest.approx(0.025)
    assert service.concurrency.in_use("000000000000", "us-east-1") == 0


async def test_a_function_without_a_reserve_has_ten_requests_for_each_unit_of_the_pool(make, clock) -> None:
    service = await make(concurrency_limit=3)
    other = function_version(arn=ARN.replace(":fn:", ":other:"), function_name="other")
    await service.deploy(other)
    service.concurrency.set_reserved(other.account_id, other.region, other.function_arn, 1)
    for _ in range(20):
        await service.invoke(invocation())
    assert (await refused(service)).reason == "FunctionInvocationRateLimitExceeded"
    await service.invoke(invocation(version_arn=other.arn))


async def test_all_functions_together_have_ten_requests_for_each_unit_of_the_account(make, clock) -> None:
    service = await make(concurrency_limit=1)
    other = function_version(arn=ARN.replace(":fn:", ":other:"), function_name="other")
    await service.deploy(other)
    for number in range(10):
        await service.invoke(invocation(version_arn=(ARN, other.arn)[number % 2]))
    assert (await refused(service)).reason == "CallerRateLimitExceeded"
    clock.advance(1)
    await service.invoke(invocation())


async def test_events_are_bound_by_concurrency_alone(make) -> None:
    service = await make()
    reserve(service, 1)
    for _ in range(30):
        await service.enqueue(invocation())
    await until(lambda: len(service.events) == 0)
    assert (await service.invoke(invocation())).function_error is None


async def test_a_request_that_is_throttled_for_concurrency_does_not_count(make, gate) -> None:
    service = await make(gated=True)
    reserve(service, 1)
    running = asyncio.create_task(service.invoke(invocation()))
    await until(lambda: gate.running == 1)
    reasons = {(await refused(service)).reason for _ in range(50)}
    assert reasons == {"ReservedFunctionConcurrentInvocationLimitExceeded"}
    gate.open.set()
    await running
    await service.invoke(invocation())


async def test_nothing_is_counted_when_the_limit_is_off(make) -> None:
    service = await make(requests_per_concurrency=0)
    reserve(service, 1)
    for _ in range(50):
        await service.invoke(invocation())


# Environments in ten seconds


async def test_a_function_adds_so_many_environments_in_ten_seconds(make, gate, clock) -> None:
    service = await make(gated=True, scaling_rate=5)
    running = [asyncio.create_task(service.invoke(invocation())) for _ in range(8)]
    await until(lambda: gate.running == 5)
    throttled = [each for each in running if each.done()]
    assert {each.exception().reason for each in throttled} == {"ConcurrentInvocationLimitExceeded"}
    assert len(throttled) == 3
    clock.advance(2)  # One more.
    another = asyncio.create_task(service.invoke(invocation()))
    await until(lambda: gate.running == 6)
    assert (await refused(service)).retry_after_s == pytest.approx(2)
    gate.open.set()
    await asyncio.gather(another, *(each for each in running if each not in throttled))
    # What is there is used.
    for _ in range(10):
        await service.invoke(invocation())


async def test_functions_scale_independently(make, gate) -> None:
    service = await make(gated=True, scaling_rate=1)
    other = function_version(arn=ARN.replace(":fn:", ":other:"), function_name="other")
    await service.deploy(other)
    calls = [asyncio.create_task(service.invoke(invocation(version_arn=arn))) for arn in (ARN, other.arn)]
    await until(lambda: gate.running == 2)
    assert (await refused(service)).reason == "ConcurrentInvocationLimitExceeded"
    gate.open.set()
    await asyncio.gather(*calls)


async def test_an_event_waits_for_the_scaling_rate_and_runs(make, gate, clock) -> None:
    service = await make(gated=True, scaling_rate=1)
    await service.enqueue(invocation())
    await service.enqueue(invocation())
    await until(lambda: gate.running == 1 and clock.next_moment() is not None)
    clock.advance(10)
    await until(lambda: gate.running == 2)
    gate.open.set()
    await until(lambda: len(service.events) == 0)


# Environments of tenants


async def test_tenants_have_so_many_environments_for_the_concurrency_of_their_function(make) -> None:
    service = await make(concurrency_limit=4, tenant_environments=500)  # So two for a concurrency of four.
    for tenant in ("blue", "green", "blue"):
        await service.invoke(invocation(tenant_id=tenant))
    assert (await refused(service, tenant_id="red")).reason == "ConcurrentInvocationLimitExceeded"
    assert service.environment_count() == 2
    await service.invoke(invocation(tenant_id="green"))


async def test_environments_of_tenants_that_are_gone_make_room(make) -> None:
    service = await make(concurrency_limit=1, tenant_environments=1000, idle_timeout_s=0.01)
    await service.invoke(invocation(tenant_id="blue"))
    assert (await refused(service, tenant_id="green")).reason == "ConcurrentInvocationLimitExceeded"
    await until(lambda: service.environment_count() == 0)
    await service.invoke(invocation(tenant_id="green"))
    assert service.concurrency.in_use("000000000000", "us-east-1") == 0
