"""Processes messages of SQS: fails as often as the message says, and tells the queue that it names what it was given."""

import json

import boto3

sqs = boto3.client("sqs")


def handler(event, context):
    (record,) = event["Records"]
    body = json.loads(record["body"])
    failed = int(record["attributes"]["ApproximateReceiveCount"]) <= body["fail_attempts"]
    answer = {"error": "failed attempt" if failed else None, "event": event}
    sqs.send_message(QueueUrl=body["destination"], MessageBody=json.dumps(answer))
    if failed:
        raise Exception("failed attempt")
