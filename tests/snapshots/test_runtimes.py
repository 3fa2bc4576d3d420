"""The same two functions in every language: one that answers the event, and one that fails."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from .harness.functions import FUNCTIONS, archive, zipped
from .harness.plugin import recorded
from .harness.steps import payload
from .harness.transformers import masked_member

pytestmark = pytest.mark.scenario
common = partial(recorded, "lambda_common.json")

EVENT = {"simple": "event", "list": [1, 2.5, None, True], "text": "ä€😀", "object": {"nested": {}}}
RUST_ERROR = {
    "errorType": "&alloc::boxed::Box<dyn core::error::Error + core::marker::Send + core::marker::Sync>",
    "errorMessage": 'Error: "some_error_msg"',
}
GO_ERROR = {"errorMessage": "Error: some_error_msg", "errorType": "errorString"}


def runtimes(*names, missing=None):
    """Parameters for runtimes; `missing` says why they cannot run here."""
    marks = [pytest.mark.skip(reason=missing)] if missing else []
    return [pytest.param(name, id=name, marks=marks) for name in names]


NO_CLIENT = "needs a build of AWS's runtime client for it, which is not part of this project's test set-up"
PYTHON = runtimes(*(f"python3.{minor}" for minor in (8, 9, 10, 11, 12, 13, 14)))
NODE = runtimes(
    *(f"nodejs{major}.x" for major in (16, 18, 20, 22, 24)),
    missing=None if shutil.which("node") else "Node.js is not installed",
)
PROVIDED = runtimes(
    "provided.al2", "provided.al2023", missing=None if shutil.which("curl") else "the bootstrap needs curl"
)
OTHERS = runtimes(
    *("dotnet10", "dotnet6", "dotnet8", "java11", "java17", "java21", "java25", "java8.al2"),
    *("ruby3.2", "ruby3.3", "ruby3.4"),
    missing=NO_CLIENT,
)


@pytest.mark.parametrize("runtime", [*PYTHON, *NODE, *PROVIDED, *OTHERS])
@common("TestLambdaRuntimesCommon::test_echo_invoke")
def test_echo_invoke(aws, create, runtime):
    if runtime.startswith("python"):
        code = {"source": "echo.py"}
    elif runtime.startswith("nodejs"):
        code = {"source": "echo.js", "Handler": "index.handler"}
    else:
        code = {"Code": {"ZipFile": archive("bootstrap_echo")}, "Handler": "function.handler"}
    name = create(**code, Runtime=runtime, MemorySize=1024, Timeout=10)["FunctionName"]
    assert payload(aws.lambda_.invoke(FunctionName=name, Payload=json.dumps(EVENT).encode())) == EVENT
    for event in ({}, "simple-string", 10, [1, 2], None, False):
        assert payload(aws.lambda_.invoke(FunctionName=name, Payload=json.dumps(event).encode())) == event


@pytest.mark.parametrize("runtime", [*PYTHON, *NODE, *PROVIDED, *OTHERS])
@common("TestLambdaRuntimesCommon::test_uncaught_exception_invoke")
def test_uncaught_exception_invoke(aws, snapshot, create, runtime):
    if runtime.startswith("python"):
        code = {"source": "uncaught.py", "Handler": "handler.handler"}
    elif runtime.startswith("nodejs"):
        code = {"source": "uncaught.js", "Handler": "index.handler"}
    else:
        code = reported(RUST_ERROR)
    fail(aws, snapshot, create, code | {"Runtime": runtime})


@pytest.mark.parametrize("runtime", PROVIDED)
@recorded("lambda_runtimes.json", "TestGoProvidedRuntimes::test_uncaught_exception_invoke")
def test_error_of_a_go_runtime(aws, snapshot, create, runtime):
    fail(aws, snapshot, create, reported(GO_ERROR) | {"Runtime": runtime})


def reported(error):
    """A function on a bootstrap that reports this error for every event."""
    files = {"bootstrap": (FUNCTIONS / "bootstrap_error").read_bytes(), "error.json": json.dumps(error)}
    return {"Code": {"ZipFile": zipped(files)}, "Handler": "function.handler"}


def fail(aws, snapshot, create, parameters):
    """The two steps of a function that fails."""
    snapshot.transform(masked_member("stackTrace", "stack-trace"), masked_member("trace", "stack-trace"))
    created = create(**parameters, MemorySize=1024)
    snapshot.match("create_function_result", created)
    event = json.dumps({"error_msg": "some_error_msg"}).encode()
    snapshot.match("error_result", aws.lambda_.invoke(FunctionName=created["FunctionName"], Payload=event))


@pytest.mark.parametrize("runtime", PYTHON)
@recorded("lambda_runtimes.json", "TestPythonRuntimes::test_handler_in_submodule")
def test_handler_in_submodule(aws, create, runtime):
    code = zipped({"package/__init__.py": "", "package/sub/handler.py": echo()})
    name = create(Code={"ZipFile": code}, Runtime=runtime, Handler="package/sub/handler.handler")["FunctionName"]
    assert payload(aws.lambda_.invoke(FunctionName=name, Payload=b'{"foo": "bar"}')) == {"foo": "bar"}


def echo():
    """The source of the echo function in Python."""
    return (FUNCTIONS / "echo.py").read_text()


@pytest.mark.parametrize("runtime", PROVIDED)
@recorded("lambda_runtimes.json", "TestGoProvidedRuntimes::test_manual_endpoint_injection")
def test_the_code_is_told_the_endpoint_of_the_host(aws, create, runtime):
    if aws.is_aws:
        pytest.skip("AWS sets no AWS_ENDPOINT_URL")
    bootstrap = (FUNCTIONS / "bootstrap_echo").read_text()
    bootstrap = bootstrap.replace('--data-binary "@$headers.event"', '--data-binary "\\"$AWS_ENDPOINT_URL\\""')
    name = create(
        Code={"ZipFile": zipped({"bootstrap": bootstrap})}, Runtime=runtime, Handler="function.handler", Timeout=10
    )["FunctionName"]
    endpoint = payload(aws.lambda_.invoke(FunctionName=name, Payload=b"{}"))
    assert endpoint.startswith("http")
