"""Versions on managed instances: environments that take several invocations at once, and how many of them there are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import Throttled
from lambda_runtime.managed_instances import Bounds, ManagedInstances
from lambda_runtime.service import RuntimeService

from .fakes import Exit, ExtensionClient, FakeExecutor, RuntimeClient, function_version, invocation, until

ARN = function_version().arn
WORKERS = 3


class Workers:
    """A runtime with workers, each on a connection of its own, and what happens in them."""

    def __init__(self, count: int = WORKERS) -> None:
        self.count = count
        self.open = asyncio.Event()
        self.running: list[str] = []
        self.connections: dict[str, RuntimeClient] = {}

    async def __call__(self, client: RuntimeClient) -> None:
        await asyncio.gather(*(self.work(RuntimeClient(client.spec)) for _ in range(self.count)))

    async def work(self, client: RuntimeClient) -> None:
        await client.connect()
        while True:
            request_id, _, body = await client.next()
            event = json.loads(body)
            self.running.append(client.spec.environment_id)
            self.connections[request_id] = client
            if event == "exit":
                raise Exit(3)
            if event == "lose the worker":
                client.writer.close()
                return
            if event == "stream":
                await client.stream(request_id, [b"one", b"two"])
            elif event == "fail":
                await client.fail(request_id, "ValueError", "no")
            else:
                if event != "at once":
                    await self.open.wait()
                await client.respond(request_id, json.dumps(client.spec.environment_id).encode())
            self.running.remove(client.spec.environment_id)


@pytest.fixture
async def workers() -> Workers:
    return Workers()


@pytest.fixture
async def executor(workers: Workers) -> FakeExecutor:
    return FakeExecutor(workers)


@pytest.fixture
async def make(executor: FakeExecutor, workers: Workers) -> AsyncIterator[Callable[..., Any]]:
    services = []

    async def make(bounds: Bounds | None = None, **changes: Any) -> RuntimeService:
        config = {name: changes.pop(name) for name in ("idle_timeout_s",) if name in changes}
        logs = changes.pop("log_sink", lambda version, stream, entries: None)
        service = RuntimeService(RuntimeConfig(provisioning_delay_s=0.01, **config), executor, log_sink=logs)
        services.append(service)
        await service.start()
        service.set_bounds(ARN, bounds)
        await service.deploy(function_version(max_concurrency=WORKERS, **changes))
        return service

    yield make
    workers.open.set()
    for service in services:
        await service.stop()
        assert not any(service.in_use().values())
    await until(lambda: not executor.running)


def call(number: int, event: Any = None) -> Any:
    return invocation(json.dumps(event).encode(), f"11111111-1111-4111-8111-{number:012}")


def start(service: RuntimeService, count: int, first: int = 0) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(service.invoke(call(number))) for number in range(first, first + count)]


async def test_an_environment_takes_as_many_invocations_as_its_runtime_asks_for(make, executor, workers) -> None:
    service = await make()
    calls = start(service, WORKERS)
    await until(lambda: len(workers.running) == WORKERS)
    assert len(executor.started) == 1
    workers.open.set()
    answers = {(await each).payload for each in calls}
    assert answers == {json.dumps(executor.started[0].spec.environment_id).encode()}


async def test_the_runtime_is_told_how_many_and_that_it_is_on_managed_instances(make, executor, workers) -> None:
    service = await make(Bounds(1))
    await until(lambda: len(executor.started) == 1)
    variables = executor.started[0].spec.variables
    assert variables["AWS_LAMBDA_MAX_CONCURRENCY"] == "3"
    assert variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == "lambda-managed-instances"
    assert service.environment_count() == 1


async def test_more_environments_are_started_when_all_workers_are_busy(make, executor, workers) -> None:
    service = await make()
    calls = start(service, WORKERS + 1)
    await until(lambda: len(workers.running) == WORKERS + 1)
    assert len(executor.started) == 2
    workers.open.set()
    await asyncio.gather(*calls)


async def test_the_maximum_throttles(make, executor, workers) -> None:
    service = await make(Bounds(0, 1))
    calls = start(service, WORKERS)
    await until(lambda: len(workers.running) == WORKERS)
    with pytest.raises(Throttled) as throttled:
        await service.invoke(call(99))
    assert throttled.value.reason == "ConcurrentInvocationLimitExceeded"
    workers.open.set()
    await asyncio.gather(*calls)
    assert (await service.invoke(call(100, "at once"))).function_error is None
    assert len(executor.started) == 1


async def test_the_minimum_is_initialised_before_the_first_invocation_and_kept(make, executor, workers) -> None:
    service = await make(Bounds(2), idle_timeout_s=0.02)
    manager = service._managers[ARN]
    assert isinstance(manager, ManagedInstances)
    await until(lambda: sum(each.free for each in manager._environments) == 2 * WORKERS)
    workers.open.set()
    calls = start(service, 3 * WORKERS)
    await asyncio.gather(*calls)
    await until(lambda: service.environment_count() == 2)
    executor.started[0].kill()
    executor.started[1].kill()
    await until(lambda: service.environment_count() < 2)
    await until(lambda: sum(each.free for each in manager._environments) == 2 * WORKERS)


async def test_other_bounds_hold_at_once(make, executor, workers) -> None:
    service = await make(Bounds(3))
    await until(lambda: service.environment_count() == 3)
    service.set_bounds(ARN, Bounds(1, 1))
    await until(lambda: service.environment_count() == 1)
    service.set_bounds(ARN, Bounds(2, 4))
    await until(lambda: service.environment_count() == 2)
    service.set_bounds(ARN, Bounds(0, 0))
    await until(lambda: service.environment_count() == 0)
    with pytest.raises(Throttled):
        await service.invoke(call(1))


async def test_an_invocation_that_takes_too_long_leaves_the_others_alone(make, executor, workers) -> None:
    service = await make(timeout_s=0.3)
    (slow,) = start(service, 1)
    await until(lambda: len(workers.running) == 1)
    result = await slow
    assert json.loads(result.payload)["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 0.30 seconds" in json.loads(result.payload)["errorMessage"]
    assert (await service.invoke(call(7, "at once"))).function_error is None
    assert len(executor.started) == 1
    # What its worker answers in the end is dropped, and the worker takes work again.
    workers.open.set()
    await until(lambda: not workers.running)
    answers = await asyncio.gather(*start(service, WORKERS, first=20))
    assert all(answer.function_error is None for answer in answers)
    assert len(executor.started) == 1


async def test_a_worker_that_ends_takes_only_its_own_invocation_along(make, executor, workers) -> None:
    service = await make()
    others = start(service, 2)
    await until(lambda: len(workers.running) == 2)
    result = await service.invoke(call(7, "lose the worker"))
    assert json.loads(result.payload)["errorType"] == "Runtime.ExitError"
    workers.open.set()
    assert [answer.function_error for answer in await asyncio.gather(*others)] == [None, None]
    assert len(executor.started) == 1


async def test_the_end_of_the_runtime_ends_all_invocations(make, executor, workers) -> None:
    service = await make(Bounds(1))
    others = start(service, 2)
    await until(lambda: len(workers.running) == 2)
    errors = [
        json.loads((await each).payload) for each in (*others, asyncio.create_task(service.invoke(call(7, "exit"))))
    ]
    assert {error["errorType"] for error in errors} == {"Runtime.ExitError"}
    await until(lambda: len(executor.started) == 2)
    assert (await service.invoke(call(8, "at once"))).function_error is None


async def test_errors_and_streams_are_those_of_their_invocation(make, workers) -> None:
    service = await make()
    failed = await service.invoke(call(1, "fail"))
    assert (failed.function_error, json.loads(failed.payload)["errorType"]) == ("Unhandled", "ValueError")
    assert (await service.invoke(call(2, "stream"))).payload == b"onetwo"
    streaming = call(3, "stream")
    streaming.streaming = True
    answer = await service.invoke(streaming)
    assert b"".join([chunk async for chunk in answer.stream]) == b"onetwo"


async def test_a_failed_init_is_the_answer_and_is_not_repeated_for_ever(make, executor) -> None:
    async def bad_import(client: RuntimeClient) -> None:
        headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"}
        body = b'{"errorType": "Runtime.ImportModuleError"}'
        await client.request("POST", "/2018-06-01/runtime/init/error", body, headers)
        raise Exit(1)

    executor.script = bad_import
    service = await make(Bounds(1))
    await until(lambda: len(executor.started) == 3 and service.environment_count() == 0)
    result = await service.invoke(call(1))
    assert json.loads(result.payload) == {"errorType": "Runtime.ImportModuleError"}
    await until(lambda: service.environment_count() == 0)
    assert len(executor.started) == 4


async def test_platform_lines_are_json_and_tell_whose_they_are(make, workers) -> None:
    lines: list[str] = []
    service = await make(log_sink=lambda version, stream, entries: lines.extend(text for _, text in entries))
    await asyncio.gather(*(service.invoke(call(number, "at once")) for number in range(2)))
    service.deliver_telemetry()
    await until(lambda: sum("platform.report" in line for line in lines) == 2)
    records = [json.loads(line) for line in lines]
    assert records[0]["record"]["initializationType"] == "lambda-managed-instances"
    for number in range(2):
        of_one = [each["type"] for each in records if each["record"].get("requestId", "").endswith(f"{number:012}")]
        assert of_one == ["platform.start", "platform.report"]


async def test_extensions_start_first_and_their_end_ends_the_environment(make, executor, workers) -> None:
    told, die = asyncio.Event(), asyncio.Event()

    async def extension(client: ExtensionClient) -> None:
        await client.register("ext", "SHUTDOWN")
        waiting = asyncio.create_task(client.next_event())
        told.set()
        await die.wait()
        waiting.cancel()
        raise Exit(1)

    executor.extensions["ext"] = extension
    service = await make()
    calls = start(service, 2)
    await until(lambda: len(workers.running) == 2)
    assert told.is_set()
    die.set()
    errors = [json.loads((await each).payload)["errorType"] for each in calls]
    assert errors == ["Extension.Crash"] * 2
    await until(lambda: service.environment_count() == 0)


async def test_a_version_that_is_replaced_finishes_what_runs(make, executor, workers) -> None:
    service = await make(Bounds(1))
    calls = start(service, 2)
    await until(lambda: len(workers.running) == 2)
    await service.deploy(function_version(max_concurrency=WORKERS, revision="r2"))
    await until(lambda: len(executor.started) == 2)
    workers.open.set()
    answers = {(await each).payload for each in calls}
    assert answers == {json.dumps(executor.started[0].spec.environment_id).encode()}
    await until(lambda: executor.released == ["r1"])
