"""Data streams of Kinesis as event sources: what the function gets, answers that fail a batch, and what is told of it then."""

from __future__ import annotations

import base64
import json
from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
from .streams import ANSWERS, SUCCESSES, Surroundings, answering, names

pytestmark = pytest.mark.scenario
kinesis = partial(recorded, "lambda_integration_kinesis.json")
source = "TestKinesisSource"


@pytest.fixture
def here(aws):
    surroundings = Surroundings(aws)
    yield surroundings
    surroundings.close()


def put(here, stream, *data, key="test"):
    for each in data:
        here.aws.client("kinesis").put_record(StreamName=stream, Data=each, PartitionKey=key)


def forwarding(create, url):
    return create("forwards.py", Environment={"Variables": {"DESTINATION": url}})["FunctionName"]


@kinesis(f"{source}::test_create_kinesis_event_source_mapping")
def test_function_gets_what_comes_from_now_on(aws, snapshot, create, here):
    (stream, arn), (url, _) = here.stream(), here.queue()
    function = forwarding(create, url)
    names(snapshot, stream, function)
    put(here, stream, "of before")
    made = here.connect(function, arn, StartingPosition="LATEST")
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    records = [{"Data": "hello", "PartitionKey": f"test_{number}"} for number in range(10)]
    aws.client("kinesis").put_records(StreamName=stream, Records=records)
    snapshot.match("kinesis_records", here.body(url))


@kinesis(f"{source}::test_duplicate_event_source_mappings")
def test_a_function_has_one_mapping_of_a_stream(aws, snapshot, create, here):
    stream, arn = here.stream()
    function = create()["FunctionName"]
    names(snapshot, stream, function)
    snapshot.match("create", here.connect(function, arn, StartingPosition="LATEST"))
    again = refused(
        aws.lambda_.create_event_source_mapping,
        FunctionName=function,
        EventSourceArn=arn,
        StartingPosition="LATEST",
    )
    snapshot.match("error", again)


@kinesis(f"{source}::test_kinesis_empty_provided")
def test_function_of_another_runtime_processes_records(aws, snapshot, create, here):
    stream, arn = here.stream()
    function = create("bootstrap_echo", Runtime="provided.al2023", Handler="bootstrap")["FunctionName"]
    names(snapshot, stream, function)
    made = here.connect(function, arn, BatchSize=1, MaximumBatchingWindowInSeconds=1, MaximumRetryAttempts=2)
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, stream, "hello")
    snapshot.match("get_esm_result", here.processed(made["UUID"]))


@kinesis(f"{source}::test_kinesis_event_source_trim_horizon")
def test_function_gets_everything_in_batches(aws, snapshot, create, here):
    (stream, arn), (url, _) = here.stream(), here.queue()
    function = forwarding(create, url)
    names(snapshot, stream, function)
    for key in ("test_0", "test_1", "test_3"):
        put(here, stream, *(json.dumps({"record_id": number}) for number in range(10)), key=key)
    made = here.connect(function, arn, BatchSize=10)
    snapshot.match("create_event_source_mapping_response", made)
    events = [here.body(url) for _ in range(3)]
    snapshot.match("invocation_events", [{"executionStart": 0, "event": event} for event in events])


@kinesis("TestKinesisEventFiltering::test_kinesis_event_filtering_json_pattern")
def test_each_function_gets_what_its_filter_keeps(aws, snapshot, create, here):
    (stream, arn), (url, _), (other, _) = here.stream(), here.queue(), here.queue()
    functions = [forwarding(create, url), forwarding(create, other)]
    names(snapshot, stream, *functions)
    settings = {"BatchSize": 1, "MaximumBatchingWindowInSeconds": 1, "MaximumRetryAttempts": 1}
    for number, function in enumerate(functions, 1):
        pattern = json.dumps({"data": {"event_type": [f"function_{number}"]}})
        made = here.connect(function, arn, FilterCriteria={"Filters": [{"Pattern": pattern}]}, **settings)
        step = "create_event_source_mapping_response" if number == 1 else "create_event_source_mapping_2_response"
        snapshot.match(step, made)
        here.settled(made["UUID"])
    put(here, stream, "no JSON", json.dumps({"event_type": "function_2", "message": "bar"}))
    put(here, stream, json.dumps({"event_type": "function_1", "message": "foo"}))
    data = [json.loads(base64.b64decode(record["kinesis"]["data"])) for record in here.body(url)["Records"]]
    snapshot.match("kinesis-record-lambda-payload", json.dumps(data))
    (seen,) = here.body(other)["Records"]
    assert json.loads(base64.b64decode(seen["kinesis"]["data"]))["event_type"] == "function_2"


