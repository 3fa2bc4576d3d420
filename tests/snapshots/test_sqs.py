"""Queues as event sources: what the function gets, what is filtered, and what becomes of messages that fail."""

from __future__ import annotations

import json
import threading
import uuid
from functools import partial

import pytest

from .harness.normalise import Text
from .harness.plugin import recorded
from .harness.steps import updated
from .harness.transformers import masked_member, member, value

pytestmark = pytest.mark.scenario
sqs = partial(recorded, "lambda_integration_sqs.json")
source = "TestSQSEventSourceMapping"

MOVING = ("Creating", "Enabling", "Disabling", "Updating", "Deleting")
VISIBILITY_S = 30
"""Enough for a function, and what AWS has as a default."""

MESSAGES = (
    masked_member("SentTimestamp", "timestamp"),
    masked_member("ApproximateFirstReceiveTimestamp", "timestamp"),
    masked_member("SenderId", "sender-id"),
    member("receiptHandle", "receipt-handle"),
    member("ReceiptHandle", "receipt-handle"),
    member("md5OfBody", "md5-of-body"),
    member("MD5OfBody", "m-d5-of-body"),
    member("SequenceNumber", "sequence-number"),
    member("QueueUrl", "queue-url"),
)


class Queue:
    """A queue of one scenario."""

    def __init__(self, aws, suffix="", **attributes):
        self.client, self.name = aws.client("sqs"), f"scenario-{uuid.uuid4().hex[:10]}{suffix}"
        if suffix == ".fifo":
            attributes["FifoQueue"] = "true"
        self.url = self.client.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
        self.arn = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]

    def send(self, body, **parameters):
        text = body if isinstance(body, str) else json.dumps(body)
        return self.client.send_message(QueueUrl=self.url, MessageBody=text, **parameters)

    def receive(self):
        """The next message, in the answer that has it; it is deleted."""
        for _ in range(6):
            answer = self.client.receive_message(QueueUrl=self.url, WaitTimeSeconds=20)
            for message in answer.get("Messages", ()):
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
                return answer
        raise AssertionError(f"nothing came to {self.name}")

    def body(self):
        """The JSON of the next message."""
        return json.loads(self.receive()["Messages"][0]["Body"])

    def wait_until_empty(self):
        """Return when no message is left, visible or not."""
        pause = threading.Event()
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        for _ in range(600):
            answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
            if not any(int(count) for count in answer["Attributes"].values()):
                return
            pause.wait(0.05)
        raise AssertionError(f"{self.name} is not empty")


@pytest.fixture
def queue(aws):
    """`queue(".fifo", VisibilityTimeout="5")` makes a queue of one's own."""
    made = []

    def make(suffix="", **attributes):
        made.append(Queue(aws, suffix, **attributes))
        return made[-1]

    yield make
    for each in made:
        each.client.delete_queue(QueueUrl=each.url)


@pytest.fixture
def connect(aws):
    """`connect(function, queue, BatchSize=1)` maps a queue to a function and answers what CreateEventSourceMapping did."""
    made = []

    def make(function, to, **parameters):
        answer = aws.lambda_.create_event_source_mapping(FunctionName=function, EventSourceArn=to.arn, **parameters)
        made.append(answer["UUID"])
        return answer

    yield make
    for name in made:
        settled(aws, name)
        aws.lambda_.delete_event_source_mapping(UUID=name)


def settled(aws, name):
    """The mapping when nothing is on its way any more."""
    pause = threading.Event()
    while (mapping := aws.lambda_.get_event_source_mapping(UUID=name))["State"] in MOVING:
        pause.wait(2 if aws.is_aws else 0.05)
    return mapping


def told(answer, *, parse_bodies=False):
    """A message with what a function told. The bodies of the messages that it got stay texts unless it says otherwise."""
    (message,) = answer["Messages"]
    document = json.loads(message["Body"])
    if not parse_bodies:
        for record in document["event"]["Records"]:
            record["body"] = Text(record["body"])
    return answer | {"Messages": [message | {"Body": document}]}


def names(snapshot, *texts):
    snapshot.transform(*(value(text, "resource") for text in texts), *MESSAGES)


# What fails


