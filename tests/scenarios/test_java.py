"""Functions in Java: AWS's runtime client in a virtual machine of this machine."""

from __future__ import annotations

import re
import uuid

import pytest

from .compiled import jar, java_classes

pytestmark = pytest.mark.scenario
INNER = {"MemorySize": 512, "Timeout": 20}


@pytest.fixture(scope="module")
def classes():
    """The classes of `tests/functions/java/rules`."""
    return java_classes("rules")


@pytest.fixture
def in_java(deploy, classes):
    """`in_java("method")` deploys `rules.Functions::method`, or another handler of the same folder."""

    def create(handler: str, files: dict[str, bytes] | None = None, **parameters):
        name = handler if "." in handler else f"rules.Functions::{handler}"
        return deploy(classes | (files or {}), runtime="java17", handler=name, **(INNER | parameters))

    return create


def test_a_function_sees_what_it_sees_on_aws(in_java, invoke, aws_client):
    name = in_java("look", Environment={"Variables": {"MINE": "1"}})
    cold = invoke(name, {}, LogType="Tail")
    warm = invoke(name, {}, LogType="Tail")
    assert [cold.payload["invocations"], warm.payload["invocations"]] == [1, 2], "one virtual machine for both"
    assert "Init Duration" in cold.log and "Init Duration" not in warm.log
    seen = warm.payload
    assert seen["requestId"] == warm.request_id
    assert seen["arn"] == aws_client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert 15_000 < seen["remainingMs"] <= 20_000
    assert (seen["memoryMb"], seen["logGroup"]) == (512, f"/aws/lambda/{name}")
    assert 400 <= seen["heapMib"] <= 435, "85 % of the memory"
    assert seen["zone"] in {"UTC", "GMT"}
    assert seen["trace"].startswith("Root=1-")
    assert seen["variables"]["AWS_EXECUTION_ENV"] == "AWS_Lambda_java17"
    assert seen["variables"]["MINE"] == "1"


@pytest.mark.usefixtures("isolated")
def test_paths_and_user_are_those_of_aws(in_java, result):
    seen = result(in_java("look"), {})
    assert (seen["directory"], seen["user"]) == ("/var/task", "sbx_user1051")
    assert {path.rpartition("/")[0] for path in seen["classPath"].split(":")} == {"/var/runtime/lib"}


def test_streams_are_passed_as_they_are(in_java, result):
    name = in_java("rules.Streams")
    for event in ({"a": ["ä€😀", 1.50, None]}, "text", []):
        assert result(name, event) == event


def test_classes_lie_in_jars_below_lib_too(in_java, deploy, result):
    files = {"lib/library.jar": jar(java_classes("library")), "lib/rules.jar": jar(java_classes("rules"))}
    name = deploy(files, runtime="java17", handler="rules.Functions::use", **INNER)
    assert result(name, {"a": "b"}) == '{"a":"b"}'


def test_layers_bring_jars(in_java, result, aws_client, zip_of):
    client, layer = aws_client("lambda"), f"jars-{uuid.uuid4().hex[:10]}"
    content = {"ZipFile": zip_of({"java/lib/library.jar": jar(java_classes("library"))})}
    version = client.publish_layer_version(LayerName=layer, Content=content)
    try:
        assert result(in_java("use", Layers=[version["LayerVersionArn"]]), {"a": "b"}) == '{"a":"b"}'
    finally:
        client.delete_layer_version(LayerName=layer, VersionNumber=version["Version"])


def test_exceptions_have_their_class_their_trace_and_their_cause(in_java, invoke):
    name = in_java("fail")
    outcome = invoke(name, "with a cause", LogType="Tail")
    assert outcome.error == "Unhandled"
    assert (outcome.payload["errorType"], outcome.payload["errorMessage"]) == (
        "java.lang.IllegalStateException",
        "outer",
    )
    assert outcome.payload["stackTrace"][0].startswith("rules.Functions.fail(Functions.java:")
    assert "outer: java.lang.IllegalStateException" in outcome.log
    assert "Caused by: java.lang.IllegalArgumentException: inner" in outcome.log
    assert invoke(name, "checked").payload["errorType"] == "java.io.IOException"
    assert invoke(name, "go on").payload == "go on", "the virtual machine goes on after exceptions"


