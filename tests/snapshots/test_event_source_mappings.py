"""Event source mappings as resources: what is refused, and how functions may be named."""

from __future__ import annotations

import uuid
from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
from .harness.transformers import member, value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")


@api("TestLambdaEventSourceMappings::test_event_source_mapping_exceptions")
def test_event_source_mapping_exceptions(aws, snapshot, create):
    client, unknown = aws.lambda_, str(uuid.UUID(int=1))
    snapshot.match("get_unknown_uuid", refused(client.get_event_source_mapping, UUID=unknown))
    snapshot.match("delete_unknown_uuid", refused(client.delete_event_source_mapping, UUID=unknown))
    snapshot.match("update_unknown_uuid", refused(client.update_event_source_mapping, UUID=unknown, Enabled=False))
    make = client.create_event_source_mapping
    snapshot.match("create_no_event_source_arn", refused(make, FunctionName="doesnotexist"))
    queue = f"arn:{aws.partition}:sqs:{aws.region}:{aws.account_id}:somequeue"
    error = refused(make, FunctionName="doesnotexist", EventSourceArn=queue)
    snapshot.match("create_unknown_params", error)
    error = refused(
        make,
        FunctionName=create()["FunctionName"],
        EventSourceArn=queue,
        DestinationConfig={"OnSuccess": {"Destination": queue}},
    )
    snapshot.match("destination_config_failure", error)


@api("TestLambdaEventSourceMappings::test_create_event_source_validation_kinesis")
def test_a_stream_needs_a_starting_position(aws, snapshot, create):
    kinesis, name, stream = aws.client("kinesis"), create()["FunctionName"], f"scenario-{uuid.uuid4().hex[:10]}"
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    mapping = {"FunctionName": name, "EventSourceArn": arn}
    try:
        error = refused(aws.lambda_.create_event_source_mapping, **mapping)
        snapshot.match("no_starting_position", error)
        error = refused(aws.lambda_.create_event_source_mapping, **mapping, StartingPosition="invalid")
        snapshot.match("invalid_starting_position", error)
    finally:
        kinesis.delete_stream(StreamName=stream)


@pytest.fixture
def mappings(aws):
    """A list: the mappings of the responses in it go when the test ends."""
    made = []
    yield made
    for response in made:
        aws.lambda_.delete_event_source_mapping(UUID=response["UUID"])


@api("TestLambdaEventSourceMappings::test_function_name_variations")
def test_names_of_functions_in_mappings(aws, snapshot, create):
    client, sqs, name = aws.lambda_, aws.client("sqs"), create(Publish=True)["FunctionName"]
    client.create_alias(FunctionName=name, Name="myalias", FunctionVersion="1")
    queue = sqs.create_queue(QueueName=f"scenario-{uuid.uuid4().hex[:10]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    snapshot.transform(member("UUID", "mapping"), value(name, "resource"), value(arn.rpartition(":")[2], "resource"))
    partial_arn, full_arn = f"{aws.account_id}:function:{name}", aws.arn(name)
    try:
        for step, function in (
            ("name_only", name),
            ("partial_arn_latest", f"{partial_arn}:$LATEST"),
            ("partial_arn_version", f"{partial_arn}:1"),
            ("partial_arn_alias", f"{partial_arn}:myalias"),
            ("full_arn_latest", full_arn),
            ("full_arn_version", f"{full_arn}:1"),
            ("full_arn_alias", f"{full_arn}:myalias"),
        ):
            made = client.create_event_source_mapping(FunctionName=function, EventSourceArn=arn)
            snapshot.match(f"{step}_create_esm", made)
            client.delete_event_source_mapping(UUID=made["UUID"])
    finally:
        sqs.delete_queue(QueueUrl=queue)


@api("TestLambdaEventSourceMappings::test_create_event_source_self_managed")
def test_self_managed_kafka(aws, snapshot, create, mappings):
    client, name = aws.lambda_, create()["FunctionName"]
    secret = f"arn:{aws.partition}:secretsmanager:{aws.region}:{aws.account_id}:secret:scenario-AbCdEf"
    snapshot.transform(value(name, "resource"), value("scenario-AbCdEf", "resource"))
    access = {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": secret}]}
    make = client.create_event_source_mapping

    def cluster(*servers, topic="topic"):
        endpoints = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": list(servers)}}
        return {"FunctionName": name, "Topics": [topic], "SelfManagedEventSource": endpoints}

    snapshot.match("missing-source-access-configuration", refused(make, **cluster("kafka:1000")))
    mappings.append(make(**cluster("kafka:1000"), **access))
    snapshot.match("event-source-mapping-default", mappings[-1])
    snapshot.match("duplicate-source", refused(make, **cluster("kafka:1000"), **access))
    made = make(
        **cluster("kafka:1000", topic="topic_2"),
        **access,
        SelfManagedKafkaEventSourceConfig={"ConsumerGroupId": "random_id"},
        StartingPosition="LATEST",
        BatchSize=1,
    )
    mappings.append(made)
    snapshot.match("event-source-mapping-values", made)
    snapshot.match("multiple-duplicate-source", refused(make, **cluster("kafka:1000", "kafka:2000"), **access))
