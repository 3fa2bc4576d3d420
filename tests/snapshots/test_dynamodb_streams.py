"""Streams of DynamoDB tables as event sources: what the function gets, what filters keep, and batches that fail."""

from __future__ import annotations

import json
from functools import partial

import pytest

from .harness.plugin import recorded
from .streams import ANSWERS, SUCCESSES, Surroundings, answering, names

pytestmark = pytest.mark.scenario
dynamodb = partial(recorded, "lambda_integration_dynamodbstreams.json")
source = "TestDynamoDBEventSourceMapping"
ONE_BY_ONE = {"BatchSize": 1, "MaximumBatchingWindowInSeconds": 1}
KEY = "my_partition_key"
ITEM = {KEY: {"S": "hello world"}, "binary_key": {"B": b"foobar"}}


@pytest.fixture
def here(aws):
    surroundings = Surroundings(aws)
    yield surroundings
    surroundings.close()


def put(here, table, *items):
    for item in items:
        here.aws.client("dynamodb").put_item(TableName=table, Item=item)


def streamed_table(here, snapshot, view="NEW_IMAGE", *, key=KEY, steps=("create-table-result", None)):
    """A table's name and its stream's ARN, and what CreateTable and UpdateTable answered as steps."""
    created = here.table(key)
    snapshot.match(steps[0], created)
    table = created["TableDescription"]["TableName"]
    changed = here.streaming(table, view)
    if steps[1]:
        snapshot.match(steps[1], changed)
    arn = here.aws.client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]
    return table, arn


def forwarding(create, url):
    return create("forwards.py", Environment={"Variables": {"DESTINATION": url}})["FunctionName"]


@dynamodb(f"{source}::test_dynamodb_event_source_mapping")
def test_function_gets_what_is_written(aws, snapshot, create, here):
    url, _ = here.queue()
    function = forwarding(create, url)
    table, arn = streamed_table(here, snapshot)
    names(snapshot, table, arn.partition("/stream/")[2], function)
    made = here.connect(function, arn, MaximumRetryAttempts=1, **ONE_BY_ONE)
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, table, ITEM)
    snapshot.match("event_logs", [here.body(url)])


@dynamodb(f"{source}::test_deletion_event_source_mapping_with_dynamodb")
def test_mapping_is_listed_until_it_is_deleted(aws, snapshot, create, here):
    function = create()["FunctionName"]
    created = here.table("id", "NEW_IMAGE")
    snapshot.match("create_dynamodb_table_response", created)
    arn = created["TableDescription"]["LatestStreamArn"]
    names(snapshot, created["TableDescription"]["TableName"], arn.partition("/stream/")[2], function)
    made = here.connect(function, arn)
    snapshot.match("create_event_source_mapping_result", made)
    here.settled(made["UUID"])
    aws.client("dynamodb").delete_table(TableName=created["TableDescription"]["TableName"])
    listed = aws.lambda_.list_event_source_mappings(EventSourceArn=arn)
    snapshot.match("list_event_source_mapping_result", listed)


# What is filtered

ID = {"id": {"S": "id_value"}}
ID_1, ID_2 = {"id": {"S": "id_value_1"}}, {"id": {"S": "id_value_2"}}
PRESENT = {"presentKey": {"S": "presentValue"}}
INSERT = {"eventName": ["INSERT"], "eventSource": ["aws:dynamodb"]}
FILTERS = {
    "insert_same_entry_twice": (
        {"eventName": ["INSERT"]},
        ID | {"id2": {"S": "id2_value"}},
        ID | {"id2": {"S": "id2_value"}},
    ),
    "content_or_filter": ({"eventName": ["INSERT", "MODIFY"]}, ID, ID | {"id2": {"S": "id2_new_value"}}),
    "content_multiple_filters": (INSERT, ID, ID | {"id2": {"S": "id2_new_value"}}),
    "content_filter_type": (
        {"dynamodb": {"NewImage": {"presentKey": {"S": ["presentValue"]}}}},
        ID_1 | PRESENT,
        ID_2 | {"presentKey": {"S": "absentValue"}},
    ),
    "exists_filter_type": (
        {"dynamodb": {"NewImage": {"presentKey": {"S": [{"exists": True}]}}}},
        ID_1 | PRESENT,
        ID_2 | {"presentKey": {"N": "2"}},
    ),
    "exists_false_filter": ({"dynamodb": {"NewImage": {"presentKey": [{"exists": False}]}}}, ID_1, ID_2 | PRESENT),
    "prefix_filter": (
        {"dynamodb": {"NewImage": {"prefix": {"S": [{"prefix": "us-1"}]}}}},
        ID_1 | {"prefix": {"S": "us-1-other-suffix"}},
        ID_2 | {"prefix": {"S": "other-suffix"}},
    ),
    "numeric_filter": (
        {"dynamodb": {"NewImage": {"numericFilter": {"N": [{"numeric": [">", 100]}, {"anything-but": "101"}]}}}},
        ID_1 | {"numericFilter": {"N": "42"}},
        ID_2 | {"numericFilter": {"N": "101"}},
    ),
    "date_time_conversion": (
        {"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 1_000_000_000]}]}},
        ID_1,
        ID_2,
    ),
}
BOTH_KEPT = {"content_or_filter", "exists_false_filter", "date_time_conversion"}


@dynamodb(f"{source}::test_dynamodb_event_filter")
@pytest.mark.parametrize("name", FILTERS)
def test_filter_keeps_what_fits(aws, snapshot, create, here, name):
    pattern, first, second = FILTERS[name]
    url, _ = here.queue()
    function = forwarding(create, url)
    table, arn = streamed_table(here, snapshot, "NEW_AND_OLD_IMAGES", key="id", steps=("table_creation_response", None))
    names(snapshot, table, arn.partition("/stream/")[2], function)
    made = here.connect(
        function,
        arn,
        FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}]},
        MaximumRetryAttempts=1,
        **ONE_BY_ONE,
    )
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, table, first)
    events = [here.body(url)]
    snapshot.match("lambda-log-events", list(events))
    put(here, table, second)
    if name in BOTH_KEPT:
        events.append(here.body(url))
    else:
        # What comes behind it tells that the second one did not come.
        last = {"id": {"S": "last"}, **{each: value for each, value in first.items() if each != "id"}}
        put(here, table, last)
        (record,) = here.body(url)["Records"]
        assert record["dynamodb"]["Keys"] == {"id": {"S": "last"}}
    snapshot.match("lambda-multiple-log-events", events)


