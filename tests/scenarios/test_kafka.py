"""Topics of a real broker as event sources of a real gateway."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lambda_provider.event_sources.schema_registry import SchemaRegistry, marked

from ..conftest import client_for, short_name, start_gateway, stop_gateway
from .kafka_broker import PASSWORD, USER, Broker, why_not
from .source_mappings import SourceMappings, until
from .witness import TELLS, Witness

pytestmark = [pytest.mark.scenario, pytest.mark.skipif(why_not() is not None, reason=why_not() or "")]

FAILS_ON_BAD = (
    TELLS
    + """
import base64, os
def handler(event, context):
    [(name, records)] = event["records"].items()
    values = [base64.b64decode(each["value"]).decode() for each in records]
    tell(int(os.environ["PORT"]), f"{name}:" + ",".join(values))
    if any(value.startswith("bad") for value in values):
        raise ValueError("on purpose")
"""
)
REPORTS_BAD = (
    TELLS
    + """
import base64, os
def handler(event, context):
    [(name, records)] = event["records"].items()
    values = {each["offset"]: base64.b64decode(each["value"]).decode() for each in records}
    tell(int(os.environ["PORT"]), ",".join(values.values()))
    bad = [offset for offset, value in values.items() if value.startswith("bad")]
    return {"batchItemFailures": [{"itemIdentifier": {"partition": name, "offset": offset}} for offset in bad]}
"""
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that the tests of this module share; each has topics of its own."""
    running = Broker(tmp_path_factory.mktemp("kafka"))
    yield running
    running.stop()


class Mappings(SourceMappings):
    def __init__(self, client: Callable[..., Any], broker: Broker, witness: Witness) -> None:
        super().__init__(client, witness)
        self.broker = broker

    def connect(
        self,
        topic: str,
        function: str,
        *,
        servers: str | None = None,
        access: list[Any] | None = None,
        **parameters: Any,
    ) -> str:
        """A mapping's UUID, once it is enabled."""
        network = [
            {"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"},
            {"Type": "VPC_SECURITY_GROUP", "URI": "security_group:sg-1"},
        ]
        if "Queue" not in str(parameters.get("SelfManagedKafkaEventSourceConfig")):
            parameters = {"StartingPosition": "TRIM_HORIZON", **parameters}
        return self.make(
            function,
            Topics=[topic],
            SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [servers or self.broker.plain]}},
            SourceAccessConfigurations=access or network,
            **parameters,
        )


@pytest.fixture
def mappings(aws_client: Callable[..., Any], broker: Broker) -> Iterator[Mappings]:
    with Witness() as witness:
        found = Mappings(aws_client, broker, witness)
        yield found
        found.end()


def values_of(events: list[str]) -> list[str]:
    """The values of all records, in the order in which functions got them."""
    return [
        base64.b64decode(record["value"]).decode()
        for event in events
        for records in json.loads(event)["records"].values()
        for record in records
    ]


def test_a_record_reaches_the_function_as_aws_writes_it(broker: Broker, mappings: Mappings) -> None:
    topic = broker.topic(short_name("topic"))
    broker.send(topic, ["Hello"], key="k", headers=[("headerKey", b"header\xffValue")], timestamp_ms=1_545_084_650_987)
    broker.send(topic, [None], timestamp_ms=1_545_084_650_988)

    mappings.connect(topic, mappings.function())

    [event] = mappings.witness.until(len)
    record = {"topic": topic, "partition": 0, "timestampType": "CREATE_TIME"}
    assert json.loads(event) == {
        "eventSource": "SelfManagedKafka",
        "bootstrapServers": broker.plain,
        "records": {
            f"{topic}-0": [
                {
                    **record,
                    "offset": 0,
                    "timestamp": 1_545_084_650_987,
                    "key": "aw==",
                    "value": "SGVsbG8=",
                    "headers": [{"headerKey": [104, 101, 97, 100, 101, 114, -1, 86, 97, 108, 117, 101]}],
                },
                {**record, "offset": 1, "timestamp": 1_545_084_650_988, "headers": []},
            ]
        },
    }


