"""Event source mappings as resources: what is refused, how they live, and how functions may be named."""

from __future__ import annotations

import json
import threading
import uuid
from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
from .harness.transformers import member, value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")
sqs = partial(recorded, "lambda_integration_sqs.json")
kinesis = partial(recorded, "lambda_integration_kinesis.json")

MOVING = ("Creating", "Enabling", "Disabling", "Updating", "Deleting")


def settled(aws, made):
    """The mapping when nothing is on its way any more; None if it is gone."""
    pause = threading.Event()
    while True:
        try:
            mapping = aws.lambda_.get_event_source_mapping(UUID=made["UUID"])
        except aws.lambda_.exceptions.ResourceNotFoundException:
            return None
        if mapping["State"] not in MOVING:
            return mapping
        pause.wait(2 if aws.is_aws else 0.05)


@pytest.fixture
def mappings(aws):
    """A list: the mappings of the responses in it go when the test ends."""
    made = []
    yield made
    for response in made:
        if settled(aws, response):
            aws.lambda_.delete_event_source_mapping(UUID=response["UUID"])


@pytest.fixture
def queue(aws):
    """The ARN of a queue of one's own; `queue(".fifo")` of a FIFO queue."""
    client, urls = aws.client("sqs"), []

    def make(suffix="", **attributes):
        if suffix == ".fifo":
            attributes["FifoQueue"] = "true"
        name = f"scenario-{uuid.uuid4().hex[:10]}{suffix}"
        urls.append(client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        answer = client.get_queue_attributes(QueueUrl=urls[-1], AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]

    yield make
    for url in urls:
        client.delete_queue(QueueUrl=url)


@pytest.fixture
def stream(aws):
    """The ARN of a Kinesis stream of one's own."""
    client, name = aws.client("kinesis"), f"scenario-{uuid.uuid4().hex[:10]}"
    client.create_stream(StreamName=name, ShardCount=1)
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    yield client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    client.delete_stream(StreamName=name, EnforceConsumerDeletion=True)


@pytest.fixture
def table_stream(aws):
    """The ARN of the stream of a DynamoDB table of one's own."""
    client, name = aws.client("dynamodb"), f"scenario-{uuid.uuid4().hex[:10]}"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    yield client.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    client.delete_table(TableName=name)


def names(snapshot, *arns):
    """Write placeholders for what these ARNs end in, and for UUIDs of mappings."""
    snapshot.transform(member("UUID", "mapping"), *(value(arn.rpartition(":")[2], "resource") for arn in arns))


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
def test_a_stream_needs_a_starting_position(aws, snapshot, create, stream):
    mapping = {"FunctionName": create()["FunctionName"], "EventSourceArn": stream}
    error = refused(aws.lambda_.create_event_source_mapping, **mapping)
    snapshot.match("no_starting_position", error)
    error = refused(aws.lambda_.create_event_source_mapping, **mapping, StartingPosition="invalid")
    snapshot.match("invalid_starting_position", error)


def lifecycle_mapping(aws, snapshot, function, table_stream, failures):
    names(snapshot, failures)
    snapshot.transform(value(table_stream.split("/")[1], "resource"), value(table_stream.split("/")[3], "resource"))
    return aws.lambda_.create_event_source_mapping(
        FunctionName=function,
        EventSourceArn=table_stream,
        DestinationConfig={"OnFailure": {"Destination": failures}},
        BatchSize=1,
        StartingPosition="TRIM_HORIZON",
        MaximumBatchingWindowInSeconds=1,
        MaximumRetryAttempts=1,
    )


@api("TestLambdaEventSourceMappings::test_event_source_mapping_lifecycle")
def test_the_life_of_a_mapping(aws, snapshot, create, queue, table_stream):
    function = create()["FunctionName"]
    snapshot.transform(value(function, "resource"))
    made = lifecycle_mapping(aws, snapshot, function, table_stream, queue())
    snapshot.match("create_response", made)
    snapshot.match("get_response", settled(aws, made))
    snapshot.match("delete_response", aws.lambda_.delete_event_source_mapping(UUID=made["UUID"]))
    assert settled(aws, made) is None


@api("TestLambdaEventSourceMappings::test_event_source_mapping_lifecycle_delete_function")
def test_a_mapping_outlives_its_function(aws, snapshot, create, queue, table_stream):
    function = create()["FunctionName"]
    snapshot.transform(value(function, "resource"))
    made = lifecycle_mapping(aws, snapshot, function, table_stream, queue())
    snapshot.match("create_response", made)
    snapshot.match("get_response", settled(aws, made))
    snapshot.match("delete_function_response", aws.lambda_.delete_function(FunctionName=function))
    snapshot.match("get_response_post_delete", settled(aws, made))
    snapshot.match("delete_response", aws.lambda_.delete_event_source_mapping(UUID=made["UUID"]))


@api("TestLambdaEventSourceMappings::test_create_event_filter_criteria_validation")
def test_no_filters(aws, snapshot, create, mappings, table_stream):
    function = create()["FunctionName"]
    names(snapshot, function)
    snapshot.transform(value(table_stream.split("/")[1], "table-name"), value(table_stream.split("/")[3], "resource"))
    made = aws.lambda_.create_event_source_mapping(
        FunctionName=function, EventSourceArn=table_stream, StartingPosition="LATEST", FilterCriteria={"Filters": []}
    )
    mappings.append(made)
    snapshot.match("response-with-empty-filters", made)


@pytest.mark.parametrize(
    "pattern",
    [None, "simple string", {"eventSource": "aws:sqs"}, {"eventSource": []}],
    ids=["None", "simple string", "invalid_filter2", "invalid_filter3"],
)
@sqs("TestSQSEventSourceMapping::test_sqs_invalid_event_filter")
def test_what_is_no_filter_pattern(aws, snapshot, create, queue, pattern):
    error = refused(
        aws.lambda_.create_event_source_mapping,
        FunctionName=create()["FunctionName"],
        EventSourceArn=queue(),
        FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}]},
    )
    snapshot.match("create_event_source_mapping_exception", error)


