"""Answers a text of as many bytes as the event says; as JSON it is two longer."""


def handler(event, context):
    return "x" * event["bytes"]
