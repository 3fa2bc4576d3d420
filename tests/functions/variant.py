"""Tells which variant of the configuration an invoke ran with; an event that says so takes its time."""

import os
import time

VARIANT = os.environ["FUNCTION_VARIANT"]


def handler(event, context):
    prefix = event["request_prefix"]
    print(f"{prefix}--{VARIANT}")
    time.sleep(event.get("sleep", 0))
    return {
        "function_version": context.function_version,
        "request_id": context.aws_request_id,
        "request_prefix": prefix,
        "function_variant": VARIANT,
    }
