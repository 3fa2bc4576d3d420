"""Moto's streams as we change them, in a process of their own: what is changed stays changed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

SETUP = """
import json, threading, time
from lambda_provider.hosts import moto_activity

reports = []
moto_activity.install("cloudformation", lambda arn, delay_s=0.0: reports.append(arn.rpartition("/")[2][:1]))
from moto.core.utils import utcnow
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodbstreams.models import dynamodbstreams_backends
from moto.kinesis.models import kinesis_backends

kinesis = kinesis_backends["000000000000"]["us-east-1"]
dynamodb = dynamodb_backends["000000000000"]["eu-west-1"]
streams = dynamodbstreams_backends["000000000000"]["eu-west-1"]


def put(*keys):
    return [kinesis.put_record(None, "s", key, "", "ZGF0YQ==") for key in keys]


def read(shard, kind="TRIM_HORIZON", number=None, at=None, limit=None):
    iterator = kinesis.get_shard_iterator(None, "s", shard, kind, number, at)
    following, records, _ = kinesis.get_records(None, iterator, limit)
    return [record.partition_key for record in records], following is None


def create_stream(shards=1):
    kinesis.create_stream("s", shards)


def create_table(view="NEW_AND_OLD_IMAGES"):
    return dynamodb.create_table(
        "t",
        schema=[{"AttributeName": "id", "KeyType": "HASH"}],
        attr=[{"AttributeName": "id", "AttributeType": "S"}],
        throughput=None, indexes=[], global_indexes=[], billing_mode="PAY_PER_REQUEST",
        streams={"StreamEnabled": True, "StreamViewType": view},
        sse_specification=None, tags=[], deletion_protection_enabled=False, warm_throughput=None,
    )


def write(item):
    dynamodb.put_item("t", item)


def changes(arn, limit=100):
    shard = streams.describe_stream(arn)["Shards"][0]["ShardId"]
    answer = streams.get_records(streams.get_shard_iterator(arn, shard, "TRIM_HORIZON").arn, limit)
    return answer["Records"], "NextShardIterator" not in answer
