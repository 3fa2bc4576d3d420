"""Fails, on line 7, whatever the event is."""

import json


def handler(event, context):
    raise Exception("intentional failure")
