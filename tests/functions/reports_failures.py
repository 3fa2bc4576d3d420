"""Reports the messages of a batch that fail as often as they say, or what the variable RESULT has; a queue is told of both."""

import json
import os

import boto3

sqs = boto3.client("sqs")


def handler(event, context):
    failed = [
        {"itemIdentifier": record["messageId"]}
        for record in event["Records"]
        if int(record["attributes"]["ApproximateReceiveCount"]) <= json.loads(record["body"])["fail_attempts"]
    ]
    result = json.loads(os.environ["RESULT"]) if "RESULT" in os.environ else {"batchItemFailures": failed}
    answer = json.dumps({"event": event, "result": result})
    sqs.send_message(QueueUrl=os.environ["DESTINATION"], MessageBody=answer)
    return result