"""


def run(code: str) -> object:
    """What the code leaves in `result`."""
    text = SETUP + textwrap.dedent(code) + "\nprint(json.dumps(result, default=str))\n"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_parent_keeps_its_records_and_ends_and_its_children_get_what_comes() -> None:
    result = run(
        """
        create_stream()
        put("a", "b")
        kinesis.split_shard(None, "s", "shardId-000000000000", str(2**127))
        shards = {shard for _, shard in put("c", "d", "e", "f")}
        result = [
            read("shardId-000000000000"),
            sorted(shards),
            sorted(read("shardId-000000000001")[0] + read("shardId-000000000002")[0]),
            read("shardId-000000000001")[1],
        ]
        """
    )
    children = ["shardId-000000000001", "shardId-000000000002"]
    assert result == [[["a", "b"], True], children, ["c", "d", "e", "f"], False]


def test_merged_shard_begins_empty() -> None:
    result = run(
        """
        create_stream(2)
        put("a", "b", "c", "d")
        kinesis.merge_shards(None, "s", "shardId-000000000000", "shardId-000000000001")
        put("e")
        result = [
            sorted(read("shardId-000000000000")[0] + read("shardId-000000000001")[0]), read("shardId-000000000002")
        ]
        """
    )
    assert result == [["a", "b", "c", "d"], [["e"], False]]


def test_number_of_shards_can_be_changed() -> None:
    result = run(
        """
        create_stream(2)
        put(*"abcdefgh")
        kinesis.update_shard_count(None, "s", 3)
        open_shards = [shard.shard_id for shard in kinesis.streams["s"].shards.values() if shard.is_open]
        put(*"ijklmnop")
        everything = [key for shard in list(kinesis.streams["s"].shards) for key in read(shard)[0]]
        result = [len(open_shards), sorted(everything)]
        """
    )
    assert result == [3, list("abcdefghijklmnop")]


def test_numbers_are_those_of_aws_and_rise_from_parent_to_child() -> None:
    first, second, third = run(
        """
        create_stream()
        first, second = (number for number, _ in put("a", "b"))
        kinesis.split_shard(None, "s", "shardId-000000000000", str(2**127))
        ((third, _),) = put("c")
        result = [first, second, third]
        """
    )  # type: ignore[misc]
    assert {len(first), len(second), len(third)} == {56}
    assert int(first) < int(second) < int(third)


def test_iterators_begin_where_they_say() -> None:
    result = run(
        """
        create_stream()
        ((first, _),) = put("a")
        time.sleep(0.01)
        moment = time.time()
        put("b", "c")
        shard = "shardId-000000000000"
        result = [
            read(shard, "AFTER_SEQUENCE_NUMBER", first)[0],
            read(shard, "AT_SEQUENCE_NUMBER", first)[0],
            read(shard, "AT_TIMESTAMP", at=moment)[0],
            read(shard, "AT_TIMESTAMP", at=0)[0],
            read(shard, "LATEST")[0],
            read(shard, limit=2)[0],
        ]
        """
    )
    assert result == [["b", "c"], ["a", "b", "c"], ["b", "c"], ["a", "b", "c"], [], ["a", "b"]]


def test_answer_is_bounded_and_says_that_there_is_more() -> None:
    result = run(
        """
        create_stream()
        for number in range(12):
            kinesis.put_record(None, "s", str(number), "", "A" * 4 * 1024 * 1024 if number < 11 else "AAAA")
        iterator = kinesis.get_shard_iterator(None, "s", "shardId-000000000000", "TRIM_HORIZON", None, None)
        result = []
        while True:
            iterator, records, behind_ms = kinesis.get_records(None, iterator, 100)
            result.append((len(records), behind_ms > 0))
            if not behind_ms:
                break
        """
    )
    assert result == [[3, True], [3, True], [3, True], [3, False]]


def test_threads_get_numbers_of_their_own() -> None:
    result = run(
        """
        create_stream()
        threads = [threading.Thread(target=put, args=["k"] * 200) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        result = len(read("shardId-000000000000")[0])
        """
    )
    assert result == 1600


def test_what_comes_and_what_ends_is_reported() -> None:
    result = run(
        """
        create_stream()
        put("a")
        kinesis.split_shard(None, "s", "shardId-000000000000", str(2**127))
        kinesis.delete_stream(None, "s")
        result = reports
        """
    )
    assert result == ["s", "s", "s"]


def test_consumer_has_the_moment_of_its_registration() -> None:
    arn = run(
        """
        create_stream()
        result = kinesis.register_stream_consumer(kinesis.streams["s"].arn, "c").consumer_arn
        """
    )
    assert str(arn).rpartition(":")[0].endswith(":stream/s/consumer/c")


# Tables


def test_records_of_a_table_are_those_of_aws() -> None:
    (record,) = run(
        """
        table = create_table()
        write({"id": {"S": "id_value_1"}, "presentKey": {"S": "presentValue"}})
        result = changes(table.stream_shard.stream_arn)[0]
        """
    )  # type: ignore[misc]
    assert record["eventVersion"] == "1.1"
    assert record["awsRegion"] == "eu-west-1"
    assert record["dynamodb"]["SizeBytes"] == 46  # recorded: test_dynamodb_event_filter[content_filter_type]


def test_size_counts_names_and_values() -> None:
    sizes = run(
        """
        from lambda_provider.hosts.moto_table_streams import _size
        values = [
            {"N": "42"}, {"N": "-123.4"}, {"N": "0"}, {"B": "Zm9vYmFy"}, {"BOOL": True}, {"NULL": True},
            {"SS": ["a", "bc"]}, {"L": [{"S": "ab"}, {"N": "7"}]}, {"M": {"n": {"N": "42"}}},
        ]
        result = [_size(value) for value in values]
        """
    )
    assert sizes == [2, 4, 2, 6, 1, 1, 3, 9, 7]


def test_write_that_changes_nothing_makes_no_record() -> None:
    names = run(
        """
        table = create_table()
        for _ in range(2):
            write({"id": {"S": "x"}, "n": {"N": "1"}})
        write({"id": {"S": "x"}, "n": {"N": "2"}})
        dynamodb.delete_item("t", {"id": {"S": "x"}})
        result = [record["eventName"] for record in changes(table.stream_shard.stream_arn)[0]]
        """
    )
    assert names == ["INSERT", "MODIFY", "REMOVE"]


def test_update_that_makes_an_item_makes_one_record() -> None:
    result = run(
        """
        table = create_table()
        dynamodb.update_item(
            "t", {"id": {"S": "x"}}, update_expression="SET n = :n", condition_expression=None,
            expression_attribute_names={}, expression_attribute_values={":n": {"N": "1"}},
        )
        result = [
            (record["eventName"], record["dynamodb"]["NewImage"]) for record in changes(table.stream_shard.stream_arn)[0]
        ]
        """
    )
    assert result == [["INSERT", {"id": {"S": "x"}, "n": {"N": "1"}}]]


def test_transaction_that_fails_makes_no_record() -> None:
    names = run(
        """
        table = create_table()
        item = lambda id_, **more: {"Put": {"TableName": "t", "Item": {"id": {"S": id_}}, **more}}
        try:
            dynamodb.transact_write_items([item("x"), item("y", ConditionExpression="attribute_exists(id)")])
        except Exception as error:
            failed = type(error).__name__
        dynamodb.transact_write_items([item("a"), item("b")])
        records = changes(table.stream_shard.stream_arn)[0]
        result = [failed, [record["dynamodb"]["Keys"]["id"]["S"] for record in records]]
        """
    )
    assert names == ["TransactionCanceledException", ["a", "b"]]


def test_stream_that_was_disabled_is_read_to_its_end_and_another_begins() -> None:
    result = run(
        """
        table = create_table("NEW_IMAGE")
        first = table.stream_shard.stream_arn
        write({"id": {"S": "x"}})
        dynamodb.update_table_streams(table, {"StreamEnabled": False})
        write({"id": {"S": "nobody sees this"}})
        dynamodb.update_table_streams(table, {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
        second = table.stream_shard.stream_arn
        write({"id": {"S": "y"}})
        keys = lambda arn: ([record["dynamodb"]["Keys"]["id"]["S"] for record in changes(arn)[0]], changes(arn)[1])
        described = [streams.describe_stream(arn) for arn in (first, second)]
        result = [keys(first), keys(second), [(d["StreamStatus"], d["StreamViewType"]) for d in described]]
        """
    )
    assert result == [[["x"], True], [["y"], False], [["DISABLED", "NEW_IMAGE"], ["ENABLED", "KEYS_ONLY"]]]


def test_stream_of_a_table_that_was_deleted_is_read_to_its_end() -> None:
    result = run(
        """
        table = create_table()
        arn = table.stream_shard.stream_arn
        write({"id": {"S": "x"}})
        dynamodb.delete_table("t")
        other = create_table()
        records, ended = changes(arn)
        result = [len(records), ended, changes(other.stream_shard.stream_arn)]
        """
    )
    assert result == [1, True, [[], False]]


def test_stream_that_never_was_is_not_there() -> None:
    result = run(
        """
        table = create_table()
        try:
            streams.describe_stream(table.stream_shard.stream_arn + "1")
        except Exception as error:
            result = type(error).__name__
        """
    )
    assert result == "ResourceNotFoundException"