def test_partitions_keep_their_order_and_a_failing_one_holds_up_no_other(broker: Broker, mappings: Mappings) -> None:
    topic = broker.topic(short_name("topic"), 3)
    for partition in range(3):
        values = [f"{partition}-{number}" for number in range(40)]
        broker.send(topic, (["bad"] if partition == 1 else []) + values, partition=partition)

    mappings.connect(topic, mappings.function(FAILS_ON_BAD), BatchSize=10)

    heard = mappings.witness.until(
        lambda heard: (
            len([each for each in heard if f"{topic}-1:" not in each]) >= 8
            and len([each for each in heard if f"{topic}-1:" in each]) >= 2
        )
    )
    for partition in (0, 2):
        name = f"{topic}-{partition}:"
        batches = [each.removeprefix(name).split(",") for each in heard if each.startswith(name)]
        assert [len(batch) for batch in batches] == [10] * 4
        assert [value for batch in batches for value in batch] == [f"{partition}-{number}" for number in range(40)]
    failing = [each for each in heard if each.startswith(f"{topic}-1:")]
    assert {each.count(",") for each in failing} == {9}, "the same batch comes again, and nothing behind it"


def test_positions_are_committed_when_a_batch_is_processed(broker: Broker, mappings: Mappings) -> None:
    topic, group = broker.topic(short_name("topic")), short_name("group")
    uuid = mappings.connect(topic, mappings.function(), SelfManagedKafkaEventSourceConfig={"ConsumerGroupId": group})
    broker.send(topic, ["a", "b", "c"])
    mappings.witness.until(lambda heard: len(values_of(heard)) == 3)

    mappings.update(uuid, Enabled=False)
    # What comes while nobody polls is there for the next instance, which begins when the first has left the group.
    broker.send(topic, ["d"])
    mappings.update(uuid, Enabled=True)

    assert values_of(mappings.witness.until(lambda heard: len(values_of(heard)) >= 4)) == ["a", "b", "c", "d"]
    broker.until_position(group, topic, 4)
    assert mappings.get(uuid)["LastProcessingResult"] == "OK"


def test_filters_keep_values_by_their_json(broker: Broker, mappings: Mappings) -> None:
    topic = broker.topic(short_name("topic"))
    patterns = [{"Pattern": json.dumps({"value": {"device": [{"prefix": "AB"}]}})}]
    broker.send(topic, ['{"device":"AB1"}', '{"device":"CD1"}', "AB", '{"device":"AB2"}', b"\xff"])
    broker.send(topic, ['{"device":"AB3"}'])

    mappings.connect(topic, mappings.function(), FilterCriteria={"Filters": patterns})

    heard = mappings.witness.until(lambda heard: len(values_of(heard)) >= 3)
    assert values_of(heard) == [f'{{"device":"AB{number}"}}' for number in (1, 2, 3)]


def test_a_batch_waits_for_its_window(broker: Broker, mappings: Mappings) -> None:
    topic = broker.topic(short_name("topic"))
    mappings.connect(topic, mappings.function(), MaximumBatchingWindowInSeconds=5)
    broker.send(topic, ["first"])
    broker.send(topic, ["second"])
    broker.send(topic, ["third"])

    [event] = mappings.witness.until(len)
    assert values_of([event]) == ["first", "second", "third"]


def test_starting_at_a_moment_leaves_out_what_was_before(broker: Broker, mappings: Mappings) -> None:
    topic = broker.topic(short_name("topic"))
    broker.send(topic, ["old"], timestamp_ms=1_700_000_000_000)
    broker.send(topic, ["new"], timestamp_ms=1_700_000_100_000)

    mappings.connect(
        topic, mappings.function(), StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=1_700_000_050
    )

    assert values_of(mappings.witness.until(len)) == ["new"]


def test_latest_begins_at_the_end(broker: Broker, mappings: Mappings) -> None:
    topic, group = broker.topic(short_name("topic")), short_name("group")
    broker.send(topic, ["old", "older"])
    config = {"ConsumerGroupId": group}
    mappings.connect(topic, mappings.function(), StartingPosition="LATEST", SelfManagedKafkaEventSourceConfig=config)
    broker.until_position(group, topic, 2)

    broker.send(topic, ["new"])

    assert values_of(mappings.witness.until(len)) == ["new"]


def test_only_records_that_are_reported_come_again(broker: Broker, mappings: Mappings) -> None:
    topic = broker.topic(short_name("topic"))
    broker.send(topic, ["a", "bad 1", "b", "bad 2"])

    mappings.connect(topic, mappings.function(REPORTS_BAD), FunctionResponseTypes=["ReportBatchItemFailures"])

    heard = mappings.witness.until(lambda heard: len(heard) >= 2)
    assert heard[:2] == ["a,bad 1,b,bad 2", "bad 1,bad 2"]


