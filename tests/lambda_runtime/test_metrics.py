"""What CloudWatch is told: names, dimensions and statistics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from lambda_runtime import metrics
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import Throttled
from lambda_runtime.metrics import Metrics
from lambda_runtime.service import RuntimeService

from .fakes import ExtensionClient, FakeExecutor, RuntimeClient, function_version, invocation, until

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:fn"
Told = dict[tuple[Any, ...], dict[str, float]]


class Sink:
    """Keeps what was handed over, by metric name and dimension values."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, list[Any]]] = []

    def __call__(self, account_id: str, region: str, data: Any) -> None:
        self.calls.append((account_id, region, list(data)))

    def told(self) -> Told:
        data = [datum for _, _, batch in self.calls for datum in batch]
        return {
            (datum["MetricName"], *(item["Value"] for item in datum["Dimensions"])): datum["StatisticValues"]
            for datum in data
        }


@pytest.fixture
async def counted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """`await counted(executor, **config)`: a service with the function deployed, and its sink. All happens in one minute."""
    services: list[RuntimeService] = []
    monkeypatch.setattr(metrics.time, "time", lambda: 1_750_000_000.0)  # In the middle of one.

    async def make(executor: FakeExecutor, **config: Any) -> tuple[RuntimeService, Sink]:
        sink = Sink()
        service = RuntimeService(RuntimeConfig(**config), executor, metric_sink=sink)
        services.append(service)
        await service.start()
        await service.deploy(function_version())
        return service, sink

    yield make
    for service in services:
        await service.stop()


async def test_an_invocation_counts_for_its_name_its_function_and_the_account(counted: Callable[..., Any]) -> None:
    service, sink = await counted(FakeExecutor())
    await service.invoke(invocation())
    service.deliver_telemetry()
    told = sink.told()
    for place in ((), ("fn",), ("fn", "fn")):
        assert told[("Invocations", *place)] == {"SampleCount": 1, "Sum": 1, "Minimum": 1, "Maximum": 1}
        assert told[("Errors", *place)]["Sum"] == told[("Throttles", *place)]["Sum"] == 0
        assert told[("Errors", *place)]["SampleCount"] == 1
        assert told[("Duration", *place)]["SampleCount"] == 1
        assert told[("ConcurrentExecutions", *place)]["Maximum"] == 1
    assert told[("UnreservedConcurrentExecutions",)]["Maximum"] == 1
    assert sink.calls[0][:2] == ("000000000000", "us-east-1")


async def test_an_alias_is_told_apart_by_the_version_that_it_led_to(counted: Callable[..., Any]) -> None:
    service, sink = await counted(FakeExecutor())
    for number in ("1", "2"):
        await service.deploy(function_version(arn=f"{FUNCTION}:{number}", version=number))
        call = invocation(version_arn=f"{FUNCTION}:{number}")
        call.invoked_arn = f"{FUNCTION}:live"
        await service.invoke(call)
    service.deliver_telemetry()
    told = sink.told()
    assert told[("Invocations", "fn", "fn:live")]["Sum"] == 2
    assert told[("Invocations", "fn", "fn:live", "1")]["Sum"] == told[("Invocations", "fn", "fn:live", "2")]["Sum"] == 1
    assert told[("Invocations", "fn")]["Sum"] == 2


async def test_a_version_by_its_number_has_no_executed_version(counted: Callable[..., Any]) -> None:
    service, sink = await counted(FakeExecutor())
    await service.deploy(function_version(arn=f"{FUNCTION}:1", version="1"))
    call = invocation(version_arn=f"{FUNCTION}:1")
    call.invoked_arn = f"{FUNCTION}:1"
    await service.invoke(call)
    service.deliver_telemetry()
    assert {key[1:] for key in sink.told() if key[0] == "Invocations"} == {(), ("fn",), ("fn", "fn:1")}


