"""Raises what the event says."""


def handler(event, context):
    raise Exception("Failed: " + event["error_msg"])