def test_what_fails_is_split_and_then_written_to_a_topic(broker: Broker, mappings: Mappings) -> None:
    topic, failures = broker.topic(short_name("topic")), broker.topic(short_name("failures"))
    broker.send(topic, ["a", "bad", "b"], key="k")

    mappings.connect(
        topic,
        mappings.function(FAILS_ON_BAD),
        MaximumRetryAttempts=0,
        BisectBatchOnFunctionError=True,
        DestinationConfig={"OnFailure": {"Destination": f"kafka://{failures}"}},
        ProvisionedPollerConfig={"MinimumPollers": 1, "MaximumPollers": 2},
    )

    assert mappings.witness.until(lambda heard: len(heard) >= 5) == [
        f"{topic}-0:{values}" for values in ("a,bad,b", "a", "bad,b", "bad", "b")
    ]
    [message] = broker.read(failures, 1)
    document = json.loads(message.value())
    assert message.key() == b"k"
    assert document["requestContext"]["condition"] == "RetriesExhausted"
    assert document["requestContext"]["approximateInvokeCount"] == 3
    assert document["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert document["KafkaBatchInfo"]["recordInfo"]["offset"] == "1"
    [record] = document["payload"]["records"][f"{topic}-0"]
    assert base64.b64decode(record["value"]) == b"bad"


def test_what_fails_is_told_to_a_queue(broker: Broker, mappings: Mappings, aws_client: Callable[..., Any]) -> None:
    topic = broker.topic(short_name("topic"))
    sqs = aws_client("sqs")
    url = sqs.create_queue(QueueName=short_name("failures"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    broker.send(topic, ["bad", "b"], timestamp_ms=1_700_000_000_123)

    mappings.connect(
        topic,
        mappings.function(FAILS_ON_BAD),
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )

    [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    document = json.loads(message["Body"])
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert document["requestContext"]["approximateInvokeCount"] == 2
    info = document["KafkaBatchInfo"]
    assert info.pop("payloadSize") > 100
    assert info == {
        "batchSize": 2,
        "bootstrapServers": broker.plain,
        "recordsInfo": {
            f"{topic}-0": {
                "firstRecordOffset": "0",
                "lastRecordOffset": "1",
                "firstRecordTimestamp": "2023-11-14T22:13:20.123Z",
                "lastRecordTimestamp": "2023-11-14T22:13:20.123Z",
            }
        },
    }
    sqs.delete_queue(QueueUrl=url)


@pytest.mark.parametrize(
    ("type_", "servers"),
    [
        ("BASIC_AUTH", "sasl"),
        ("BASIC_AUTH", "sasl_tls"),
        ("SASL_SCRAM_256_AUTH", "sasl_tls"),
        ("SASL_SCRAM_512_AUTH", "sasl_tls"),
        ("CLIENT_CERTIFICATE_TLS_AUTH", "mtls"),
    ],
)
def test_secrets_open_the_cluster(broker: Broker, mappings: Mappings, type_: str, servers: str) -> None:
    topic = broker.topic(short_name("topic"))
    broker.send(topic, ["inside"])
    secret = {"username": USER, "password": PASSWORD}
    if servers == "mtls":
        found = broker.certificates
        secret = {"certificate": found.client, "privateKey": found.client_key, "privateKeyPassword": PASSWORD}
    access = [{"Type": type_, "URI": mappings.secret(**secret)}]
    if servers != "sasl":
        root = mappings.secret(certificate=broker.certificates.authority)
        access.append({"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": root})

    mappings.connect(topic, mappings.function(), servers=getattr(broker, servers), access=access)

    assert values_of(mappings.witness.until(len)) == ["inside"]


def test_why_a_cluster_does_not_let_us_in_is_told(broker: Broker, mappings: Mappings) -> None:
    topic, function = broker.topic(short_name("topic")), mappings.function()
    wrong = mappings.secret(username=USER, password="guessed")
    right = mappings.secret(username=USER, password=PASSWORD)
    known = {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": mappings.secret(certificate=broker.certificates.authority)}
    cases = {
        "PROBLEM: SASL authentication failed.": (broker.sasl, [{"Type": "SASL_SCRAM_512_AUTH", "URI": wrong}]),
        "PROBLEM: Lambda failed to authenticate server.": (
            broker.sasl_tls,
            [{"Type": "SASL_SCRAM_512_AUTH", "URI": right}],
        ),
        "PROBLEM: Server failed to authenticate Lambda.": (broker.mtls, [known]),
    }
    for number, (result, (servers, access)) in enumerate(cases.items()):
        name = broker.topic(f"{topic}-{number}")
        uuid = mappings.connect(name, function, servers=servers, access=access)
        found = mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] != "No records processed")
        assert found["LastProcessingResult"] == result
        assert found["StateTransitionReason"] == "EVENT_SOURCE_AUTHN_ERROR"


def test_a_topic_that_is_made_later_is_read(broker: Broker, mappings: Mappings) -> None:
    topic = short_name("topic")
    uuid = mappings.connect(topic, mappings.function())
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "ESM_CONFIG_NOT_VALID")

    broker.topic(topic)
    broker.send(topic, ["late"])

    assert values_of(mappings.witness.until(len)) == ["late"]
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "USER_INITIATED")


def test_msk_clusters_are_where_the_setting_says(broker: Broker, own_gateway: Callable[..., Any]) -> None:
    gateway = own_gateway(LAMBDA_MSK_ENDPOINTS=f"orders=kafka://{broker.plain}")
    topic = broker.topic(short_name("topic"))
    broker.send(topic, ["a"])
    source = {"Topics": [topic], "StartingPosition": "TRIM_HORIZON"}
    cluster = "arn:aws:kafka:us-east-1:000000000000:cluster/{}/6d1e0b4c-aaaa-bbbb-cccc-1234567890ab-1"
    with Witness() as witness:
        mappings = SourceMappings(lambda service: client_for(gateway.url, service), witness)
        function = mappings.function()
        mappings.make(function, EventSourceArn=cluster.format("orders"), **source)
        [event] = mappings.events(1)
        assert event["eventSource"] == "aws:kafka"
        assert event["eventSourceArn"] == cluster.format("orders")
        other = mappings.make(function, EventSourceArn=cluster.format("bills"), **source)
        found = mappings.until(other, lambda mapping: mapping["StateTransitionReason"] != "USER_INITIATED")
        assert "LAMBDA_MSK_ENDPOINTS" in found["StateTransitionReason"]


class Told:
    """What a mapping tells of itself in CloudWatch."""

    def __init__(self, client: Callable[..., Any], uuid: str, group: str) -> None:
        self.logs, self.cloudwatch = client("logs"), client("cloudwatch")
        self.uuid, self.group = uuid, group

    def lines(self) -> list[dict[str, Any]]:
        """Its log, in the streams that are its own."""
        found: list[dict[str, Any]] = []
        with contextlib.suppress(self.logs.exceptions.ResourceNotFoundException):
            for stream in self.logs.describe_log_streams(logGroupName=self.group)["logStreams"]:
                if re.fullmatch(rf"\d{{4}}/\d\d/\d\d/{self.uuid}", name := stream["logStreamName"]):
                    answer = self.logs.get_log_events(logGroupName=self.group, logStreamName=name, startFromHead=True)
                    found += [json.loads(event["message"]) for event in answer["events"]]
        return found

    def until_line(self, type_: str, **record: Any) -> list[dict[str, Any]]:
        """Its log, once it has a line of a type that says this."""
        return list(
            until(
                self.lines,
                lambda lines: any(
                    type_of(each) == type_ and record.items() <= each["record"].items() for each in lines
                ),
            )
        )

    def values(self, metric: str, statistic: str = "Sum") -> list[float]:
        """What is told of a metric; gateways may be hours ahead."""
        now = datetime.now(UTC)
        answer = self.cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "EventSourceMappingUUID", "Value": self.uuid}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=5),
            Period=21_600,
            Statistics=[statistic],
        )
        return [point[statistic] for point in answer["Datapoints"]]


