"""Sleeps as many seconds as the event says."""

import time


def handler(event, context):
    time.sleep(event["sleep"])
