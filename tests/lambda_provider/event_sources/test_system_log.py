"""The log that a mapping writes for its user: form, levels, and what a topic tells in it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from lambda_provider.api import ResourceNotFoundException, TooManyRequestsException
from lambda_provider.event_sources.kafka import LAG_EVERY_S
from lambda_provider.event_sources.source import SourceProblem
from lambda_provider.event_sources.system_log import SystemLog, SystemLogs
from lambda_provider.model.event_source_mapping import EventSourceMapping, Pollers
from lambda_runtime.clock import ManualClock

from ..fakes import ACCOUNT, REGION
from .fakes import mapping
from .kafka_fakes import SERVERS, Function, KafkaWorld, kafka_mapping

STREAM = f"2025/06/15/{mapping().name}"
PROVISIONED = Pollers(minimum=1, maximum=2)


class Sink:
    """A host that keeps what it gets."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.called = asyncio.Event()

    def __call__(self, **call: Any) -> None:
        self.calls.append(call)
        self.called.set()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(event.message) for call in self.calls for event in call["events"]]

    def told(self, level: str | None = None) -> list[str]:
        """The types of all lines, or those of a level."""
        return [
            line["type"].removeprefix("eventSourceMapping.") for line in self.lines if level in (None, line["level"])
        ]

    def record(self, type_: str) -> dict[str, Any]:
        """What the one line of a type says."""
        [found] = [line["record"] for line in self.lines if line["type"] == f"eventSourceMapping.{type_}"]
        return dict(found)


class Logged:
    """A world of a topic, and the log of its mapping."""

    def __init__(self, function: Function, partitions: int = 1, **settings: Any) -> None:
        self.world = KafkaWorld(function, partitions)
        self.sink = Sink()
        self.logs = SystemLogs(self.sink, self.world.clock, lambda mapping: "/aws/lambda/f")
        self.mapping = kafka_mapping(batching_window_s=0, pollers=PROVISIONED, **settings)
        self.source = self.world.source(self.mapping, log=self.logs.log_of(self.mapping))

    async def run(self, *values: str, ends: Any = None) -> Sink:
        """Work until everything of the topic is committed, or until `ends`."""
        async with self.world.running(self.source):
            self.world.topic.send(*values)
            await self.world.until(ends or (lambda: self.world.topic.committed == {("t", 0): len(values)}))
        self.logs.flush()
        return self.sink


async def test_a_line_is_json_in_the_stream_of_its_day_in_the_log_group_of_the_function() -> None:
    sink, clock = Sink(), ManualClock()
    logs = SystemLogs(sink, clock, lambda mapping: "/of/its/own")
    value = mapping(log_level="INFO")

    logs.log_of(value).info("connected", topics=["t"])

    assert sink.calls == []
    logs.flush()
    [call] = sink.calls
    [event] = call.pop("events")
    place = {"account_id": ACCOUNT, "region": REGION, "log_group": "/of/its/own"}
    assert call == {**place, "log_stream": STREAM}
    assert event.timestamp_ms == 1_750_000_000_000
    assert json.loads(event.message) == {
        "time": "2025-06-15T15:06:40.000Z",
        "level": "INFO",
        "type": "eventSourceMapping.connected",
        "eventSourceMappingArn": value.arn,
        "record": {"topics": ["t"]},
    }
    logs.flush()
    assert len(sink.calls) == 1


async def test_lines_are_handed_over_together_without_being_asked_for() -> None:
    sink, clock = Sink(), ManualClock()
    logs = SystemLogs(sink, clock, lambda mapping: "g")
    log = logs.log_of(mapping(log_level="WARN"))
    log.warn("a")
    log.warn("b")
    await asyncio.wait_for(sink.called.wait(), 30)
    assert [len(call["events"]) for call in sink.calls] == [2]
    clock.advance(24 * 3600)
    log.warn("c")
    logs.flush()
    assert sink.calls[1]["log_stream"] == STREAM.replace("/15/", "/16/")


async def test_nobody_gets_the_lines_of_a_function_that_is_gone() -> None:
    sink = Sink()
    logs = SystemLogs(sink, ManualClock(), lambda mapping: None)
    logs.log_of(mapping(log_level="WARN")).warn("a")
    logs.flush()
    assert sink.calls == []


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        (None, []),
        ("WARN", ["WARN"]),
        ("INFO", ["WARN", "INFO"]),
        ("DEBUG", ["WARN", "INFO", "DEBUG"]),
    ],
)
def test_a_level_leaves_out_what_is_more_detailed(level: str | None, wanted: list[str]) -> None:
    written: list[str] = []
    log = SystemLog("DEBUG", lambda level, type_, record: written.append(level))
    log.set_level(level)
    for tell in (log.warn, log.info, log.debug):
        tell("something")
    assert written == wanted
    assert log.debugging == (level == "DEBUG")


async def test_without_a_level_a_topic_writes_nothing_and_gathers_nothing() -> None:
    logged = Logged(Function("error"))
    sink = await logged.run("a", "b")
    assert sink.calls == []