@sqs("test_failing_lambda_retries_after_visibility_timeout")
def test_message_that_failed_comes_again_after_its_visibility_timeout(aws, snapshot, create, queue, connect):
    function, results = create("tells_a_queue.py", Timeout=2)["FunctionName"], queue()
    messages = queue(VisibilityTimeout="2")
    names(snapshot, messages.name, function)
    snapshot.match("get_destination_queue_url", results.client.get_queue_url(QueueName=results.name))
    made = connect(function, messages, BatchSize=1)
    snapshot.match("event_source_mapping", settled(aws, made["UUID"]))
    messages.send({"destination": results.url, "fail_attempts": 1})
    snapshot.match("first_attempt", told(results.receive()))
    snapshot.match("second_attempt", told(results.receive()))
    messages.wait_until_empty()


@sqs("test_message_body_and_attributes_passed_correctly")
def test_function_gets_body_and_attributes(aws, snapshot, create, queue, connect):
    function, results = create("tells_a_queue.py")["FunctionName"], queue()
    failures = queue()
    redrive = json.dumps({"deadLetterTargetArn": failures.arn, "maxReceiveCount": 1})
    messages = queue(VisibilityTimeout=str(VISIBILITY_S), RedrivePolicy=redrive)
    names(snapshot, messages.name)
    snapshot.match("get_destination_queue_url", results.client.get_queue_url(QueueName=results.name))
    connect(function, messages, BatchSize=1)
    messages.send(
        {"destination": results.url, "fail_attempts": 0},
        MessageAttributes={
            "Title": {"DataType": "String", "StringValue": "The Whistler"},
            "Author": {"DataType": "String", "StringValue": "John Grisham"},
            "WeeksOn": {"DataType": "Number", "StringValue": "6"},
        },
    )
    snapshot.match("first_attempt", told(results.receive()))


@sqs("test_redrive_policy_with_failing_lambda")
def test_message_that_failed_too_often_goes_to_the_dead_letter_queue(aws, snapshot, create, queue, connect):
    function, results, failures = create("tells_a_queue.py", Timeout=2)["FunctionName"], queue(), queue()
    redrive = json.dumps({"deadLetterTargetArn": failures.arn, "maxReceiveCount": 2})
    messages = queue(VisibilityTimeout="2", RedrivePolicy=redrive)
    names(snapshot, messages.name)
    snapshot.match("get_destination_queue_url", results.client.get_queue_url(QueueName=results.name))
    connect(function, messages, BatchSize=1)
    messages.send({"destination": results.url, "fail_attempts": 2})
    snapshot.match("first_attempt", told(results.receive()))
    snapshot.match("second_attempt", told(results.receive()))
    snapshot.match("dlq_response", failures.receive())


