"""The same two functions in every language: one that answers the event, and one that fails."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from tests.scenarios.compiled import jar, java_classes

from .harness.functions import FUNCTIONS, archive, zipped
from .harness.plugin import recorded
from .harness.steps import payload, wait_for_log
from .harness.transformers import masked_member, member, value

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


NO_CLIENT = "needs .NET and AWS's runtime support for it, which are not part of this project's test set-up"
PYTHON = runtimes(*(f"python3.{minor}" for minor in (8, 9, 10, 11, 12, 13, 14)))
NODE = runtimes(
    *(f"nodejs{major}.x" for major in (16, 18, 20, 22, 24)),
    missing=None if shutil.which("node") else "Node.js is not installed",
)
PROVIDED = runtimes(
    "provided.al2", "provided.al2023", missing=None if shutil.which("curl") else "the bootstrap needs curl"
)
JAVA_IDS = ("java11", "java17", "java21", "java25", "java8.al2")
JAVA = runtimes(*JAVA_IDS, missing=None if shutil.which("javac") else "no JDK is installed")
RUBY = runtimes("ruby3.2", "ruby3.3", "ruby3.4", missing=None if shutil.which("ruby") else "Ruby is not installed")
DOTNET = runtimes("dotnet10", "dotnet6", "dotnet8", missing=NO_CLIENT)
OTHERS = [*JAVA, *RUBY, *DOTNET]


@pytest.mark.parametrize("runtime", [*PYTHON, *NODE, *PROVIDED, *OTHERS])
@common("TestLambdaRuntimesCommon::test_echo_invoke")
def test_echo_invoke(aws, create, runtime):
    if runtime.startswith("python"):
        code = {"source": "echo.py"}
    elif runtime.startswith("nodejs"):
        code = {"source": "echo.js", "Handler": "index.handler"}
    elif runtime.startswith("java"):
        code = in_java("echo", "echo.Handler")
    elif runtime.startswith("ruby"):
        code = {"source": "ruby/echo.rb", "Handler": "function.handler"}
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
    elif runtime.startswith("java"):
        code = in_java("echo", "echo.Handler")
    elif runtime.startswith("ruby"):
        code = {"source": "ruby/uncaught.rb", "Handler": "function.handler"}
    else:
        code = reported(RUST_ERROR)
    fail(aws, snapshot, create, code | {"Runtime": runtime})


@pytest.mark.parametrize("runtime", PROVIDED)
@recorded("lambda_runtimes.json", "TestGoProvidedRuntimes::test_uncaught_exception_invoke")
def test_error_of_a_go_runtime(aws, snapshot, create, runtime):
    fail(aws, snapshot, create, reported(GO_ERROR) | {"Runtime": runtime})


def in_java(folder, handler, files=None):
    """A function of a folder of tests/functions/java."""
    return {"Code": {"ZipFile": zipped(java_classes(folder) | (files or {}))}, "Handler": handler}


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


WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}
SAMPLES = "cloud/localstack"


@pytest.mark.parametrize("runtime", JAVA)
@recorded("lambda_runtimes.json", "TestJavaRuntimes::test_stream_handler")
def test_stream_handler(aws, snapshot, create, runtime):
    name = create(**in_java("rules", "rules.Streams"), **WITH_ENVIRONMENT, Runtime=runtime)["FunctionName"]
    snapshot.match("invoke_result", aws.lambda_.invoke(FunctionName=name, Payload=b"{}"))


@pytest.mark.parametrize("runtime", JAVA)
@recorded("lambda_runtimes.json", "TestJavaRuntimes::test_serializable_input_object")
def test_serializable_input_object(aws, snapshot, create, runtime):
    handler = "cloud.localstack.awssdkv1.sample.SerializedInputLambdaHandler"
    created = create(**in_java(SAMPLES, handler), **WITH_ENVIRONMENT, Runtime=runtime)
    snapshot.match("create-result", created)
    event = json.dumps({"bucket": "test_bucket", "key": "test_key"}).encode()
    snapshot.match("invoke-result", aws.lambda_.invoke(FunctionName=created["FunctionName"], Payload=event))


@recorded("lambda_runtimes.json", "TestJavaRuntimes::test_java_runtime_with_lib")
def test_java_runtime_with_lib(aws, snapshot, create):
    library, samples = java_classes("library"), java_classes(SAMPLES)
    archives = {
        "jar-with-lib": samples | library,
        "zip-with-lib": samples | {"lib/library.jar": jar(library)},
        "zip-with-lib-gradle": {"lib/samples.jar": jar(samples), "lib/library.jar": jar(library)},
    }
    for name, files in archives.items():
        created = create(
            Code={"ZipFile": zipped(files)},
            Handler="cloud.localstack.sample.LambdaHandlerWithLib",
            Runtime="java11",
            **WITH_ENVIRONMENT,
        )
        snapshot.match(f"create-result-{name}", created)
        answer = aws.lambda_.invoke(FunctionName=created["FunctionName"], Payload=b'{"echo": "echo"}')
        snapshot.match(f"invoke-result-{name}", answer)


@recorded("lambda_runtimes.json", "TestJavaRuntimes::test_java_lambda_subscribe_sns_topic")
def test_java_lambda_subscribe_sns_topic(aws, snapshot, create, new_name):
    handler = "cloud.localstack.sample.LambdaHandler"
    name = create(**in_java(SAMPLES, handler), **WITH_ENVIRONMENT, Runtime="java11")["FunctionName"]
    found = aws.lambda_.get_function(FunctionName=name)
    snapshot.match("get-function", found)
    sns = aws.client("sns")
    topic = sns.create_topic(Name=new_name("topic"))["TopicArn"]
    snapshot.transform(value(topic.rpartition(":")[2], "resource"), member("Sid", "sid"))
    try:
        permission = aws.lambda_.add_permission(
            FunctionName=name,
            StatementId=new_name("statement"),
            Action="lambda:InvokeFunction",
            Principal="sns.amazonaws.com",
            SourceArn=topic,
        )
        snapshot.match("add-permission", permission)
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=found["Configuration"]["FunctionArn"])
        sns.publish(TopicArn=topic, Subject="a subject", Message="from a topic")
        wait_for_log(aws, name, "notified: from a topic")
    finally:
        sns.delete_topic(TopicArn=topic)