# Batches that fail

ONE_BY_ONE = {"BatchSize": 1, "MaximumBatchingWindowInSeconds": 1}


@kinesis(f"{source}::test_kinesis_report_batch_item_failure_scenarios")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answer_that_fails_a_batch(aws, snapshot, create, here, answer):
    (stream, arn), (url, _), (failures, failures_arn) = here.stream(), here.queue(), here.queue()
    function = create("answers_batches.py", Environment=answering(url, answer))["FunctionName"]
    names(snapshot, stream, function, failures_arn.rpartition(":")[2])
    made = here.connect(
        function,
        arn,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRetryAttempts=2,
        DestinationConfig={"OnFailure": {"Destination": failures_arn}},
        **ONE_BY_ONE,
    )
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, stream, "hello")
    snapshot.match("sqs_payload", here.received(failures))
    snapshot.match("kinesis_events", [here.body(url) for _ in range(3)])


@kinesis(f"{source}::test_kinesis_report_batch_item_success_scenarios")
@pytest.mark.parametrize("answer", SUCCESSES.values(), ids=SUCCESSES)
def test_answer_that_reports_no_failure(aws, snapshot, create, here, answer):
    (stream, arn), (url, _) = here.stream(), here.queue()
    function = create("answers_batches.py", Environment=answering(url, answer))["FunctionName"]
    names(snapshot, stream, function)
    settings = {"FunctionResponseTypes": ["ReportBatchItemFailures"], "MaximumRetryAttempts": 2, **ONE_BY_ONE}
    made = here.connect(function, arn, **settings)
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, stream, "hello")
    snapshot.match("kinesis_events", [here.body(url)])
    here.processed(made["UUID"])


@kinesis(f"{source}::test_kinesis_event_source_mapping_with_sns_on_failure_destination_config")
def test_topic_is_told_of_records_that_were_given_up(aws, snapshot, create, here):
    (stream, arn), (topic, url) = here.stream(), here.topic()
    function = create("fails_on_purpose.py")["FunctionName"]
    names(snapshot, stream, function, topic.rpartition(":")[2])
    destination = {"OnFailure": {"Destination": topic}}
    made = here.connect(function, arn, MaximumRetryAttempts=1, DestinationConfig=destination, **ONE_BY_ONE)
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, stream, json.dumps({"input": "hello", "value": "world", "raise_error": 1}), key="custom")
    snapshot.match("failure_sns_message", here.body(url))


@kinesis(f"{source}::test_kinesis_event_source_mapping_with_s3_on_failure_destination")
def test_bucket_gets_the_records_that_were_given_up(aws, snapshot, create, here):
    (stream, arn), bucket = here.stream(), here.bucket()
    function = create("fails_on_purpose.py")["FunctionName"]
    names(snapshot, stream, function, bucket)
    destination = {"OnFailure": {"Destination": f"arn:{aws.partition}:s3:::{bucket}"}}
    made = here.connect(function, arn, MaximumRetryAttempts=1, DestinationConfig=destination, **ONE_BY_ONE)
    snapshot.match("create_event_source_mapping_response", made)
    here.settled(made["UUID"])
    put(here, stream, json.dumps({"input": "hello", "value": "world", "raise_error": 1}), key="custom")
    key, record = here.only_object(bucket)
    snapshot.match("record_body", record)
    assert key.startswith(
        f"aws/lambda/{made['UUID']}/shardId-000000000000/{record['timestamp'][:10].replace('-', '/')}/"
    )
