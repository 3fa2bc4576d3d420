"""Sends its event to the queue that the environment names, with who it was when it got it if that is asked for."""

import json
import os

import boto3

sqs = boto3.client("sqs")


def handler(event, context):
    told = event
    if "CUSTOM_VAR" in os.environ:
        told = {
            "function_version": context.function_version,
            "CUSTOM_VAR": os.environ["CUSTOM_VAR"],
            "event": event,
        }
    sqs.send_message(QueueUrl=os.environ["DESTINATION"], MessageBody=json.dumps(told))