@sqs("TestSQSEventSourceMapping::test_duplicate_event_source_mappings")
def test_a_queue_is_mapped_once_to_a_function(aws, snapshot, create, queue, mappings):
    first, second, arn = create()["FunctionName"], create()["FunctionName"], queue()
    names(snapshot, arn, first)
    mappings.append(aws.lambda_.create_event_source_mapping(FunctionName=first, EventSourceArn=arn))
    snapshot.match("create", mappings[-1])
    snapshot.match("error", refused(aws.lambda_.create_event_source_mapping, FunctionName=first, EventSourceArn=arn))
    mappings.append(aws.lambda_.create_event_source_mapping(FunctionName=second, EventSourceArn=arn))


@kinesis("TestKinesisSource::test_duplicate_event_source_mappings")
def test_a_stream_is_mapped_once_to_a_function(aws, snapshot, create, stream, mappings):
    function = create()["FunctionName"]
    names(snapshot, function)
    snapshot.transform(value(stream.rpartition("/")[2], "resource"))
    mapping = {"FunctionName": function, "EventSourceArn": stream, "StartingPosition": "LATEST"}
    mappings.append(aws.lambda_.create_event_source_mapping(**mapping))
    snapshot.match("create", mappings[-1])
    snapshot.match("error", refused(aws.lambda_.create_event_source_mapping, **mapping))


@sqs("TestSQSEventSourceMapping::test_event_source_mapping_default_batch_size")
def test_a_batch_of_more_than_ten_needs_a_window(aws, snapshot, create, queue, mappings):
    client, function, arns = aws.lambda_, create()["FunctionName"], [queue(), queue()]
    names(snapshot, arns[0], function)
    mappings.append(client.create_event_source_mapping(FunctionName=function, EventSourceArn=arns[0]))
    snapshot.match("create-event-source-mapping", mappings[-1])
    settled(aws, mappings[-1])
    error = refused(client.update_event_source_mapping, UUID=mappings[-1]["UUID"], BatchSize=11)
    snapshot.match("invalid-update-event-source-mapping", error)
    error = refused(client.create_event_source_mapping, FunctionName=function, EventSourceArn=arns[1], BatchSize=11)
    snapshot.match("invalid-create-event-source-mapping", error)


@api("TestLambdaEventSourceMappings::test_function_name_variations")
def test_names_of_functions_in_mappings(aws, snapshot, create, queue):
    client, arn, name = aws.lambda_, queue(), create(Publish=True)["FunctionName"]
    client.create_alias(FunctionName=name, Name="myalias", FunctionVersion="1")
    names(snapshot, arn, name)
    partial_arn, full_arn = f"{aws.account_id}:function:{name}", aws.arn(name)
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
        settled(aws, made)
        client.delete_event_source_mapping(UUID=made["UUID"])
        settled(aws, made)


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