@sqs("test_report_batch_item_failures")
def test_only_the_messages_that_a_function_reports_come_again(aws, snapshot, create, queue, connect):
    results, failures = queue(), queue(".fifo")
    redrive = json.dumps({"deadLetterTargetArn": failures.arn, "maxReceiveCount": 2})
    messages = queue(".fifo", VisibilityTimeout="3", RedrivePolicy=redrive)
    environment = {"Variables": {"DESTINATION": results.url}}
    function = create("reports_failures.py", Timeout=3, Environment=environment)["FunctionName"]
    names(snapshot, messages.name, function)
    snapshot.match("get_destination_queue_url", results.client.get_queue_url(QueueName=results.name))
    entries = [
        {
            "Id": f"message-{number}",
            "MessageBody": json.dumps({"message": number, "fail_attempts": attempts}),
            "MessageGroupId": "1",
            "MessageDeduplicationId": f"dedup-{number}",
        }
        for number, attempts in enumerate((0, 1, 1, 2), 1)
    ]
    sent = messages.client.send_message_batch(QueueUrl=messages.url, Entries=entries)
    snapshot.match("send_message_batch", sent)
    made = connect(function, messages, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"])
    snapshot.match("create_event_source_mapping", made)
    snapshot.match("first_invocation", told(results.receive(), parse_bodies=True))
    snapshot.match("second_invocation", told(results.receive(), parse_bodies=True))
    snapshot.match("dlq_response", failures.receive())


@sqs("test_report_batch_item_failures_invalid_result_json_batch_fails")
def test_answer_that_names_no_message_fails_the_batch(aws, snapshot, create, queue, connect):
    results, failures = queue(), queue()
    redrive = json.dumps({"deadLetterTargetArn": failures.arn, "maxReceiveCount": 2})
    messages = queue(VisibilityTimeout="2", RedrivePolicy=redrive)
    nonsense = json.dumps({"batchItemFailures": [{"foo": "notvalid"}]})
    environment = {"Variables": {"DESTINATION": results.url, "RESULT": nonsense}}
    function = create("reports_failures.py", Timeout=2, Environment=environment)["FunctionName"]
    names(snapshot, messages.name)
    snapshot.match("get_destination_queue_url", results.client.get_queue_url(QueueName=results.name))
    connect(function, messages, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"])
    messages.send({"message": 1, "fail_attempts": 0})
    snapshot.match("first_invocation", told(results.receive()))
    snapshot.match("second_invocation", told(results.receive()))
    snapshot.match("dlq_response", failures.receive())


# What is filtered

TEST_24, EITHER = {"testItem": ["test24"]}, {"testItem": ["test24", "test45"]}
BOTH = {"testItem": ["test24", "test45"], "test2": ["go"]}
EXISTS, ABOVE, BELOW = (
    {"test2": [{"exists": True}]},
    {"test2": [{"numeric": [">", 100]}]},
    {"test2": [{"numeric": ["<", 100]}]},
)
RANGE, PREFIX = {"test2": [{"numeric": [">=", 100, "<", 200]}]}, {"test2": [{"prefix": "us-1"}]}
OTHERS = [
    ("filter0-item_matching0-item_not_matching0", TEST_24, {"testItem": "test24"}, {"testItem": "tesWER"}),
    ("filter1-item_matching1-item_not_matching1", EITHER, {"testItem": "test45"}, {"testItem": "WERTD"}),
    (
        "filter2-item_matching2-item_not_matching2",
        BOTH,
        {"testItem": "test45", "test2": "go"},
        {"testItem": "test67", "test2": "go"},
    ),
    ("filter3-item_matching3-item_not_matching3", EXISTS, {"test2": "7411"}, {"test5": "74545"}),
    ("filter4-item_matching4-this is a test string", ABOVE, {"test2": 105}, "this is a test string"),
    ("filter5-item_matching5-item_not_matching5", BELOW, {"test2": 93}, {"test2": 187}),
    ("filter6-item_matching6-item_not_matching6", RANGE, {"test2": 105}, {"test2": 205}),
    ("filter7-item_matching7-item_not_matching7", PREFIX, {"test2": "us-1-48454"}, {"test2": "eu-wert"}),
    ("single-filter", TEST_24, {"testItem": "test24"}, {"testItem": "tesWER"}),
    ("or-filter", EITHER, {"testItem": "test45"}, {"testItem": "WERTD"}),
    ("and-filter", BOTH, {"testItem": "test45", "test2": "go"}, {"testItem": "test67", "test2": "go"}),
    ("exists-filter", EXISTS, {"test2": "7411"}, {"test5": "74545"}),
    ("numeric-prefix", PREFIX, {"test2": "us-1-48454"}, {"test2": "eu-wert"}),
    ("plain-string-filter", ["simple-string"], "simple-string", "another-string"),
    ("plain-string-matching", ["plain-string"], "plain-string", {"plain-string": "plain-string"}),
    ("valid-json-filter", {"my-key": ["my-value"]}, {"my-key": "my-value"}, "plain-string"),
    ("single", {"my-key": ["my-value"]}, {"my-key": "my-value"}, {"my-key": "other-value"}),
    ("or", {"my-key": ["my-value-one", "my-value-two"]}, {"my-key": "my-value-two"}, {"my-key": "other-value"}),
    (
        "and",
        {"my-key-one": ["other-filter", "my-value-one"], "my-key-two": ["my-value-two"]},
        {"my-key-one": "my-value-one", "my-key-two": "my-value-two"},
        {"my-key-one": "other-value", "my-key-two": "my-value-two"},
    ),
    ("exists", {"my-key": [{"exists": True}]}, {"my-key": "any-value-one"}, {"other-key": "any-value-two"}),
    ("numeric-bigger", {"my-number": [{"numeric": [">", 100]}]}, {"my-number": 101}, {"my-number": 100}),
    ("numeric-smaller", {"my-number": [{"numeric": ["<", 100]}]}, {"my-number": 99}, {"my-number": 100}),
    ("numeric-range", {"my-number": [{"numeric": [">=", 100, "<", 200]}]}, {"my-number": 100}, {"my-number": 200}),
    ("prefix", {"my-key": [{"prefix": "yes"}]}, {"my-key": "yes-value"}, {"my-key": "no-value"}),
]


@sqs(f"{source}::test_sqs_event_filter")
@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"), [each[1:] for each in OTHERS], ids=[each[0] for each in OTHERS]
)
def test_filter_keeps_what_fits_and_drops_the_rest(aws, snapshot, create, queue, connect, pattern, fits, fits_not):
    messages, results = queue(VisibilityTimeout=str(VISIBILITY_S)), queue()
    function = create("forwards.py", Environment={"Variables": {"DESTINATION": results.url}})["FunctionName"]
    names(snapshot, messages.name, function)
    criteria = {"Filters": [{"Pattern": json.dumps({"body": pattern})}]}
    made = connect(function, messages, FilterCriteria=criteria, MaximumBatchingWindowInSeconds=1)
    plain = isinstance(pattern, list)
    if not plain:
        snapshot.match("create_event_source_mapping_response", made)
    settled(aws, made["UUID"])
    messages.send(fits_not)
    messages.send(fits)
    event = results.body()
    assert [record["body"] for record in event["Records"]] == [fits if isinstance(fits, str) else json.dumps(fits)]
    if not plain:
        snapshot.match("invocation_events", [event])
    messages.wait_until_empty()


# How batches are made


@sqs(f"{source}::test_sqs_event_source_mapping_batching_behaviour")
@pytest.mark.parametrize("size", [100])
def test_batching_window_gathers_a_batch(aws, snapshot, create, queue, connect, size):
    messages, results = queue(VisibilityTimeout=str(VISIBILITY_S)), queue()
    function = create("forwards.py", Environment={"Variables": {"DESTINATION": results.url}})["FunctionName"]
    made = connect(function, messages, BatchSize=size, MaximumBatchingWindowInSeconds=10)
    settled(aws, made["UUID"])
    for start in range(0, size, 10):
        entries = [{"Id": str(number), "MessageBody": f"message {number}"} for number in range(start, start + 10)]
        messages.client.send_message_batch(QueueUrl=messages.url, Entries=entries)
    got: list[str] = []
    while len(got) < size:
        got += [record["body"] for record in results.body()["Records"]]
    assert sorted(got) == sorted(f"message {number}" for number in range(size))
    messages.wait_until_empty()


@sqs(f"{source}::test_sqs_event_source_mapping_update")
def test_mapping_goes_on_with_another_version(aws, snapshot, create, queue, connect):
    messages, results, client = queue(VisibilityTimeout=str(VISIBILITY_S)), queue(), aws.lambda_

    def variables(custom):
        return {"Variables": {"DESTINATION": results.url, "CUSTOM_VAR": custom}}

    first = create("forwards.py", Publish=True, Environment=variables("a"))
    function = first["FunctionName"]
    client.update_function_configuration(FunctionName=function, Environment=variables("b"))
    updated(aws, function)
    second = client.publish_version(FunctionName=function)
    client.get_waiter("function_active_v2").wait(FunctionName=function, Qualifier="2", WaiterConfig={"Delay": 1})
    names(snapshot, messages.name, function)
    made = connect(f"{function}:{first['Version']}", messages, MaximumBatchingWindowInSeconds=1)
    snapshot.match("create-event-source-mapping-response", made)
    settled(aws, made["UUID"])
    messages.send({"foo": "bar"})
    events = [results.body()]
    snapshot.match("events", list(events))
    change = client.update_event_source_mapping(UUID=made["UUID"], FunctionName=f"{function}:{second['Version']}")
    snapshot.match("updated_esm", change)
    snapshot.match("updated_event_source_mapping", settled(aws, made["UUID"]))
    messages.send({"foo": "bar2"})
    events.append(results.body())
    snapshot.match("events_postupdate", events)
