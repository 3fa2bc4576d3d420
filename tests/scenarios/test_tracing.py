"""The trace header on its way: from the request to the function, its log, and the functions that it calls."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

TELLS = "import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']\n"
CALLS = """
import json, os, boto3
def handler(event, context):
    answer = boto3.client("lambda").invoke(FunctionName=event)
    return [os.environ["_X_AMZN_TRACE_ID"], json.load(answer["Payload"])]
"""


def _fields(header: str) -> dict[str, str]:
    return dict(field.split("=", 1) for field in header.split(";"))


def test_an_active_function_is_sampled_and_its_report_says_so(
    deploy: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    name = deploy(TELLS, TracingConfig={"Mode": "Active"})
    outcome = invoke(name, LogType="Tail")
    trace = _fields(outcome.payload)
    assert trace["Sampled"] == "1"
    assert f"XRAY TraceId: {trace['Root']}\tSegmentId: {trace['Parent']}\tSampled: true" in outcome.log


def test_a_function_that_passes_through_samples_nothing_itself(
    deploy: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    outcome = invoke(deploy(TELLS), LogType="Tail")
    assert _fields(outcome.payload)["Sampled"] == "0"
    assert "XRAY" not in outcome.log


def test_a_trace_goes_on_through_functions_that_call_functions(
    deploy: Callable[..., str], aws_client: Callable[..., Any]
) -> None:
    client = aws_client("lambda", retries={"total_max_attempts": 2})
    inner, outer = deploy(TELLS), deploy(CALLS, runtime="python3.11", Timeout=30, MemorySize=512)
    root = "1-5e34a614-10bdbc2e5c4ec1cb5b9ad6d3"

    def add_header(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = f"Root={root};Parent=53995c3f42cd8ad8;Sampled=1"

    client.meta.events.register("before-sign.lambda.Invoke", add_header)
    try:
        answer = client.invoke(FunctionName=outer, Payload=json.dumps(inner), LogType="Tail")
    finally:
        client.meta.events.unregister("before-sign.lambda.Invoke", add_header)
    first, second = map(_fields, json.load(answer["Payload"]))
    assert first["Root"] == second["Root"] == root
    assert first["Sampled"] == second["Sampled"] == "1"
    assert f"XRAY TraceId: {root}" in base64.b64decode(answer["LogResult"]).decode()


def test_a_request_to_a_function_url_is_sampled_too(
    deploy: Callable[..., str], aws_client: Callable[..., Any], gateway: Any
) -> None:
    client = aws_client("lambda")
    source = "import os\ndef handler(event, context):\n"
    source += "    return [event['headers']['x-amzn-trace-id'], os.environ['_X_AMZN_TRACE_ID']]\n"
    name = deploy(source, TracingConfig={"Mode": "Active"})
    for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
        client.add_permission(FunctionName=name, StatementId=action[7:], Action=action, Principal="*")
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    host = urlsplit(url).netloc
    connection = HTTPConnection("127.0.0.1", gateway.port)
    try:
        connection.request("GET", "/", headers={"Host": host})
        told, seen = json.load(connection.getresponse())
    finally:
        connection.close()
    assert _fields(told)["Root"] == _fields(seen)["Root"]
    assert _fields(seen)["Sampled"] == "1"


def test_the_caller_gets_the_header_that_the_function_sees(
    deploy: Callable[..., str], aws_client: Callable[..., Any]
) -> None:
    client, name = aws_client("lambda"), deploy(TELLS)
    answer = client.invoke(FunctionName=name)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"] == json.load(answer["Payload"])
    streamed = client.invoke_with_response_stream(FunctionName=name)
    (chunk,) = [event["PayloadChunk"]["Payload"] for event in streamed["EventStream"] if "PayloadChunk" in event]
    assert streamed["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"] == json.loads(chunk)
    accepted = client.invoke(FunctionName=name, InvocationType="Event")
    assert _fields(accepted["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"])["Root"]