@api("TestLambdaTag::test_create_tag_on_esm_create")
def test_tags_of_a_new_mapping(aws, snapshot, create, queue, mappings):
    tag = f"tag-{uuid.uuid4().hex[:8]}"
    made = aws.lambda_.create_event_source_mapping(
        FunctionName=create()["FunctionName"], EventSourceArn=queue(), Tags={"testtag": tag}
    )
    mappings.append(made)
    snapshot.transform(value(tag, "custom-tag"))
    snapshot.match("get_event_source_mapping_with_tag", settled(aws, made)["UUID"] == made["UUID"])
    snapshot.match("list_tags_result", aws.lambda_.list_tags(Resource=made["EventSourceMappingArn"]))


def test_disabling_updating_and_enabling_a_mapping(aws, snapshot, create, queue, mappings):
    client, arn, first, second = aws.lambda_, queue(), create()["FunctionName"], create()["FunctionName"]
    names(snapshot, arn, first, second)
    made = client.create_event_source_mapping(FunctionName=first, EventSourceArn=arn, Enabled=False)
    mappings.append(made)
    snapshot.match("disabled", settled(aws, made))
    for step, change in (
        ("enable", {"Enabled": True}),
        ("change", {"FunctionName": second, "BatchSize": 100, "MaximumBatchingWindowInSeconds": 5}),
        ("bound", {"ScalingConfig": {"MaximumConcurrency": 5}}),
        ("unbound", {"ScalingConfig": {}}),
        ("disable", {"Enabled": False}),
    ):
        snapshot.match(step, client.update_event_source_mapping(UUID=made["UUID"], **change))
        snapshot.match(f"{step}_settled", settled(aws, made))


def test_limits_of_fifo_queues_and_streams(aws, snapshot, create, queue, mappings, stream):
    client, arn, name = aws.lambda_, queue(".fifo"), create()["FunctionName"]
    names(snapshot, arn, name)
    make = partial(client.create_event_source_mapping, FunctionName=name)
    snapshot.match("window", refused(make, EventSourceArn=arn, BatchSize=11, MaximumBatchingWindowInSeconds=1))
    snapshot.match("batch", refused(make, EventSourceArn=arn, BatchSize=11))
    snapshot.match("position", refused(make, EventSourceArn=arn, StartingPosition="LATEST"))
    snapshot.match("timestamp", refused(make, EventSourceArn=stream, StartingPosition="AT_TIMESTAMP"))
    snapshot.match("concurrency", refused(make, EventSourceArn=arn, ScalingConfig={"MaximumConcurrency": 1001}))
    mappings.append(make(EventSourceArn=arn, ScalingConfig={"MaximumConcurrency": 2}))
    snapshot.match("created", mappings[-1])


def test_sources_that_are_not_there(aws, snapshot, create, queue):
    name, nowhere = create(Timeout=31)["FunctionName"], f"{aws.region}:{aws.account_id}"
    slow = queue()
    for step, mapping in (
        ("queue", {"EventSourceArn": f"arn:{aws.partition}:sqs:{nowhere}:nowhere"}),
        ("stream", {"EventSourceArn": f"arn:{aws.partition}:kinesis:{nowhere}:stream/nowhere"}),
        ("table", {"EventSourceArn": f"arn:{aws.partition}:dynamodb:{nowhere}:table/t/stream/2026-01-01T00:00:00.000"}),
        ("visibility", {"EventSourceArn": slow}),
        ("topic", {"EventSourceArn": f"arn:{aws.partition}:sns:{nowhere}:topic"}),
    ):
        position = {} if ":sqs:" in mapping["EventSourceArn"] else {"StartingPosition": "LATEST"}
        snapshot.match(step, refused(aws.lambda_.create_event_source_mapping, FunctionName=name, **mapping, **position))


def test_lists_of_mappings(aws, snapshot, create, queue, mappings):
    client, arns = aws.lambda_, [queue(), queue(), queue()]
    function = create(Publish=True)["FunctionName"]
    names(snapshot, *arns, function)
    for arn, name in ((arns[0], function), (arns[1], function), (arns[2], f"{function}:1")):
        mappings.append(client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn))
        settled(aws, mappings[-1])
    snapshot.match("of_function", client.list_event_source_mappings(FunctionName=function))
    snapshot.match("of_version", client.list_event_source_mappings(FunctionName=f"{function}:1"))
    snapshot.match("of_queue", client.list_event_source_mappings(EventSourceArn=arns[1]))
    page = client.list_event_source_mappings(FunctionName=function, MaxItems=1)
    marker = page.pop("NextMarker")
    snapshot.match("first_page", page)
    snapshot.match("last_page", client.list_event_source_mappings(FunctionName=function, Marker=marker))
