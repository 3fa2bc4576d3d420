"""Provisioned concurrency, driven through the service with a fake executor and real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from lambda_runtime.concurrency import ACCOUNT_LIMIT_EXCEEDED, RESERVED_LIMIT_EXCEEDED
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import Throttled, VersionFailed
from lambda_runtime.provisioned import INIT_FAILURE, INTERNAL_ERROR, Allocation, ProvisionedStatus
from lambda_runtime.service import RuntimeService
from lambda_runtime.types import Invocation

from .fakes import Exit, FakeExecutor, FakeSandbox, Gate, RuntimeClient, echo, function_version, invocation, until

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:fn"
ACCOUNT, REGION = "000000000000", "us-east-1"
CONFIG = f"{FUNCTION}:live"


def version(number: str = "1", **changes: object):
    return function_version(arn=f"{FUNCTION}:{number}", version=number, **changes)


def call(number: str = "1", payload: bytes = b"{}") -> Invocation:
    return invocation(payload, version_arn=f"{FUNCTION}:{number}")


def ready(count: int) -> ProvisionedStatus:
    return ProvisionedStatus(Allocation.READY, count, count)


def types(executor: FakeExecutor) -> list[str]:
    return [sandbox.spec.variables["AWS_LAMBDA_INITIALIZATION_TYPE"] for sandbox in executor.started]


@pytest.fixture
def config() -> RuntimeConfig:
    return RuntimeConfig(provisioning_delay_s=0, concurrency_limit=10)


@pytest.fixture
async def service(service: RuntimeService) -> RuntimeService:
    await service.deploy(version())
    return service


@pytest.fixture
def provision(service: RuntimeService) -> Callable[..., object]:
    """Ask for environments by number of the version, and wait until that is no longer in progress."""

    async def ask(name: str = CONFIG, **numbers: int) -> ProvisionedStatus | None:
        service.set_provisioned(name, {f"{FUNCTION}:{each.lstrip('v')}": count for each, count in numbers.items()})
        await until(lambda: (status := service.provisioned(name)) is None or status.state is not Allocation.IN_PROGRESS)
        return service.provisioned(name)

    return ask


async def test_environments_are_initialised_ahead_and_serve(service, executor, provision) -> None:
    service.set_provisioned(CONFIG, {f"{FUNCTION}:1": 2})
    assert service.provisioned(CONFIG) == ProvisionedStatus(Allocation.IN_PROGRESS, 0, 0)
    assert await provision(v1=2) == ready(2)
    assert types(executor) == ["provisioned-concurrency"] * 2
    for number in range(20):
        assert (await service.invoke(call(payload=b"%d" % number))).payload == b"%d" % number
    assert len(executor.started) == 2


async def test_none_serves_before_all_are_initialised(service, executor, provision) -> None:
    may_initialise = asyncio.Event()

    async def slow_init(client: RuntimeClient) -> None:
        await may_initialise.wait()
        await echo(client)

    executor.scripts = [echo, slow_init]
    service.set_provisioned(CONFIG, {f"{FUNCTION}:1": 2})
    await until(lambda: service.provisioned(CONFIG).allocated == 1)
    assert service.provisioned(CONFIG) == ProvisionedStatus(Allocation.IN_PROGRESS, 1, 0)
    await service.invoke(call())
    assert types(executor)[2:] == ["on-demand"]
    may_initialise.set()
    assert await provision(v1=2) == ready(2)


async def test_more_invocations_than_provisioned_spill_over_to_on_demand(service, executor, provision) -> None:
    gate = executor.script = Gate()
    await provision(v1=1)
    calls = [asyncio.create_task(service.invoke(call())) for _ in range(3)]
    await until(lambda: gate.running == 3)
    assert sorted(types(executor)) == ["on-demand", "on-demand", "provisioned-concurrency"]
    assert service.concurrency.in_use(ACCOUNT, REGION) == 3
    gate.open.set()
    await asyncio.gather(*calls)
    assert service.concurrency.in_use(ACCOUNT, REGION) == 0


async def test_one_that_dies_is_replaced_and_the_next_invocation_waits_for_it(service, executor, provision) -> None:
    async def die(client: RuntimeClient) -> None:
        await client.next()
        raise Exit(1)

    executor.scripts = [die]
    await provision(v1=1)
    assert (await service.invoke(call())).function_error == "Unhandled"
    assert service.provisioned(CONFIG) == ProvisionedStatus(Allocation.READY, 1, 0)
    assert (await service.invoke(call(payload=b"1"))).payload == b"1"
    assert types(executor) == ["provisioned-concurrency"] * 2
    assert service.provisioned(CONFIG) == ready(1)


async def test_one_that_dies_while_it_idles_is_replaced(service, executor, provision) -> None:
    await provision(v1=2)
    executor.started[0].kill()
    await executor.started[0].exited
    await until(lambda: len(executor.started) == 3 and service.provisioned(CONFIG) == ready(2))


async def test_idle_time_ends_no_provisioned_environment(executor) -> None:
    service = RuntimeService(RuntimeConfig(provisioning_delay_s=0, idle_timeout_s=0.01), executor)
    await service.start()
    await service.deploy(version())
    service.set_provisioned(CONFIG, {f"{FUNCTION}:1": 1})
    await until(lambda: service.provisioned(CONFIG) == ready(1))
    gate = executor.script = Gate()
    gate.open.set()
    calls = [service.invoke(call()) for _ in range(2)]
    await asyncio.gather(*calls)
    on_demand: FakeSandbox = executor.started[1]
    await on_demand.exited
    assert service.environment_count() == 1
    assert service.provisioned(CONFIG) == ready(1)
    await service.stop()


async def test_init_failure_fails_the_allocation_and_invokes_run_on_demand(service, executor, provision) -> None:
    async def broken(client: RuntimeClient) -> None:
        raise Exit(1)

    executor.scripts = [broken] * 3
    failed = ProvisionedStatus(Allocation.FAILED, 0, 0, INIT_FAILURE)
    assert await provision(v1=1) == failed
    assert len(executor.started) == 3
    assert (await service.invoke(call(payload=b"1"))).payload == b"1"
    assert types(executor)[3:] == ["on-demand"]
    # Asking again tries again.
    assert await provision(v1=1) == ready(1)


async def test_replacement_that_does_not_initialise_fails_and_its_work_runs_on_demand(
    service, executor, provision
) -> None:
    async def die(client: RuntimeClient) -> None:
        await client.next()
        raise Exit(1)

    async def broken(client: RuntimeClient) -> None:
        raise Exit(2)

    executor.scripts = [die, broken, echo]
    await provision(v1=1)
    await service.invoke(call())
    assert (await service.invoke(call(payload=b"1"))).payload == b"1"
    await until(lambda: service.provisioned(CONFIG) == ready(1))
    assert sorted(types(executor)) == ["on-demand"] + ["provisioned-concurrency"] * 3


async def test_machine_that_cannot_start_environments_fails_the_allocation(service, executor, provision) -> None:
    executor.fail_start = OSError("no processes left")
    assert await provision(v1=1) == ProvisionedStatus(Allocation.FAILED, 0, 0, INTERNAL_ERROR)
    assert service.environment_count() == 0


async def test_version_without_runtime_cannot_be_provisioned(service, executor, provision) -> None:
    executor.fail_prepare = VersionFailed("InvalidRuntime", "no such interpreter")
    await service.deploy(version("2"))
    assert await provision(v2=1) == ProvisionedStatus(Allocation.FAILED, 0, 0, INIT_FAILURE)


async def test_fewer_stop_the_surplus_and_busy_ones_finish(service, executor, provision) -> None:
    gate = executor.script = Gate()
    await provision(v1=3)
    calls = [asyncio.create_task(service.invoke(call())) for _ in range(2)]
    await until(lambda: gate.running == 2)
    assert await provision(v1=1) == ready(1)
    assert service.environment_count() == 2
    gate.open.set()
    await asyncio.gather(*calls)
    await until(lambda: service.environment_count() == 1)
    assert (await service.invoke(call(payload=b"1"))).payload == b"1"
    assert len(executor.started) == 3


async def test_more_keep_the_ones_that_serve(service, executor, provision) -> None:
    await provision(v1=1)
    service.set_provisioned(CONFIG, {f"{FUNCTION}:1": 2})
    assert service.provisioned(CONFIG) == ProvisionedStatus(Allocation.IN_PROGRESS, 1, 1)
    await service.invoke(call())
    assert len(executor.started) == 1
    assert await provision(v1=2) == ready(2)


async def test_end_of_the_request_ends_the_environments(service, executor, provision) -> None:
    await provision(v1=2)
    assert await provision() is None
    await asyncio.gather(*(sandbox.exited for sandbox in executor.started))
    assert service.environment_count() == 0
    await service.invoke(call())
    assert types(executor)[2:] == ["on-demand"]


async def test_request_that_moves_keeps_the_old_version_warm_until_the_new_one_is_ready(
    service, executor, provision
) -> None:
    await service.deploy(version("2"))
    await provision(v1=1)
    service.set_provisioned(CONFIG, {f"{FUNCTION}:2": 1})
    # Recorded: test_lambda_provisioned_concurrency_moves_with_alias, get_provisioned_config_after_alias_move.
    assert service.provisioned(CONFIG) == ProvisionedStatus(Allocation.IN_PROGRESS, 1, 1)
    await service.invoke(call("1"))
    assert len(executor.started) == 1
    assert await provision(v2=1) == ready(1)
    await executor.started[0].exited
    await service.invoke(call("2"))
    assert types(executor) == ["provisioned-concurrency"] * 2
    assert service.environment_count() == 1


async def test_request_over_two_versions_adds_up(service, provision) -> None:
    await service.deploy(version("2"))
    assert await provision(v1=3, v2=1) == ready(4)
    assert service.environment_count() == 4


async def test_version_that_is_deployed_later_or_again_gets_its_environments(service, executor, provision) -> None:
    service.set_provisioned(CONFIG, {f"{FUNCTION}:2": 1})
    assert service.provisioned(CONFIG) == ProvisionedStatus(Allocation.IN_PROGRESS, 0, 0)
    await service.deploy(version("2"))
    assert await provision(v2=1) == ready(1)
    await service.deploy(version("2", revision="r2"))
    await executor.started[0].exited
    assert await provision(v2=1) == ready(1)
    assert len(executor.started) == 2


async def test_retired_version_loses_its_environments_once_they_are_done(service, executor, provision) -> None:
    gate = executor.script = Gate()
    await provision(v1=2)
    running = asyncio.create_task(service.invoke(call(payload=b"1")))
    await until(lambda: gate.running == 1)
    await service.retire(f"{FUNCTION}:1")
    assert service.environment_count() == 1
    gate.open.set()
    assert (await running).payload == b"1"
    await until(lambda: executor.released == ["r1"])
    assert service.environment_count() == 0
    assert service.concurrency.in_use(ACCOUNT, REGION) == 0


async def test_version_that_cannot_be_deployed_cannot_be_provisioned(service, executor, provision) -> None:
    executor.fail_prepare = VersionFailed("InvalidZipFileException", "a damaged archive")
    with pytest.raises(VersionFailed):
        await service.deploy(version("2"))
    assert await provision(v2=1) == ProvisionedStatus(Allocation.FAILED, 0, 0, INIT_FAILURE)
    executor.fail_prepare = None
    await service.deploy(version("2"))
    assert await provision(v2=1) == ready(1)


async def test_events_that_waited_for_a_slot_run_together_when_the_limit_is_raised(service, executor) -> None:
    gate = executor.script = Gate()
    service.concurrency.set_reserved(ACCOUNT, REGION, FUNCTION, 1)
    for _ in range(3):
        await service.enqueue(call())
    await until(lambda: gate.running == 1)
    service.concurrency.set_reserved(ACCOUNT, REGION, FUNCTION, 3)
    await until(lambda: gate.running == 3)
    gate.open.set()


async def test_json_log_tells_how_an_environment_was_initialised(executor) -> None:
    entries: list[str] = []
    service = RuntimeService(
        RuntimeConfig(provisioning_delay_s=0),
        executor,
        log_sink=lambda version, stream, found: entries.extend(message for _, message in found),
    )
    await service.start()
    await service.deploy(version(log_format="JSON"))
    service.set_provisioned(CONFIG, {f"{FUNCTION}:1": 1})
    await until(lambda: service.provisioned(CONFIG) == ready(1))
    await service.stop()
    started = json.loads(entries[0])
    assert (started["type"], started["record"]["initializationType"]) == (
        "platform.initStart",
        "provisioned-concurrency",
    )


async def test_provisioned_concurrency_counts_towards_the_reserve(service, executor, provision) -> None:
    """Recorded: test_reserved_provisioned_overlap: nothing is left for $LATEST."""
    await service.deploy(function_version())
    service.concurrency.set_reserved(ACCOUNT, REGION, FUNCTION, 2)
    await provision(v1=2)
    with pytest.raises(Throttled, match=RESERVED_LIMIT_EXCEEDED):
        await service.invoke(invocation())
    assert (await service.invoke(call(payload=b"1"))).payload == b"1"
    gate = executor.script = Gate()
    service.concurrency.set_reserved(ACCOUNT, REGION, FUNCTION, 3)
    running = asyncio.create_task(service.invoke(invocation(b"2")))
    await until(lambda: gate.running == 1)
    with pytest.raises(Throttled, match=RESERVED_LIMIT_EXCEEDED):
        await service.invoke(invocation())
    gate.open.set()
    assert (await running).payload == b"2"


async def test_invocations_beyond_the_provisioned_ones_respect_the_reserve(service, executor, provision) -> None:
    service.concurrency.set_reserved(ACCOUNT, REGION, FUNCTION, 1)
    gate = executor.script = Gate()
    await provision(v1=1)
    running = asyncio.create_task(service.invoke(call()))
    await until(lambda: gate.running == 1)
    with pytest.raises(Throttled, match=RESERVED_LIMIT_EXCEEDED):
        await service.invoke(call())
    gate.open.set()
    await running


async def test_reserve_holds_for_the_provisioned_ones_while_earlier_ones_run(service, executor, provision) -> None:
    service.concurrency.set_reserved(ACCOUNT, REGION, FUNCTION, 1)
    gate = executor.script = Gate()
    running = asyncio.create_task(service.invoke(call()))
    await until(lambda: gate.running == 1)
    await provision(v1=1)
    with pytest.raises(Throttled, match=RESERVED_LIMIT_EXCEEDED):
        await service.invoke(call())
    gate.open.set()
    await running
    await service.invoke(call())
    assert types(executor) == ["on-demand", "provisioned-concurrency"]


async def test_provisioned_concurrency_without_reserve_is_taken_from_the_accounts_pool(
    service, executor, provision
) -> None:
    other = "arn:aws:lambda:us-east-1:000000000000:function:other"
    await service.deploy(function_version(arn=f"{other}:$LATEST", function_name="other"))
    await provision(v1=9)
    gate = executor.script = Gate()
    call_of_other = invocation(version_arn=f"{other}:$LATEST")
    running = asyncio.create_task(service.invoke(call_of_other))
    await until(lambda: gate.running == 1)
    with pytest.raises(Throttled, match=ACCOUNT_LIMIT_EXCEEDED):
        await service.invoke(call_of_other)
    gate.open.set()
    await asyncio.gather(running, *(service.invoke(call()) for _ in range(9)))
    assert types(executor).count("on-demand") == 1
    await provision(v1=8)
    await asyncio.gather(*(service.invoke(call_of_other) for _ in range(2)))


async def test_init_may_take_longer_than_on_demand(executor) -> None:
    may_initialise = asyncio.Event()

    async def slow(client: RuntimeClient) -> None:
        await may_initialise.wait()
        await echo(client)

    executor.script = slow
    config = RuntimeConfig(provisioning_delay_s=0, init_timeout_s=0.001, provisioned_init_timeout_s=60)
    service = RuntimeService(config, executor)
    await service.start()
    await service.deploy(version())
    service.set_provisioned(CONFIG, {f"{FUNCTION}:1": 1})
    await until(lambda: bool(executor.started))
    deadline = asyncio.get_running_loop().time() + 0.005
    await until(lambda: asyncio.get_running_loop().time() > deadline)
    may_initialise.set()
    await until(lambda: service.provisioned(CONFIG) == ready(1))
    assert len(executor.started) == 1
    await service.stop()


async def test_stop_ends_everything_in_the_middle_of_an_allocation(executor) -> None:
    service = RuntimeService(RuntimeConfig(provisioning_delay_s=0), executor)
    await service.start()
    await service.deploy(version())
    service.set_provisioned(CONFIG, {f"{FUNCTION}:1": 5})
    await until(lambda: bool(executor.started))
    await service.stop()
    assert service.environment_count() == 0
    assert not executor.running