# Batches that fail


@dynamodb(f"{source}::test_dynamodb_report_batch_item_failure_scenarios")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answer_that_fails_a_batch(aws, snapshot, create, here, answer):
    (url, _), (failures, failures_arn) = here.queue(), here.queue()
    function = create("answers_batches.py", Environment=answering(url, answer))["FunctionName"]
    table, arn = streamed_table(here, snapshot)
    names(snapshot, table, arn.partition("/stream/")[2], function)
    made = here.connect(
        function,
        arn,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRetryAttempts=3,
        DestinationConfig={"OnFailure": {"Destination": failures_arn}},
        **ONE_BY_ONE,
    )
    here.settled(made["UUID"])
    put(here, table, ITEM)
    snapshot.match("destination_queue_messages", here.received(failures))
    snapshot.match("dynamodb_events", [here.body(url) for _ in range(4)])


@dynamodb(f"{source}::test_dynamodb_report_batch_item_success_scenarios")
@pytest.mark.parametrize("answer", SUCCESSES.values(), ids=SUCCESSES)
def test_answer_that_reports_no_failure(aws, snapshot, create, here, answer):
    url, _ = here.queue()
    function = create("answers_batches.py", Environment=answering(url, answer))["FunctionName"]
    table, arn = streamed_table(here, snapshot)
    names(snapshot, table, arn.partition("/stream/")[2], function)
    made = here.connect(function, arn, FunctionResponseTypes=["ReportBatchItemFailures"], **ONE_BY_ONE)
    here.settled(made["UUID"])
    put(here, table, ITEM)
    snapshot.match("dynamodb_events", [here.body(url)])
    here.processed(made["UUID"])


BOTH_STEPS = ("create_table_response", "update_table_response")


@dynamodb(f"{source}::test_dynamodb_report_batch_item_failures_with_on_failure_destination_config")
def test_records_from_the_reported_one_on_are_given_up(aws, snapshot, create, here):
    (url, _), (failures, failures_arn) = here.queue(), here.queue()
    environment = {"Variables": {"DESTINATION": url, "FAILS_FROM": "the last one"}}
    function = create("answers_batches.py", Environment=environment)["FunctionName"]
    table, arn = streamed_table(here, snapshot, steps=BOTH_STEPS)
    names(snapshot, table, arn.partition("/stream/")[2], function, failures_arn.rpartition(":")[2])
    put(here, table, *({KEY: {"S": text}} for text in ("the first one", "the second one", "the last one")))
    made = here.connect(
        function,
        arn,
        BatchSize=3,
        MaximumBatchingWindowInSeconds=1,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRetryAttempts=3,
        DestinationConfig={"OnFailure": {"Destination": failures_arn}},
    )
    snapshot.match("create_event_source_mapping_response", made)
    snapshot.match("destination_queue_messages", here.received(failures))


@dynamodb(f"{source}::test_dynamodb_event_source_mapping_with_sns_on_failure_destination_config")
def test_topic_is_told_of_records_that_were_given_up(aws, snapshot, create, here):
    topic, url = here.topic()
    function = create("fails_on_purpose.py")["FunctionName"]
    table, arn = streamed_table(here, snapshot, steps=BOTH_STEPS)
    names(snapshot, table, arn.partition("/stream/")[2], function, topic.rpartition(":")[2])
    destination = {"OnFailure": {"Destination": topic}}
    made = here.connect(function, arn, MaximumRetryAttempts=1, DestinationConfig=destination, **ONE_BY_ONE)
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, table, {KEY: {"S": "hello world"}})
    snapshot.match("failure_sns_message", here.body(url))


@dynamodb(f"{source}::test_dynamodb_event_source_mapping_with_s3_on_failure_destination")
def test_bucket_gets_the_records_that_were_given_up(aws, snapshot, create, here):
    bucket = here.bucket()
    function = create("fails_on_purpose.py")["FunctionName"]
    table, arn = streamed_table(here, snapshot, steps=BOTH_STEPS)
    names(snapshot, table, arn.partition("/stream/")[2], function, bucket)
    destination = {"OnFailure": {"Destination": f"arn:{aws.partition}:s3:::{bucket}"}}
    made = here.connect(function, arn, MaximumRetryAttempts=1, DestinationConfig=destination, **ONE_BY_ONE)
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, table, {KEY: {"S": "hello world"}})
    key, record = here.only_object(bucket)
    snapshot.match("record_body", record)
    assert key.startswith(f"aws/lambda/{made['UUID']}/{record['DDBStreamBatchInfo']['shardId']}/")
