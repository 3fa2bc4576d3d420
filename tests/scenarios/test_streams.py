"""Streams as event sources of a real gateway: shards and mappings that change, windows, and what is left of a restart."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..conftest import client_for, short_name, start_gateway, stop_gateway
from .rendezvous import MEET, Rendezvous
from .source_mappings import SourceMappings
from .witness import TELLS, Witness

pytestmark = pytest.mark.scenario

TELLS_DATA = (
    TELLS
    + """
import base64, os
def handler(event, context):
    for record in event["Records"]:
        tell(int(os.environ["PORT"]), base64.b64decode(record["kinesis"]["data"]).decode())
"""
)
TELLS_CHANGES = (
    TELLS
    + """
import os
def handler(event, context):
    for record in event["Records"]:
        change = record["dynamodb"]
        number = change.get("NewImage", {}).get("n", {}).get("N", "-")
        tell(int(os.environ["PORT"]), f"{record['eventName']} {change['Keys']['id']['S']} {number}")
"""
)
SUMS = (
    TELLS
    + """
import base64, json, os
def handler(event, context):
    numbers = [int(base64.b64decode(record["kinesis"]["data"])) for record in event["Records"]]
    total = event["state"].get("sum", 0) + sum(numbers)
    if event["isFinalInvokeForWindow"]:
        tell(int(os.environ["PORT"]), json.dumps([total, event["window"]]))
    return {"state": {"sum": total}}
"""
)
TELLS_VERSION = (
    TELLS
    + """
import os
def handler(event, context):
    tell(int(os.environ["PORT"]), f"version {context.function_version}")
"""
)


class Streams(SourceMappings):
    """Streams and tables, and mappings of them."""

    def __init__(self, client: Callable[..., Any], witness: Witness) -> None:
        super().__init__(client, witness)
        self.kinesis, self.dynamodb = client("kinesis"), client("dynamodb")
        self.names: list[str] = []
        self.tables: list[str] = []

    def stream(self, shards: int = 1, name: str | None = None) -> str:
        """A stream's name."""
        self.names.append(name or short_name("stream"))
        self.kinesis.create_stream(StreamName=self.names[-1], ShardCount=shards)
        return self.names[-1]

    def arn(self, name: str) -> str:
        summary = self.kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return str(summary["StreamARN"])

    def table(self, view: str = "NEW_AND_OLD_IMAGES") -> tuple[str, str]:
        """A table's name, and the ARN of its stream."""
        name = short_name("table")
        answer = self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )
        self.tables.append(name)
        return name, answer["TableDescription"]["LatestStreamArn"]

    def connect(self, arn: str, function: str, **parameters: Any) -> str:
        """A mapping's UUID, once it is enabled."""
        return self.make(function, EventSourceArn=arn, **{"StartingPosition": "LATEST", **parameters})

    def put(self, name: str, key: str, data: str) -> None:
        self.kinesis.put_record(StreamName=name, PartitionKey=key, Data=data)

    def open_shards(self, name: str) -> list[Any]:
        shards = self.kinesis.list_shards(StreamName=name)["Shards"]
        return [each for each in shards if "EndingSequenceNumber" not in each["SequenceNumberRange"]]

    def end(self) -> None:
        super().end()
        for name in self.kinesis.list_streams()["StreamNames"]:
            if name in self.names:
                self.kinesis.delete_stream(StreamName=name)
        for table in self.tables:
            self.dynamodb.delete_table(TableName=table)


@pytest.fixture
def streams(aws_client: Any) -> Iterator[Streams]:
    with Witness() as witness:
        made = Streams(aws_client, witness)
        yield made
        made.end()


