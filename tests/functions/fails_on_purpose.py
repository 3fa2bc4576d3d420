"""Fails, on line 7, whatever the event is."""


def handler(event, context):
    raise Exception("intentional failure")
