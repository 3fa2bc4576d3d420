"""Fails, whatever the event is:
on line 7, as the recorded stack trace says.
"""


def handler(event, context):
    raise Exception("intentional failure")
