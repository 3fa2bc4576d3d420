"""Sends its event to the queue that the environment names, and answers what the environment says; without that it fails.

FAILS_FROM reports the records from the first one on whose text has that in it.
"""

import json
import os

import boto3

sqs = boto3.client("sqs")


def handler(event, context):
    sqs.send_message(QueueUrl=os.environ["DESTINATION"], MessageBody=json.dumps(event))
    if "FAILS_FROM" in os.environ:
        failed = [record for record in event["Records"] if os.environ["FAILS_FROM"] in json.dumps(record)]
        return {"batchItemFailures": [{"itemIdentifier": sequence_number(record)} for record in failed]}
    if "RESULT" not in os.environ:
        raise Exception("on purpose")
    return json.loads(os.environ["RESULT"])


def sequence_number(record):
    return record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["dynamodb"]["SequenceNumber"]