async def test_errors_and_throttles_count_and_throttled_requests_are_no_invocations(
    counted: Callable[..., Any],
) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def script(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        running.set()
        await go_on.wait()
        await client.fail(request_id, "ValueError", "no")
        await client.next()

    service, sink = await counted(FakeExecutor(script), concurrency_limit=1)
    first = asyncio.create_task(service.invoke(invocation()))
    await running.wait()
    with pytest.raises(Throttled):
        await service.invoke(invocation())
    go_on.set()
    assert (await first).function_error == "Unhandled"
    service.deliver_telemetry()
    told = sink.told()
    assert told[("Invocations", "fn")]["Sum"] == 1
    assert told[("Errors", "fn")] == {"SampleCount": 1, "Sum": 1, "Minimum": 1, "Maximum": 1}
    assert told[("Throttles", "fn")] == {"SampleCount": 2, "Sum": 1, "Minimum": 0, "Maximum": 1}


async def test_concurrency_is_the_most_that_ran_at_once(counted: Callable[..., Any]) -> None:
    started: list[RuntimeClient] = []
    go_on = asyncio.Event()

    async def script(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        started.append(client)
        await go_on.wait()
        await client.respond(request_id, body)
        await client.next()

    service, sink = await counted(FakeExecutor(script))
    calls = [asyncio.create_task(service.invoke(invocation())) for _ in range(3)]
    await until(lambda: len(started) == 3)
    go_on.set()
    await asyncio.gather(*calls)
    service.deliver_telemetry()
    assert sink.told()[("ConcurrentExecutions", "fn")]["Maximum"] == 3
    assert sink.told()[("UnreservedConcurrentExecutions",)]["Maximum"] == 3
    sink.calls.clear()
    service.deliver_telemetry()
    assert sink.calls == []


async def test_provisioned_concurrency_and_what_spills_over(counted: Callable[..., Any]) -> None:
    go_on = asyncio.Event()
    busy: list[RuntimeClient] = []

    async def script(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        busy.append(client)
        await go_on.wait()
        await client.respond(request_id, body)
        await client.next()

    service, sink = await counted(FakeExecutor(script), provisioning_delay_s=0.0)
    arn = f"{FUNCTION}:$LATEST"
    service.set_provisioned("p", {arn: 1})
    await until(lambda: service.provisioned("p").available == 1)
    calls = [asyncio.create_task(service.invoke(invocation())) for _ in range(2)]
    await until(lambda: len(busy) == 2)
    go_on.set()
    await asyncio.gather(*calls)
    service.deliver_telemetry()
    told = sink.told()
    assert told[("ProvisionedConcurrencyInvocations", "fn")]["Sum"] == 1
    assert told[("ProvisionedConcurrencySpilloverInvocations", "fn")]["Sum"] == 1
    assert told[("ProvisionedConcurrentExecutions", "fn")]["Maximum"] == 1
    assert told[("ProvisionedConcurrencyUtilization", "fn")]["Maximum"] == 1
    assert told[("UnreservedConcurrentExecutions",)]["Maximum"] == 1
    assert told[("ClaimedAccountConcurrency",)]["Maximum"] == 2


async def test_each_minute_is_told_apart_and_an_invocation_counts_when_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink, now = Sink(), 1_750_000_019.0  # a second before a minute ends
    monkeypatch.setattr(metrics.time, "time", lambda: now)
    counts = Metrics(sink, lambda account_id, region: (0, 0))
    series = counts.series(function_version(), FUNCTION)
    series.began()
    series.ended(5.0, False)
    now += 2
    for duration_ms in (3000.0, 500.0):
        series.began()
        series.ended(duration_ms, False)
    counts.close()
    invocations = [
        (datum["Timestamp"], datum["StatisticValues"]["Sum"])
        for _, _, data in sink.calls
        for datum in data
        if datum["MetricName"] == "Invocations" and not datum["Dimensions"]
    ]
    assert [(moment.minute, count) for moment, count in invocations] == [(6, 2), (7, 1)]
    assert invocations[0][0] == datetime.fromtimestamp(now - 2, UTC)


async def test_what_did_not_run_frees_its_slot_and_is_no_invocation(counted: Callable[..., Any]) -> None:
    executor = FakeExecutor()
    service, sink = await counted(executor)
    executor.fail_start = OSError("no processes left")
    with pytest.raises(Exception, match="no processes left"):
        await service.invoke(invocation())
    service.deliver_telemetry()
    assert ("Invocations", "fn") not in sink.told()
    assert service.concurrency.in_use("000000000000", "us-east-1") == 0


async def test_counts_of_a_retired_version_are_told_all_the_same(counted: Callable[..., Any]) -> None:
    service, sink = await counted(FakeExecutor())
    await service.invoke(invocation())
    await service.retire(f"{FUNCTION}:$LATEST")
    service.deliver_telemetry()
    assert sink.told()[("Invocations", "fn")]["Sum"] == 1


async def test_nothing_is_kept_of_what_is_gone(counted: Callable[..., Any]) -> None:
    service, _ = await counted(FakeExecutor())
    await service.invoke(invocation())
    await service.retire(f"{FUNCTION}:$LATEST")
    service.deliver_telemetry()
    assert not service.metrics._series
    assert list(service.metrics._gauges["000000000000", "us-east-1"]) == [""]


async def test_metrics_of_urls_have_the_executed_version_and_no_account(counted: Callable[..., Any]) -> None:
    service, sink = await counted(FakeExecutor())
    service.count("UrlRequestCount", f"{FUNCTION}:$LATEST", f"{FUNCTION}:$LATEST")
    service.count("UrlRequestLatency", f"{FUNCTION}:$LATEST", f"{FUNCTION}:$LATEST", 12.5)
    service.deliver_telemetry()
    places = {("fn",), ("fn", "fn:$LATEST"), ("fn", "fn:$LATEST", "$LATEST")}
    assert {key[1:] for key in sink.told() if key[0] == "UrlRequestCount"} == places
    assert sink.told()[("UrlRequestLatency", "fn")]["Maximum"] == 12.5
    units = {datum["MetricName"]: datum["Unit"] for datum in sink.calls[0][2]}
    assert units == {"UrlRequestCount": "Count", "UrlRequestLatency": "Milliseconds"}


async def test_the_time_of_extensions_after_the_function_is_a_metric_of_its_own(counted: Callable[..., Any]) -> None:
    told, go_on = asyncio.Event(), asyncio.Event()

    async def extension(client: ExtensionClient) -> None:
        await client.register("ext", "INVOKE")
        await client.next_event()
        told.set()
        await go_on.wait()
        await client.next_event()

    executor = FakeExecutor()
    executor.extensions["ext"] = extension
    service, sink = await counted(executor)
    called = time.monotonic()
    await service.invoke(invocation())
    took_s = time.monotonic() - called
    await told.wait()
    await asyncio.sleep(max(0.05, 2 * took_s))
    go_on.set()
    await until(lambda: next(iter(service._managers.values())).idle_count == 1)
    service.deliver_telemetry()
    counted_ms = sink.told()[("PostRuntimeExtensionsDuration", "fn", "fn")]
    assert counted_ms["SampleCount"] == 1
    assert counted_ms["Maximum"] >= 45
    assert sink.told()[("Duration", "fn", "fn")]["Maximum"] < counted_ms["Maximum"]


async def test_without_extensions_nothing_comes_after_the_function(counted: Callable[..., Any]) -> None:
    service, sink = await counted(FakeExecutor())
    await service.invoke(invocation())
    service.deliver_telemetry()
    assert not [key for key in sink.told() if key[0] == "PostRuntimeExtensionsDuration"]