async def test_at_info_a_topic_tells_of_its_pollers() -> None:
    logged = Logged(Function(), log_level="INFO")
    sink = await logged.run("a")
    assert sink.told() == ["connecting", "partitionsAssigned", "connected", "stopped"]
    assert sink.record("connecting") == {
        "bootstrapServers": SERVERS,
        "topics": ["t"],
        "consumerGroupId": "g",
        "provisionedPollerConfig": {"MinimumPollers": 1, "MaximumPollers": 2},
    }
    assert sink.record("partitionsAssigned") == {"offsets": {"t-0": 0}}


async def test_partitions_that_go_to_another_member_are_told() -> None:
    logged = Logged(Function(), partitions=2, log_level="INFO")
    async with logged.world.running(logged.source):
        await logged.source.revoked([("t", 1)])
    logged.logs.flush()
    assert logged.sink.record("partitionsRevoked") == {"partitions": ["t-1"]}


async def test_at_debug_a_topic_tells_of_each_batch_on_its_way() -> None:
    logged = Logged(Function(), log_level="DEBUG", filters=('{"value":["a","b"]}',))
    sink = await logged.run("a", "x", "b")
    assert sink.told("DEBUG") == [
        "recordsPolled",
        "recordsFilteredOut",
        "functionInvoked",
        "batchProcessed",
        "offsetsCommitted",
    ]
    assert sink.record("recordsPolled") == {"records": 3, "offsets": {"t-0": {"first": 0, "last": 2}}}
    assert sink.record("recordsFilteredOut") == {"records": 1}
    batch = {"partition": "t-0", "records": 2, "firstOffset": 0, "lastOffset": 2}
    invoked = sink.record("functionInvoked")
    assert invoked.pop("payloadSize") > 100
    assert invoked == batch
    assert sink.record("batchProcessed") == {**batch, "requestId": "r"}
    assert sink.record("offsetsCommitted") == {"offsets": {"t-0": 3}}


async def test_the_lag_is_told_once_a_minute() -> None:
    logged = Logged(Function(*["error"] * 1000), log_level="DEBUG")
    async with logged.world.running(logged.source):
        logged.world.topic.send("a")
        for seconds, lines in ((LAG_EVERY_S - 1, 0), (1, 1), (LAG_EVERY_S - 1, 1), (1, 2)):
            logged.world.clock.advance(seconds)
            await logged.world.rest()
            logged.logs.flush()
            assert logged.sink.told().count("offsetLag") == lines
    lags = [line["record"] for line in logged.sink.lines if line["type"].endswith("offsetLag")]
    assert lags == [{"lag": {"t-0": 1}}] * 2


async def test_at_warn_only_what_fails_is_told() -> None:
    function = Function("error", TooManyRequestsException("Rate Exceeded."), ResourceNotFoundException("gone"))
    logged = Logged(function, log_level="WARN")
    logged.world.topic.failing_commits = 1
    sink = await logged.run("a", "b")
    assert sink.told() == ["functionFailed", "functionNotInvoked", "functionNotInvoked", "commitFailed"]
    batch = {"partition": "t-0", "records": 2}
    failed = {**batch, "firstOffset": 0, "lastOffset": 1, "attempt": 1, "requestId": "r", "functionError": "Unhandled"}
    assert sink.record("functionFailed") == failed
    throttled, gone = [line["record"] for line in sink.lines if line["type"].endswith("NotInvoked")]
    assert throttled == {
        **batch,
        "errorCode": "TooManyRequestsException",
        "message": "Rate Exceeded.",
        "retryInSeconds": 0.1,
    }
    assert (gone["errorCode"], gone["retryInSeconds"]) == ("ResourceNotFoundException", 2.0)
    assert sink.record("commitFailed") == {"offsets": {"t-0": 2}, "message": "the coordinator is loading"}


async def test_records_that_are_reported_or_given_up_are_told() -> None:
    reported = {"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": 1}}]}
    logged = Logged(
        Function(reported, reported),
        log_level="WARN",
        max_retry_attempts=1,
        on_failure="kafka://missing",
        response_types=("ReportBatchItemFailures",),
    )
    sink = await logged.run("a", "b")
    assert sink.told() == ["functionFailed", "functionFailed", "recordsDiscarded"]
    first, second, _ = [line["record"] for line in sink.lines]
    assert (first["records"], first["firstOffset"], first["attempt"]) == (1, 1, 1)
    assert (second["attempt"], "functionError" in second) == (2, False)
    assert sink.record("recordsDiscarded") == {
        "partition": "t-0",
        "records": 1,
        "firstOffset": 1,
        "lastOffset": 1,
        "condition": "RetryAttemptsExhausted",
        "invokes": 2,
        "destination": "kafka://missing",
        "problem": "'missing'",
    }


async def test_a_trouble_of_the_cluster_is_told_once() -> None:
    logged = Logged(Function(), log_level="WARN")
    async with logged.world.running(logged.source):
        for _ in range(3):
            logged.source.troubled(SourceProblem("no route", result="PROBLEM: Connection error."))
    logged.logs.flush()
    assert logged.sink.told() == ["pollingFailed"]
    assert logged.sink.record("pollingFailed") == {"problem": "PROBLEM: Connection error.", "message": "no route"}


def test_another_level_is_no_other_work() -> None:
    value: EventSourceMapping = kafka_mapping(pollers=PROVISIONED)
    louder = replace(value, settings=replace(value.settings, log_level="DEBUG"))
    slower = replace(value, settings=replace(value.settings, batching_window_s=9))
    assert value.works_like(louder)
    assert not value.works_like(slower)
