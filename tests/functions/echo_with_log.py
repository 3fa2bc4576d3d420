"""Prints the event and answers it."""

import json


def handler(event, context):
    print(json.dumps(event))
    return event