def type_of(line: dict[str, Any]) -> str:
    return str(line["type"].removeprefix("eventSourceMapping."))


def test_a_mapping_tells_of_itself_in_logs_and_metrics(broker: Broker, own_gateway: Callable[..., Any]) -> None:
    gateway = own_gateway(LAMBDA_CLOCK_RATE="60")
    topic, group = broker.topic(short_name("topic")), short_name("logs")
    with Witness() as witness:
        client = functools.partial(client_for, gateway.url)
        mappings = Mappings(client, broker, witness)
        function = mappings.function(FAILS_ON_BAD)
        mappings.lambda_.update_function_configuration(FunctionName=function, LoggingConfig={"LogGroup": group})
        uuid = mappings.connect(
            topic,
            function,
            MaximumRetryAttempts=0,
            ProvisionedPollerConfig={"MinimumPollers": 1, "MaximumPollers": 1},
            LoggingConfig={"SystemLogLevel": "INFO"},
            MetricsConfig={"Metrics": ["EventCount", "ErrorCount", "KafkaMetrics"]},
        )
        told = Told(client, uuid, group)
        broker.send(topic, ["bad"])
        lines = told.until_line("recordsDiscarded")
        by_type = {type_of(line): line for line in lines}
        assert {type_: line["level"] for type_, line in by_type.items()} == {
            "connecting": "INFO",
            "connected": "INFO",
            "partitionsAssigned": "INFO",
            "functionFailed": "WARN",
            "recordsDiscarded": "WARN",
        }
        assert len(lines) == len(by_type)
        assert {line["eventSourceMappingArn"] for line in lines} == {mappings.get(uuid)["EventSourceMappingArn"]}
        assert by_type["functionFailed"]["record"]["functionError"] == "Unhandled"
        assert by_type["recordsDiscarded"]["record"]["partition"] == f"{topic}-0"

        mappings.update(uuid, LoggingConfig={"SystemLogLevel": "DEBUG"})
        broker.send(topic, ["good"])
        types = [type_of(line) for line in told.until_line("offsetsCommitted", offsets={f"{topic}-0": 2})]
        assert {"recordsPolled", "functionInvoked", "batchProcessed"} <= set(types)
        assert types.count("connecting") == 1, "another level stops nothing"

        mappings.update(uuid, LoggingConfig={})
        lines = told.lines()
        broker.send(topic, ["quiet"])
        until(lambda: told.values("InvokedEventCount"), lambda values: values == [3.0])
        until(lambda: told.values("MaxOffsetLag", "Minimum"), lambda values: values == [0.0])
        assert told.lines() == lines
        expected = {
            "PolledEventCount": 3,
            "FailedInvokeEventCount": 1,
            "DroppedEventCount": 1,
            "InvokeErrorCount": 1,
        }
        assert {metric: sum(told.values(metric)) for metric in expected} == expected


