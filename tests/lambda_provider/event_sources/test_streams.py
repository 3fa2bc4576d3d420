"""Streams as sources: events, positions, shards, batches that fail, windows, and what nobody has to wait for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lambda_provider.api import TooManyRequestsException
from lambda_provider.event_sources.source import FUNCTION_CALL_FAILED, NO_RECORDS, OK, SAFETY_S, SourceProblem
from lambda_runtime.types import InvocationResult

from ..fakes import ACCOUNT, REGION, arn
from .stream_fakes import FAILURE, STREAM_ARN, SUCCESS, StreamWorld, answer, stream_mapping

PARTIAL = ("ReportBatchItemFailures",)


class Function:
    """Remembers the data of each batch, and answers with what is in `answers`, else with success."""

    def __init__(self, *answers: InvocationResult | Exception) -> None:
        self.answers = list(answers)
        self.batches: list[list[str]] = []
        self.events: list[dict[str, Any]] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def __call__(self, event: bytes, trace_header: str | None) -> InvocationResult:
        document = json.loads(event)
        self.events.append(document)
        self.batches.append([record["kinesis"]["sequenceNumber"] for record in document["Records"]])
        for record in document["Records"]:
            if (gate := self.gates.get(record["kinesis"]["partitionKey"])) is not None:
                await gate.wait()
        given = self.answers.pop(0) if self.answers else SUCCESS
        if isinstance(given, Exception):
            raise given
        return given


async def test_event_is_that_of_aws() -> None:
    function = Function()
    world = StreamWorld(function)
    world.put("key", "hello")
    async with world.polled():
        await world.until(lambda: bool(function.events))
    assert function.events == [
        {
            "Records": [
                {
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0",
                        "partitionKey": "key",
                        "sequenceNumber": "1",
                        "data": "aGVsbG8=",
                        "approximateArrivalTimestamp": 1_750_000_000.0,
                    },
                    "eventSource": "aws:kinesis",
                    "eventVersion": "1.0",
                    "eventID": "shardId-000000000000:1",
                    "eventName": "aws:kinesis:record",
                    "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/r",
                    "awsRegion": REGION,
                    "eventSourceARN": STREAM_ARN,
                }
            ]
        }
    ]
    assert world.reports == [OK]
    assert world.counts == {"PolledEventCount": 1, "InvokedEventCount": 1}


# Where a mapping begins


async def test_latest_is_from_the_first_poll_on_also_after_a_restart() -> None:
    function = Function()
    world = StreamWorld(function)
    world.put("a")
    world.clock.advance(1)
    async with world.polled(starting_position="LATEST"):
        pass
    world.clock.advance(100)
    world.put("a")
    async with world.polled(starting_position="LATEST"):
        await world.until(lambda: bool(function.batches))
    assert function.batches == [["2"]]


async def test_timestamp_is_where_a_mapping_begins_in_every_shard() -> None:
    function = Function()
    world = StreamWorld(function)
    world.put("a")
    world.split()
    world.clock.advance(10)
    since = world.clock.now()
    later = world.put("a")
    settings = {"starting_position": "AT_TIMESTAMP", "starting_timestamp": since}
    async with world.polled(**settings):
        await world.until(lambda: bool(function.batches))
    assert function.batches == [[later]]


async def test_position_that_is_trimmed_goes_on_at_the_first_record() -> None:
    function = Function()
    world = StreamWorld(function)
    world.kinesis.failures = ["TrimmedDataAccessException"]
    first = world.put("a")
    async with world.polled():
        await world.until(lambda: bool(function.batches))
    assert function.batches == [[first]]


# Shards


async def test_child_is_read_when_its_parent_is_processed() -> None:
    function = Function()
    gate = function.gates["a"] = asyncio.Event()
    world = StreamWorld(function)
    first = world.put("a")
    world.split()
    second = world.put("b")
    async with world.polled():
        await world.step()
        assert function.batches == [[first]]
        gate.set()
        await world.until(lambda: len(function.batches) == 2)
    assert function.batches == [[first], [second]]
    assert world.positions_.get(stream_mapping().name, "shardId-000000000000") == {"finished": True}


async def test_slow_shard_does_not_delay_another() -> None:
    function = Function()
    world = StreamWorld(function)
    world.split()
    keys = {world.kinesis.open_shards[index].id: key for key in "abcdefgh" for index in [_shard_of(world, key)]}
    slow, quick = sorted(set(keys.values()))[:2]
    function.gates[slow] = asyncio.Event()
    world.put(slow)
    expected = world.put(quick)
    async with world.polled():
        await world.until(lambda: [expected] in function.batches)
        function.gates[slow].set()


def _shard_of(world: StreamWorld, key: str) -> int:
    world.kinesis.put(key)
    ((index, shard),) = [(i, each) for i, each in enumerate(world.kinesis.open_shards) if each.records]
    shard.records.clear()
    return index


async def test_stream_that_is_gone_is_a_problem() -> None:
    world = StreamWorld(Function())
    source = world.source(stream_mapping())
    run = asyncio.ensure_future(source.run())
    await world.step()
    world.kinesis.exists = False
    world.feed.ring(STREAM_ARN)
    await world.until(run.done)
    with pytest.raises(SourceProblem, match="not found"):
        run.result()
    source.close()


async def test_source_that_can_be_used_again_says_so() -> None:
    world = StreamWorld(Function())
    from dataclasses import replace

    broken = replace(
        stream_mapping(), last_result="PROBLEM: internal Lambda error. Please contact Lambda customer support."
    )
    source = world.source(broken)
    run = asyncio.ensure_future(source.run())
    await world.rest()
    source.stop()
    await world.until(run.done)
    assert world.reports == [NO_RECORDS]


# How batches are made


async def test_batch_has_no_more_than_its_size_and_keeps_the_order() -> None:
    function = Function()
    world = StreamWorld(function)
    sent = [world.put("a") for _ in range(25)]
    async with world.polled(batch_size=10):
        await world.until(lambda: len(function.batches) == 3)
    assert function.batches == [sent[:10], sent[10:20], sent[20:]]


async def test_window_gathers_a_batch() -> None:
    function = Function()
    world = StreamWorld(function)
    async with world.polled(batching_window_s=5):
        sent = [world.put("a")]
        await world.rest()
        world.clock.advance(4)
        sent.append(world.put("a"))
        await world.rest()
        assert function.batches == []
        world.clock.advance(1.1)
        await world.rest()
    assert function.batches == [sent]


async def test_keys_are_processed_side_by_side() -> None:
    function = Function()
    gate = function.gates["slow"] = asyncio.Event()
    world = StreamWorld(function)
    blocked = world.put("slow")
    others = [world.put(f"key {number}") for number in range(20)]
    async with world.polled(parallelization_factor=10):
        await world.rest()
        done = {number for batch in function.batches if blocked not in batch for number in batch}
        assert len(done) > len(others) / 2
        gate.set()
        await world.until(lambda: sum(map(len, function.batches)) == 21)


async def test_filters_look_into_the_data() -> None:
    function = Function()
    world = StreamWorld(function)
    world.put("a", "no JSON")
    world.put("a", '{"kind":"dull"}')
    kept = world.put("a", '{"kind":"fine"}')
    world.put("b", '{"kind":"fine"}')
    pattern = json.dumps({"partitionKey": ["a"], "data": {"kind": ["fine"]}})
    async with world.polled(filters=(pattern,)):
        await world.until(lambda: bool(function.batches))
        await world.rest()
    assert function.batches == [[kept]]
    assert world.counts["FilteredOutEventCount"] == 3
    assert world.positions_.get(stream_mapping().name, "shardId-000000000000") == {"after": "4"}


async def test_no_more_is_read_ahead_than_lanes_can_hold() -> None:
    function = Function()
    gate = function.gates["a"] = asyncio.Event()
    world = StreamWorld(function)
    world.kinesis.most = 2
    sent = [world.put("a", "x" * 700) for _ in range(40)]
    source = world.source(stream_mapping(batch_size=2), payload_limit_bytes=5_000)
    run = asyncio.ensure_future(source.run())
    await world.rest()
    assert function.batches == [sent[:2]]
    assert world.kinesis.reads <= 5
    gate.set()
    await world.until(lambda: sum(map(len, function.batches)) == 40)
    source.stop()
    await world.until(run.done)
    assert [number for batch in function.batches for number in batch] == sent


# Batches that fail


async def test_batch_is_tried_again_until_it_succeeds_and_holds_up_its_shard() -> None:
    function = Function(*[FAILURE] * 5)
    world = StreamWorld(function)
    first = world.put("a")
    async with world.polled(batch_size=1):
        second = world.put("a")
        await world.until(lambda: len(function.batches) == 7)
    assert function.batches == [[first]] * 6 + [[second]]
    assert world.reports == [FUNCTION_CALL_FAILED] * 5 + [OK] * 2


async def test_retries_end_and_the_destination_is_told() -> None:
    function = Function(FAILURE, FAILURE, FAILURE)
    world = StreamWorld(function)
    world.put("a")
    world.put("b")
    async with world.polled(max_retry_attempts=2, on_failure="arn:aws:sqs:us-east-1:000000000000:q"):
        await world.until(lambda: bool(world.parcels))
        later = world.put("a")
        await world.until(lambda: [later] in function.batches)
    assert function.batches == [["1", "2"]] * 3 + [[later]]
    (record,) = world.discarded
    assert record["requestContext"] == {
        "requestId": "r1",
        "functionArn": arn("f"),
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert record["KinesisBatchInfo"] == {
        "shardId": "shardId-000000000000",
        "startSequenceNumber": "1",
        "endSequenceNumber": "2",
        "approximateArrivalOfFirstRecord": "2025-06-15T15:06:40.000Z",
        "approximateArrivalOfLastRecord": "2025-06-15T15:06:40.000Z",
        "batchSize": 2,
        "streamArn": STREAM_ARN,
    }
    assert list(record) == ["requestContext", "responseContext", "version", "timestamp", "KinesisBatchInfo"]
    assert world.counts["DroppedEventCount"] == world.counts["OnFailureDestinationDeliveredEventCount"] == 2


async def test_bucket_gets_the_event_as_a_text() -> None:
    function = Function(FAILURE)
    world = StreamWorld(function)
    world.put("a")
    async with world.polled(max_retry_attempts=0, on_failure="arn:aws:s3:::bucket"):
        await world.until(lambda: bool(world.parcels))
    (record,) = world.discarded
    assert json.loads(record["payload"]) == function.events[0]
    _, parcel = world.parcels[0]
    prefix = f"aws/lambda/{stream_mapping().name}/shardId-000000000000/2025/06/15/2025-06-15T15.06.40-"
    assert parcel.object_key.startswith(prefix)


async def test_halves_use_up_no_retry() -> None:
    function = Function(FAILURE, FAILURE, FAILURE)
    world = StreamWorld(function)
    for _ in range(4):
        world.put("a")
    async with world.polled(bisect_on_error=True, max_retry_attempts=0, on_failure="arn:aws:sqs:us-east-1:0:q"):
        await world.until(lambda: len(function.batches) == 5)
    assert function.batches == [["1", "2", "3", "4"], ["1", "2"], ["1"], ["2"], ["3", "4"]]
    (record,) = world.discarded
    assert record["KinesisBatchInfo"]["startSequenceNumber"] == record["KinesisBatchInfo"]["endSequenceNumber"] == "1"
    assert record["requestContext"]["approximateInvokeCount"] == 1


async def test_records_from_the_lowest_reported_one_on_come_again() -> None:
    failures = answer({"batchItemFailures": [{"itemIdentifier": "4"}, {"itemIdentifier": "3"}]})
    function = Function(failures, failures)
    world = StreamWorld(function)
    for _ in range(5):
        world.put("a")
    async with world.polled(response_types=PARTIAL, max_retry_attempts=1, on_failure="arn:aws:sqs:us-east-1:0:q"):
        await world.until(lambda: bool(world.parcels))
    assert function.batches == [["1", "2", "3", "4", "5"], ["3", "4", "5"]]
    (record,) = world.discarded
    assert record["KinesisBatchInfo"]["batchSize"] == 3
    assert record["responseContext"]["functionError"] is None
    assert world.positions_.get(stream_mapping().name, "shardId-000000000000") == {"after": "5"}


async def test_with_bisecting_a_partial_answer_is_a_split() -> None:
    function = Function(answer({"batchItemFailures": [{"itemIdentifier": "3"}]}), FAILURE)
    world = StreamWorld(function)
    for _ in range(4):
        world.put("a")
    async with world.polled(response_types=PARTIAL, bisect_on_error=True, max_retry_attempts=0):
        await world.until(lambda: len(function.batches) == 4)
    assert function.batches == [["1", "2", "3", "4"], ["3", "4"], ["3"], ["4"]]


async def test_throttle_is_no_attempt() -> None:
    function = Function(*[TooManyRequestsException("Rate Exceeded.")] * 3)
    world = StreamWorld(function)
    world.put("a")
    async with world.polled(max_retry_attempts=0):
        await world.until(lambda: len(function.batches) == 4)
    assert function.batches == [["1"]] * 4
    assert world.reports == [FUNCTION_CALL_FAILED] * 3 + [OK]
    assert "DroppedEventCount" not in world.counts


async def test_record_that_becomes_too_old_while_it_is_retried_is_given_up() -> None:
    function = Function(*[FAILURE] * 20)
    world = StreamWorld(function)
    world.put("a")
    async with world.polled(max_record_age_s=60, on_failure="arn:aws:sqs:us-east-1:0:q"):
        await world.until(lambda: bool(world.parcels))
    (record,) = world.discarded
    assert record["requestContext"]["condition"] == "RecordAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 8
    assert "responseContext" not in record
    assert len(function.batches) == 7
    assert world.clock.now() == pytest.approx(1_750_000_060)


async def test_only_records_that_are_too_old_are_given_up() -> None:
    function = Function()
    world = StreamWorld(function)
    world.put("a")
    world.clock.advance(70)
    fresh = world.put("a")
    async with world.polled(max_record_age_s=60, on_failure="arn:aws:sqs:us-east-1:0:q"):
        await world.until(lambda: bool(function.batches))
    assert function.batches == [[fresh]]
    assert world.discarded[0]["requestContext"]["approximateInvokeCount"] == 1


async def test_age_of_records_is_a_metric_of_the_function() -> None:
    world = StreamWorld(Function())
    world.put("a")
    world.clock.advance(7)
    async with world.polled():
        await world.rest()
    assert world.counts["IteratorAge"] == pytest.approx(7000)


# Windows


async def test_window_hands_its_state_on_and_is_closed() -> None:
    function = Function(*(answer({"state": {"sum": number}}) for number in range(1, 5)))
    world = StreamWorld(function)
    async with world.polled(tumbling_window_s=60, batch_size=1):
        world.put("a")
        world.put("a")
        await world.until(lambda: len(function.events) == 3)
        world.put("a")
        await world.until(lambda: len(function.events) == 4)
        world.clock.advance(100)
        world.put("a")
        await world.until(lambda: len(function.events) >= 6)
    kinds = [(len(event["Records"]), event["state"], event["isFinalInvokeForWindow"]) for event in function.events[:6]]
    assert kinds == [
        (1, {}, False),
        (1, {"sum": 1}, False),
        (0, {"sum": 2}, True),
        (1, {}, False),
        (0, {"sum": 4}, True),
        (1, {}, False),
    ]


async def test_answer_without_a_state_is_tried_again() -> None:
    function = Function(SUCCESS, answer({"state": {}}))
    world = StreamWorld(function)
    async with world.polled(tumbling_window_s=60):
        world.put("a")
        await world.until(lambda: len(function.events) == 2)
    assert function.batches == [["1"], ["1"]]


async def test_state_that_is_too_large_ends_the_window_early() -> None:
    function = Function(answer({"state": "x" * 1024 * 1024}), answer({"state": {}}), answer({"state": {}}))
    world = StreamWorld(function)
    async with world.polled(tumbling_window_s=60, batch_size=1):
        world.put("a")
        world.put("a")
        await world.until(lambda: len(function.events) == 3)
    early = [(event["isFinalInvokeForWindow"], event["isWindowTerminatedEarly"]) for event in function.events[:3]]
    assert early == [(False, False), (True, True), (False, False)]
    assert function.events[2]["state"] == {}
    assert function.events[2]["window"] == function.events[0]["window"]


async def test_window_goes_on_after_a_restart() -> None:
    function = Function(answer({"state": {"sum": 1}}))
    world = StreamWorld(function)
    async with world.polled(tumbling_window_s=60):
        world.put("a")
        await world.until(lambda: len(function.events) == 1)
    async with world.polled(tumbling_window_s=60):
        world.put("a")
        await world.until(lambda: len(function.events) == 2)
    assert function.events[1]["state"] == {"sum": 1}


# At rest


async def test_shard_at_rest_is_hardly_looked_at_when_the_host_tells() -> None:
    world = StreamWorld(Function())
    async with world.polled():
        await world.rest()
        before = world.kinesis.reads
        for _ in range(10):
            world.clock.advance(SAFETY_S / 10)
            await world.rest()
        assert world.kinesis.reads - before <= 1


async def test_shard_is_looked_at_once_a_second_when_the_host_does_not_tell() -> None:
    world = StreamWorld(Function(), fed=False)
    async with world.polled():
        await world.rest()
        before = world.kinesis.reads
        for _ in range(20):
            world.clock.advance(0.5)
            await world.rest()
        assert world.kinesis.reads - before == 10


async def test_mapping_that_stops_leaves_a_failing_batch_at_once() -> None:
    function = Function(*[FAILURE] * 3)
    world = StreamWorld(function)
    world.put("a")
    source = world.source(stream_mapping())
    run = asyncio.ensure_future(source.run())
    await world.rest()
    source.stop()
    await world.rest()
    assert run.done()
    assert world.positions_.get(stream_mapping().name, "shardId-000000000000") is None
    async with world.polled():
        await world.until(lambda: len(function.batches) >= 4)
    assert set(map(tuple, function.batches)) == {("1",)}
