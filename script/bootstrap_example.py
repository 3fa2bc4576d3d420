#!/usr/bin/env -S python3 -S
"""A custom runtime in one file: the whole Runtime API loop of an echo function."""

import os
from http.client import HTTPConnection

connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    connection.request("GET", "/2018-06-01/runtime/invocation/next")
    response = connection.getresponse()
    event, request_id = response.read(), response.headers["Lambda-Runtime-Aws-Request-Id"]
    connection.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", event)
    connection.getresponse().read()
