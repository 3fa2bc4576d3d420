"""Answers the environment variables that the event names, or all of them as the process had them at its start."""

import os

AT_START = dict(os.environ)


def handler(event, context):
    if "names" in event:
        return {name: os.environ[name] for name in event["names"]}
    return {"environment": AT_START | {"_X_AMZN_TRACE_ID": os.environ["_X_AMZN_TRACE_ID"]}}
