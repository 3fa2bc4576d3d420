"""What scenarios of streams share: streams, tables and queues of their own, and how answers are written."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

from botocore.exceptions import ClientError

from .harness.transformers import masked_member, masked_text, member, value

MOVING = ("Creating", "Enabling", "Disabling", "Updating", "Deleting")

RECORDS = (
    masked_member("approximateArrivalTimestamp", "approximate-arrival-timestamp"),
    masked_member("ApproximateCreationDateTime", "approximate-creation-datetime"),
    masked_member("executionStart", "execution-start"),
    masked_member("CreationDateTime", "datetime"),
    masked_member("Signature", "signature"),
    masked_text(r"(SimpleNotificationService)-\w+", r"\1-<signing-cert-file:1>"),
    masked_text(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", "<timestamp:2022-07-13T13:48:01.000Z>"),
    masked_text(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", "<timestamp:2022-07-13T13:48:01Z>"),
    member("sequenceNumber", "sequence-number"),
    member("SequenceNumber", "sequence-number"),
    member("startSequenceNumber", "sequence-number"),
    member("endSequenceNumber", "sequence-number"),
    member("eventID", "event-i-d"),
    member("receiptHandle", "receipt-handle"),
    member("ReceiptHandle", "receipt-handle"),
    member("MD5OfBody", "m-d5-of-body"),
    member("TableId", "uuid"),
)
ANSWERS = {
    "empty_string_item_identifier_failure": {"batchItemFailures": [{"itemIdentifier": ""}]},
    "null_item_identifier_failure": {"batchItemFailures": [{"itemIdentifier": None}]},
    "invalid_key_foo_failure": {"batchItemFailures": [{"foo": "not-a-valid-id"}]},
    "invalid_key_foo_null_value_failure": {"batchItemFailures": [{"foo": None}]},
    "item_identifier_not_present_failure": {"batchItemFailures": [{"itemIdentifier": "not-a-valid-id"}]},
    "unhandled_exception_in_function": ...,
}
"""Answers that fail a batch, by the names of their recordings; `...` is none at all."""
SUCCESSES = {
    "empty_string_success": "",
    "empty_list_success": [],
    "null_success": None,
    "empty_dict_success": {},
    "empty_batch_item_failure_success": {"batchItemFailures": []},
    "null_batch_item_failure_success": {"batchItemFailures": None},
}


def answering(destination: str, answer: Any) -> dict[str, Any]:
    """The environment of `answers_batches.py`."""
    result = {} if answer is ... else {"RESULT": json.dumps(answer)}
    return {"Variables": {"DESTINATION": destination, **result}}


class Surroundings:
    """What a scenario made; everything goes when it ends."""

    def __init__(self, aws: Any) -> None:
        self.aws = aws
        self._ends: list[Any] = []

    def close(self) -> None:
        for end, parameters in reversed(self._ends):
            try:
                end(**parameters)
            except ClientError as error:
                if "NotFound" not in error.response["Error"]["Code"]:
                    raise

    def at_end(self, end: Any, **parameters: Any) -> None:
        self._ends.append((end, parameters))

    def queue(self) -> tuple[str, str]:
        """A queue's URL and ARN."""
        sqs = self.aws.client("sqs")
        url = sqs.create_queue(QueueName=_name())["QueueUrl"]
        self.at_end(sqs.delete_queue, QueueUrl=url)
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def received(self, url: str) -> dict[str, Any]:
        """The next message of a queue, in the answer that has it; it is deleted."""
        sqs = self.aws.client("sqs")
        for _ in range(6):
            answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
            for message in answer.get("Messages", ()):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return answer
        raise AssertionError("nothing came")

    def body(self, url: str) -> Any:
        """The JSON of the next message."""
        return json.loads(self.received(url)["Messages"][0]["Body"])

    def topic(self) -> tuple[str, str]:
        """A topic's ARN, and the URL of a queue that gets what is published there."""
        sns, (url, arn) = self.aws.client("sns"), self.queue()
        topic = sns.create_topic(Name=_name())["TopicArn"]
        self.at_end(sns.delete_topic, TopicArn=topic)
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return topic, url

    def bucket(self) -> str:
        s3, name = self.aws.client("s3"), _name()
        s3.create_bucket(Bucket=name)
        self.at_end(s3.delete_bucket, Bucket=name)
        return name

    def only_object(self, bucket: str) -> tuple[str, Any]:
        """The key and the JSON of the one object that comes to a bucket."""
        s3, pause = self.aws.client("s3"), threading.Event()
        for _ in range(600):
            for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
                body = s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
                s3.delete_object(Bucket=bucket, Key=each["Key"])
                return each["Key"], json.loads(body)
            pause.wait(2 if self.aws.is_aws else 0.05)
        raise AssertionError(f"nothing came to {bucket}")

    def stream(self) -> tuple[str, str]:
        """A Kinesis stream's name and ARN."""
        kinesis, name = self.aws.client("kinesis"), _name()
        kinesis.create_stream(StreamName=name, ShardCount=1)
        self.at_end(kinesis.delete_stream, StreamName=name, EnforceConsumerDeletion=True)
        kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
        return name, kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]

    def table(self, key: str, view: str | None = None) -> dict[str, Any]:
        """The answer to CreateTable; without a view the table has no stream yet."""
        dynamodb, name = self.aws.client("dynamodb"), _name()
        stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}} if view else {}
        answer = dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            **stream,
        )
        self.at_end(dynamodb.delete_table, TableName=name)
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        return answer

    def streaming(self, name: str, view: str) -> dict[str, Any]:
        """The answer to UpdateTable, which gives a table a stream."""
        dynamodb = self.aws.client("dynamodb")
        specification = {"StreamEnabled": True, "StreamViewType": view}
        answer = dynamodb.update_table(TableName=name, StreamSpecification=specification)
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        return answer

    def connect(self, function: str, arn: str, **parameters: Any) -> dict[str, Any]:
        """The answer to CreateEventSourceMapping."""
        parameters.setdefault("StartingPosition", "TRIM_HORIZON")
        make = self.aws.lambda_.create_event_source_mapping
        answer = make(FunctionName=function, EventSourceArn=arn, **parameters)
        self.at_end(self._disconnect, name=answer["UUID"])
        return answer

    def settled(self, name: str) -> dict[str, Any]:
        """The mapping when nothing is on its way any more."""
        pause = threading.Event()
        while (mapping := self.aws.lambda_.get_event_source_mapping(UUID=name))["State"] in MOVING:
            pause.wait(2 if self.aws.is_aws else 0.05)
        return mapping

    def processed(self, name: str) -> dict[str, Any]:
        """The mapping when its result says that records were processed."""
        pause = threading.Event()
        for _ in range(600):
            if (mapping := self.settled(name))["LastProcessingResult"] == "OK":
                return mapping
            pause.wait(2 if self.aws.is_aws else 0.05)
        raise AssertionError(mapping)

    def _disconnect(self, name: str) -> None:
        self.settled(name)
        self.aws.lambda_.delete_event_source_mapping(UUID=name)


def names(snapshot: Any, *texts: str) -> None:
    """Write placeholders for names that a scenario chose, and for what differs in records."""
    snapshot.transform(*(value(text, "resource") for text in texts), *RECORDS)


def _name() -> str:
    return f"scenario-{uuid.uuid4().hex[:10]}"