def in_order(lines: list[str], keys: str, count: int) -> None:
    """Fail unless each key has its numbers, once and in their order."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        key, number = line.split()
        by_key[key].append(int(number))
    assert dict(by_key) == {key: list(range(count)) for key in keys}


@pytest.mark.parametrize("factor", [1, 10])
def test_keys_keep_their_order_while_shards_split_and_merge(streams: Streams, factor: int) -> None:
    name, keys = streams.stream(2), "abcdefgh"
    streams.connect(streams.arn(name), streams.function(TELLS_DATA), BatchSize=7, ParallelizationFactor=factor)
    for number in range(12):
        for key in keys:
            streams.put(name, key, f"{key} {number}")
        if number in (3, 6):
            streams.kinesis.update_shard_count(
                StreamName=name, TargetShardCount=4 if number == 3 else 2, ScalingType="UNIFORM_SCALING"
            )
    in_order(streams.heard(12 * len(keys)), keys, 12)
    assert len(streams.open_shards(name)) == 2


def test_nothing_is_lost_while_a_mapping_changes(streams: Streams) -> None:
    name = streams.stream()
    mapping = streams.connect(streams.arn(name), streams.function(TELLS_DATA), BatchSize=1)
    changes: list[dict[str, Any]] = [
        {"BatchSize": 3},
        {"ParallelizationFactor": 4},
        {"Enabled": False},
        {"Enabled": True},
        {"ParallelizationFactor": 1},
    ]
    for number in range(20):
        streams.put(name, "a", f"a {number}")
        if number % 4 == 2:
            streams.update(mapping, **changes[number // 4])
    in_order(streams.heard(20), "a", 20)


def test_a_slow_key_holds_nobody_up(streams: Streams) -> None:
    waits = "    if 'c2xvdw' in str(event):\n        meet(int(os.environ['PLACE']))\n    for record"
    with Rendezvous() as place:
        name = streams.stream()
        function = streams.function(MEET + TELLS_DATA.replace("    for record", waits), PLACE=str(place.port))
        streams.connect(streams.arn(name), function, ParallelizationFactor=10)
        streams.put(name, "slow", "slow")
        place.await_guests(1)
        for number in range(10):
            streams.put(name, f"key {number}", f"{number}")
        # Some have the slow one's lane.
        assert "slow" not in streams.heard(7)
        place.let_go()
        assert sorted(streams.heard(11)) == [*map(str, range(10)), "slow"]


def test_a_stream_that_was_made_anew_is_read_again(streams: Streams) -> None:
    name = streams.stream()
    mapping = streams.connect(streams.arn(name), streams.function(TELLS_DATA), StartingPosition="TRIM_HORIZON")
    streams.put(name, "a", "first")
    assert streams.heard(1) == ["first"]
    streams.kinesis.delete_stream(StreamName=name)
    streams.stream(name=name)
    streams.put(name, "a", "second")
    assert streams.heard(2) == ["first", "second"]
    assert streams.lambda_.get_event_source_mapping(UUID=mapping)["State"] == "Enabled"


def test_a_consumer_of_enhanced_fan_out_is_a_source(streams: Streams) -> None:
    name = streams.stream()
    consumer = streams.kinesis.register_stream_consumer(StreamARN=streams.arn(name), ConsumerName="fan")["Consumer"]
    streams.connect(consumer["ConsumerARN"], streams.function(TELLS_DATA))
    streams.put(name, "a", "hello")
    assert streams.heard(1) == ["hello"]


def test_an_alias_decides_which_version_runs(streams: Streams) -> None:
    name, function = streams.stream(), streams.function(TELLS_VERSION)
    for description in ("one", "two"):
        streams.lambda_.update_function_configuration(FunctionName=function, Description=description)
        streams.lambda_.get_waiter("function_updated_v2").wait(FunctionName=function)
        streams.lambda_.publish_version(FunctionName=function)
    streams.lambda_.create_alias(FunctionName=function, Name="live", FunctionVersion="1")
    streams.connect(streams.arn(name), f"{function}:live")
    streams.put(name, "a", "hello")
    assert streams.heard(1) == ["version 1"]
    streams.lambda_.update_alias(FunctionName=function, Name="live", FunctionVersion="2")
    streams.put(name, "a", "hello")
    assert streams.heard(2) == ["version 1", "version 2"]


def test_a_window_sums_up_what_came_in_it(streams: Streams) -> None:
    name = streams.stream()
    streams.connect(streams.arn(name), streams.function(SUMS), TumblingWindowInSeconds=1, BatchSize=2)
    for number in range(1, 6):
        streams.put(name, "a", str(number))
    lines = [
        json.loads(line)
        for line in streams.witness.until(lambda lines: sum(json.loads(each)[0] for each in lines) >= 15)
    ]
    assert sum(total for total, _ in lines) == 15
    for _, window in lines:
        start, end = (datetime.fromisoformat(window[side]) for side in ("start", "end"))
        assert end - start == timedelta(seconds=1)


def test_changes_of_an_item_come_in_their_order(streams: Streams) -> None:
    table, arn = streams.table()
    streams.connect(arn, streams.function(TELLS_CHANGES), ParallelizationFactor=10, BatchSize=3)
    dynamodb, items = streams.dynamodb, "abcd"
    for number in range(5):
        for item in items:
            values = {":n": {"N": str(number)}}
            dynamodb.update_item(
                TableName=table,
                Key={"id": {"S": item}},
                UpdateExpression="SET n = :n",
                ExpressionAttributeValues=values,
            )
    for item in items:
        dynamodb.delete_item(TableName=table, Key={"id": {"S": item}})
    lines = streams.heard(6 * len(items))
    for item in items:
        of_item = [line.split() for line in lines if line.split()[1] == item]
        assert of_item == [
            ["INSERT", item, "0"],
            *(["MODIFY", item, str(number)] for number in range(1, 5)),
            ["REMOVE", item, "-"],
        ]


def test_writes_go_on_when_a_stream_is_disabled(streams: Streams) -> None:
    table, arn = streams.table()
    streams.connect(arn, streams.function(TELLS_CHANGES))
    streams.dynamodb.put_item(TableName=table, Item={"id": {"S": "a"}})
    streams.dynamodb.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
    streams.dynamodb.put_item(TableName=table, Item={"id": {"S": "b"}})
    specification = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    streams.dynamodb.update_table(TableName=table, StreamSpecification=specification)
    other = streams.dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    assert other != arn
    streams.connect(other, streams.function(TELLS_CHANGES))
    streams.dynamodb.put_item(TableName=table, Item={"id": {"S": "c"}})
    assert sorted(streams.heard(2)) == ["INSERT a -", "INSERT c -"]


def test_metrics_of_a_mapping_and_its_function(streams: Streams, aws_client: Any) -> None:
    name, function = streams.stream(), streams.function(TELLS_DATA)
    mapping = streams.connect(
        streams.arn(name),
        function,
        MetricsConfig={"Metrics": ["EventCount"]},
        FilterCriteria={"Filters": [{"Pattern": '{"partitionKey": ["kept"]}'}]},
    )
    streams.put(name, "dropped", "dropped")
    streams.put(name, "kept", "kept")
    assert streams.heard(1) == ["kept"]
    now, pause = datetime.now(UTC), threading.Event()

    def samples(metric: str, **dimension: str) -> float:
        answer = aws_client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimension.items()],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=600,
            Statistics=["Sum", "SampleCount"],
        )
        kind = "SampleCount" if metric == "IteratorAge" else "Sum"
        return float(sum(point[kind] for point in answer["Datapoints"]))

    expected = {"PolledEventCount": 2, "FilteredOutEventCount": 1, "InvokedEventCount": 1}
    for _ in range(200):
        found = {metric: samples(metric, EventSourceMappingUUID=mapping) for metric in expected}
        if found == expected and samples("IteratorAge", FunctionName=function) == 1:
            return
        pause.wait(0.1)
    raise AssertionError(found)


def test_mappings_go_on_after_a_restart(tmp_path: Path) -> None:
    arguments = ("--state-dir", str(tmp_path / "state"))
    name = short_name("stream")
    with Witness() as witness:
        for number in range(2):
            running = start_gateway(*arguments)
            try:
                streams = Streams(partial(client_for, running.url), witness)
                streams.stream(name=name)
                if number == 0:
                    streams.connect(streams.arn(name), streams.function(TELLS_DATA))
                streams.put(name, "a", str(number))
                assert streams.heard(number + 1) == ["0", "1"][: number + 1]
            finally:
                stop_gateway(running)