def test_an_error_of_the_machine_ends_it(in_java, invoke):
    name = in_java("fail", MemorySize=256)
    outcome = invoke(name, "memory")
    assert outcome.error == "Unhandled"
    assert outcome.payload["errorType"] in {"java.lang.OutOfMemoryError", "Runtime.OutOfMemory", "Runtime.ExitError"}
    assert invoke(name, "go on").payload == "go on"


def test_an_exit_is_an_exit_of_the_runtime(in_java, invoke):
    name = in_java("fail")
    outcome = invoke(name, "exit")
    assert outcome.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {outcome.request_id} Error: Runtime exited with error: exit status 3",
    }


def test_a_timeout_ends_it(in_java, invoke):
    name = in_java("fail", Timeout=3)
    outcome = invoke(name, "sleep")
    assert outcome.payload["errorType"] == "Sandbox.Timedout"


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("rules.NotThere", "java.lang.ClassNotFoundException", "Class not found: rules.NotThere"),
        ("rules.Functions::notThere", "Runtime.BadFunctionCode", "No public method named notThere"),
        ("rules.FailsToInitialise::handle", "java.lang.ExceptionInInitializerError", "FailsToInitialise"),
    ],
)
def test_what_cannot_be_loaded_says_why(in_java, invoke, handler, kind, message):
    outcome = invoke(in_java(handler), {}, LogType="Tail")
    assert outcome.error == "Unhandled"
    assert message in str(outcome.payload), outcome
    assert kind in str(outcome.payload) + outcome.log


def test_lines_and_log_events(in_java, invoke):
    log = invoke(in_java("print"), {"text": "ä"}, LogType="Tail").log
    for line in ("printed: ä", "on the other: ä", "logged: ä", "its second line", "warned: ä"):
        assert line in log


def test_the_json_format_has_levels_and_request_ids(in_java, invoke):
    name = in_java("print", LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN"})
    outcome = invoke(name, {"text": "x"}, LogType="Tail")
    line = next(line for line in outcome.log.splitlines() if "warned: x" in line)
    assert re.search(r'"level":\s*"WARN"', line)
    assert outcome.request_id in line
    assert "debugged" not in outcome.log


@pytest.mark.parametrize(
    ("options", "collectors", "left_out"),
    [
        ("-XX:+UseParallelGC", {"PS MarkSweep", "PS Scavenge"}, "-XX:+UseSerialGC"),
        ("-XX:TieredStopAtLevel=4", {"Copy", "MarkSweepCompact"}, "-XX:TieredStopAtLevel=1"),
        ("-Xmx64m", {"Copy", "MarkSweepCompact"}, "-XX:MaxHeapSize="),
        ("-Xshare:off", {"Copy", "MarkSweepCompact"}, "-XX:SharedArchiveFile="),
    ],
)
def test_options_of_the_function_win(in_java, result, options, collectors, left_out):
    seen = result(in_java("look", Environment={"Variables": {"JAVA_TOOL_OPTIONS": options}}), {})
    assert set(seen["collectors"]) == collectors
    assert options in seen["options"]
    assert not [option for option in seen["options"] if option.startswith(left_out)]
    if options == "-Xmx64m":
        assert seen["heapMib"] <= 64


def test_the_classes_of_the_client_come_from_an_archive_without_a_word(in_java, result, aws_client):
    told = {"JAVA_TOOL_OPTIONS": "-Xlog:class+load"}
    for environment in ({}, told):
        name = in_java("look", Environment={"Variables": environment})
        result(name, {})
        events = aws_client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        messages = [event["message"] for event in events]
        assert [each for each in messages if "START" in each]
        assert not [each for each in messages if "warning" in each.lower()]
    # Of the last one: the whole log is too long for one page, but the client comes early.
    loaded = next(each for each in messages if "runtime.api.client.AWSLambda source" in each)
    assert "shared objects file (top)" in loaded