def test_a_killed_gateway_goes_on_where_it_was(broker: Broker, tmp_path: Path) -> None:
    topic = broker.topic(short_name("topic"))
    with Witness() as witness:
        gateway = start_gateway("--state-dir", str(tmp_path))
        try:
            mappings = Mappings(lambda service: client_for(gateway.url, service), broker, witness)
            mappings.connect(topic, mappings.function(), SelfManagedKafkaEventSourceConfig={"ConsumerGroupId": topic})
            broker.send(topic, ["a", "b"])
            witness.until(lambda heard: len(values_of(heard)) == 2)
            broker.until_position(topic, topic, 2)
        finally:
            gateway.process.kill()
            stop_gateway(gateway)
        broker.send(topic, ["c"])
        gateway = start_gateway("--state-dir", str(tmp_path))
        try:
            assert values_of(witness.until(lambda heard: len(values_of(heard)) > 2)) == ["a", "b", "c"]
        finally:
            stop_gateway(gateway)


def test_another_member_of_the_group_takes_partitions_and_nothing_is_lost(broker: Broker, mappings: Mappings) -> None:
    from confluent_kafka import Consumer

    topic, group = broker.topic(short_name("topic"), 2), short_name("group")
    mappings.connect(topic, mappings.function(), SelfManagedKafkaEventSourceConfig={"ConsumerGroupId": group})
    broker.send(topic, ["0"], partition=0)
    broker.send(topic, ["1"], partition=1)
    mappings.witness.until(lambda heard: len(values_of(heard)) == 2)
    other = Consumer({"bootstrap.servers": broker.plain, "group.id": group, "enable.auto.commit": False})
    other.subscribe([topic])
    until(lambda: other.poll(0.2) or other.assignment(), bool)
    [theirs] = other.assignment()
    assert other.committed([theirs], timeout=10)[0].offset == 1, "what was in flight is committed before they get it"

    for partition in (0, 1):
        broker.send(topic, [f"while away {partition}"], partition=partition)
    ours = f"while away {1 - theirs.partition}"
    assert values_of(mappings.witness.until(lambda heard: len(values_of(heard)) > 2))[2:] == [ours]
    other.close()  # It has committed nothing: what it had comes to the function.

    heard = mappings.witness.until(lambda heard: len(values_of(heard)) >= 4)
    assert sorted(values_of(heard)) == ["0", "1", "while away 0", "while away 1"]


