"""Tells which version of the code ran, and as what it was invoked. `VERSION` is replaced before it is zipped."""

VERSION = "version1"


def handler(event, context):
    return {
        "version_id": VERSION,
        "invoked_arn": context.invoked_function_arn,
        "version_from_ctx": context.function_version,
    }
