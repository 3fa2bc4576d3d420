"""What a request to a function URL looked like; `trim-x-headers` leaves out what the platform added."""

import json


def handler(event, context):
    http = event["requestContext"]["http"]
    headers = event["headers"]
    if headers.pop("trim-x-headers", None):
        headers = {name: value for name, value in headers.items() if not name.startswith("x-")}
    return {
        "args": event.get("queryStringParameters", {}),
        "data": json.loads(event["body"]),
        "domain": event["requestContext"]["domainName"],
        "headers": headers,
        "method": http["method"],
        "origin": http["sourceIp"],
        "path": event["rawPath"],
    }