def test_a_topic_in_queue_mode_gives_records_one_by_one(broker: Broker, mappings: Mappings) -> None:
    topic, group = broker.topic(short_name("topic"), 2), short_name("group")
    broker.share_from_the_beginning(group)
    broker.send(topic, ["a", "bad", "b"])
    broker.send(topic, ["c"], partition=1)

    uuid = mappings.connect(
        topic,
        mappings.function(FAILS_ON_BAD),
        BatchSize=1,
        SelfManagedKafkaEventSourceConfig={"ConsumerGroupId": group, "ConsumptionMode": "Queue"},
    )

    # What fails comes again, as often as the group's group.share.delivery.count.limit says; nothing else does or waits for it.
    expected = [f"{topic}-0:a", f"{topic}-0:b", *[f"{topic}-0:bad"] * 5, f"{topic}-1:c"]
    mappings.witness.until(lambda heard: len(heard) >= len(expected))
    broker.send(topic, ["d"])
    assert sorted(mappings.witness.until(lambda heard: len(heard) > len(expected))) == sorted(
        [*expected, f"{topic}-0:d"]
    )
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "OK")


def test_records_are_validated_with_a_schema_registry(broker: Broker, mappings: Mappings) -> None:
    topic, failures = broker.topic(short_name("topic")), broker.topic(short_name("failures"))
    schema = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]}
    with SchemaRegistry() as registry:
        registry.schemas[1] = {"schema": json.dumps(schema)}
        broker.send(topic, [marked(1, b"\x04"), b"no mark", marked(1, b"\x06")])

        mappings.connect(
            topic,
            mappings.function(),
            DestinationConfig={"OnFailure": {"Destination": f"kafka://{failures}"}},
            ProvisionedPollerConfig={"MinimumPollers": 1, "MaximumPollers": 1},
            SelfManagedKafkaEventSourceConfig={
                "SchemaRegistryConfig": {
                    "SchemaRegistryURI": registry.url,
                    "EventRecordFormat": "JSON",
                    "SchemaValidationConfigs": [{"Attribute": "VALUE"}],
                }
            },
        )

        heard = mappings.witness.until(lambda heard: len(values_of(heard)) >= 2)
        [message] = broker.read(failures, 1)
    assert values_of(heard) == ['{"id":2}', '{"id":3}']
    [record, *_] = json.loads(heard[0])["records"][f"{topic}-0"]
    assert record["valueSchemaMetadata"] == {"dataFormat": "AVRO", "schemaId": "1"}
    [record] = json.loads(message.value())["payload"]["records"][f"{topic}-0"]
    assert base64.b64decode(record["value"]) == b"no mark"


def test_a_broker_that_was_away_is_read_on(broker: Broker, mappings: Mappings) -> None:
    topic = broker.topic(short_name("topic"))
    uuid = mappings.connect(topic, mappings.function())
    broker.send(topic, ["before"])
    mappings.witness.until(len)
    broker.until_position(uuid, topic, 1)

    broker.stop()
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"].startswith("PROBLEM: Connection error."))
    broker.start()
    broker.send(topic, ["after"])

    assert values_of(mappings.witness.until(lambda heard: len(values_of(heard)) >= 2)) == ["before", "after"]
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "OK")


def test_a_gateway_stops_in_seconds_while_the_broker_is_away(broker: Broker) -> None:
    with Witness() as witness:
        gateway = start_gateway()
        try:
            mappings = Mappings(lambda service: client_for(gateway.url, service), broker, witness)
            topic = broker.topic(short_name("topic"))
            mappings.connect(topic, mappings.function())
            broker.send(topic, ["a"])
            witness.until(len)
            broker.stop()
        finally:
            status = stop_gateway(gateway, timeout_s=10)
            if broker.stopped:
                broker.start()
    assert status == 0
