"""Settings that take effect, failures that say what happened, answers that nobody made up."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import uuid

import pytest

from . import machine

EXECUTORS = ("process", "docker")

pytestmark = pytest.mark.scenario

SIX_MIB = 6_291_456
LARGEST_RESPONSE = 6_291_556
EVALUATE = "import os, sys, json, time\nstate = []\ndef handler(event, context):\n    return eval(event)\n"
RAISES = """
import os
calls = 0
class TooBad(Exception):
    pass
def fail(message):
    raise TooBad(message)
def handler(event, context):
    global calls
    calls += 1
    if event:
        fail(event)
    return [calls, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
"""


@pytest.fixture
def log_events(aws_client):
    """`log_events(name, count)`: (stream, message) of a function's log, once it has `count` REPORT lines."""

    def read(name, count=1):
        logs, found = aws_client("logs"), []

        def complete():
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
            found[:] = [(event["logStreamName"], event["message"]) for page in pages for event in page["events"]]
            return sum(message.startswith("REPORT") for _, message in found) >= count

        def there():
            try:
                return complete()
            except logs.exceptions.ResourceNotFoundException:
                return False

        machine.eventually(there, "the log is there")
        return found

    return read


# --- payloads


@pytest.mark.parametrize("payload", [b"{", b"{'a': 1}", b"[1,]", b"NaN", b'{"a":', b"\xef\xbb\xbf{}x", b'{"a": 01}'])
def test_a_payload_that_is_not_json_is_refused_and_does_not_reach_the_handler(lasting, aws_client, refused, payload):
    error = refused(aws_client("lambda").invoke, FunctionName=lasting(EVALUATE), Payload=payload)
    assert error["Error"]["Code"] == "InvalidRequestContentException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert error["Error"]["Message"].startswith("Could not parse request body into json")


@pytest.mark.parametrize("invocation_type", ["RequestResponse", "Event", "DryRun"])
def test_a_payload_with_a_byte_that_is_not_utf8_is_a_400(lasting, aws_client, refused, invocation_type):
    invoke, name = aws_client("lambda").invoke, lasting(EVALUATE)
    error = refused(invoke, FunctionName=name, Payload=b'{"a": "\xff"}', InvocationType=invocation_type)
    assert error["Error"]["Code"] == "InvalidRequestContentException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    "event",
    [None, True, 0, -1.5e300, "", "ä✓😀\u2028", [], {}, {"": {"a": [None, [1]]}}, [[]] * 300, {"n": 2**70}],
    ids=lambda event: json.dumps(event)[:30],
)
def test_any_json_value_arrives_and_comes_back_as_it_is(lasting, result, event):
    assert result(lasting("def handler(event, context):\n    return event\n"), event) == event


def test_a_request_of_six_megabytes_passes_and_one_byte_more_does_not(lasting, aws_client, result, refused):
    name = lasting("def handler(event, context):\n    return len(event)\n")
    assert result(name, b'"' + b"x" * (SIX_MIB - 2) + b'"') == SIX_MIB - 2
    error = refused(aws_client("lambda").invoke, FunctionName=name, Payload=b'"' + b"x" * (SIX_MIB - 1) + b'"')
    assert error["Error"]["Code"] == "RequestEntityTooLargeException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_response_of_six_megabytes_passes_and_one_byte_more_is_an_error(lasting, invoke, result):
    name = lasting("def handler(event, context):\n    return 'x' * event\n")
    assert len(result(name, LARGEST_RESPONSE - 2)) == LARGEST_RESPONSE - 2
    outcome = invoke(name, LARGEST_RESPONSE - 1)
    assert (outcome.error, outcome.payload["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert result(name, 1) == "x", "and the next invoke works"


def test_the_client_context_arrives(lasting, result):
    name = lasting(
        "def handler(event, context):\n"
        "    return [context.client_context.client.app_title, context.client_context.custom, context.client_context.env]\n"
    )
    sent = {"client": {"app_title": "demo ✓"}, "custom": {"a": "b"}, "env": {"locale": "de"}}
    encoded = base64.b64encode(json.dumps(sent).encode()).decode()
    assert result(name, ClientContext=encoded) == ["demo ✓", {"a": "b"}, {"locale": "de"}]


def test_the_context_says_what_was_configured(deploy, result):
    name = deploy(
        "def handler(event, context):\n"
        "    return [context.function_name, context.function_version, context.memory_limit_in_mb,\n"
        "            context.invoked_function_arn, context.get_remaining_time_in_millis()]\n",
        MemorySize=333,
        Timeout=77,
    )
    *facts, remaining = result(name)
    assert facts == [name, "$LATEST", "333", f"arn:aws:lambda:us-east-1:000000000000:function:{name}"]
    assert 70_000 < remaining <= 77_000


# --- failures


def test_a_handler_that_raises_keeps_its_environment_and_globals(lasting, invoke, result):
    name = lasting(RAISES)
    before, stream = result(name)
    assert invoke(name, "no").error == "Unhandled"
    assert invoke(name, "not again").error == "Unhandled"
    assert result(name) == [before + 3, stream]


def test_a_handler_that_raises_answers_its_error_type_message_and_stack_trace(lasting, invoke):
    outcome = invoke(lasting(RAISES), "what a pity ✓")
    assert outcome.status == 200
    assert outcome.error == "Unhandled"
    assert outcome.payload["errorType"] == "TooBad"
    assert outcome.payload["errorMessage"] == "what a pity ✓"
    assert outcome.payload["requestId"] == outcome.request_id
    assert [re.search(r"line (\d+), in (\w+)", line).groups() for line in outcome.payload["stackTrace"]] == [
        ("12", "handler"),
        ("7", "fail"),
    ]
    assert all("awslambdaric" not in line for line in outcome.payload["stackTrace"])


def test_a_result_that_is_not_json_is_a_marshal_error(lasting, invoke):
    outcome = invoke(lasting(EVALUATE), "object()")
    assert (outcome.error, outcome.payload["errorType"]) == ("Unhandled", "Runtime.MarshalError")
    assert "is not JSON serializable" in outcome.payload["errorMessage"]


def test_a_time_out_says_so_with_the_request_id_and_in_the_log(deploy, invoke):
    name = deploy(EVALUATE, Timeout=1)
    began = time.monotonic()
    outcome = invoke(name, "time.sleep(30)", LogType="Tail")
    assert time.monotonic() - began < 10
    assert (outcome.status, outcome.error) == (200, "Unhandled")
    assert outcome.payload == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {outcome.request_id} Error: Task timed out after 1.00 seconds",
    }
    assert re.search(rf"^\S+Z {outcome.request_id} Task timed out after 1\.00 seconds$", outcome.log, re.MULTILINE)
    assert "Status: timeout" in outcome.log
    assert invoke(name, "1").payload == 1, "and the next invoke has a new environment"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("os._exit(7)", "Runtime exited with error: exit status 7"),
        ("sys.exit(0)", "Runtime exited without providing a reason"),
        ("os.abort()", "Runtime exited with error: signal: aborted"),
        ("os.kill(os.getpid(), 11)", "Runtime exited with error: signal: segmentation fault"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_runtime_that_ends_says_how(lasting, invoke, statement, reason):
    outcome = invoke(lasting(EVALUATE), statement)
    assert outcome.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {outcome.request_id} Error: {reason}",
    }


def test_an_import_that_fails_answers_in_the_shape_of_aws(deploy, invoke):
    outcome = invoke(deploy("import not_there\n"))
    assert outcome.error == "Unhandled"
    assert outcome.payload["errorType"] == "Runtime.ImportModuleError"
    assert outcome.payload["errorMessage"] == "Unable to import module 'index': No module named 'not_there'"
    assert outcome.payload["stackTrace"] == []


def test_a_module_that_raises_answers_its_own_error(deploy, invoke):
    outcome = invoke(deploy("def setup():\n    return {}['key']\nsetup()\n"))
    assert (outcome.payload["errorType"], outcome.payload["errorMessage"]) == ("KeyError", "'key'")
    assert any("in setup" in line for line in outcome.payload["stackTrace"])


def test_a_syntax_error_and_a_missing_handler_are_told_apart(deploy, invoke):
    syntax, handler = deploy("def handler(:\n"), deploy("def other(event, context):\n    pass\n")
    assert invoke(syntax).payload["errorType"] == "Runtime.UserCodeSyntaxError"
    missing = invoke(handler).payload
    assert missing["errorType"] == "Runtime.HandlerNotFound"
    assert missing["errorMessage"] == "Handler 'handler' missing on module 'index'"


def test_the_init_phase_is_bounded_and_repeated_within_the_invoke(own_gateway, functions_of):
    functions = functions_of(own_gateway(LAMBDA_INIT_TIMEOUT_S="0.3"))
    name = functions.create(
        "slow-init", "import time\ntime.sleep(600)\ndef handler(event, context):\n    pass\n", Timeout=1
    )
    began = time.monotonic()
    outcome = functions.invoke(name)
    assert time.monotonic() - began < 10
    assert outcome.payload["errorType"] == "Sandbox.Timedout"
    assert outcome.payload["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")


def test_a_failed_init_is_tried_again_by_the_next_invoke(deploy, invoke):
    name = deploy(
        "import random\nif random.random() < 0.5:\n    raise ValueError('bad luck')\ndef handler(e, c):\n    return 1\n"
    )
    # Two tries an invoke, each good half of the time, until it is good: 30 failures in a row are one in 10**18.
    outcomes = [invoke(name) for _ in range(30)]
    assert any(outcome.error is None for outcome in outcomes)
    assert all(outcome.payload["errorType"] == "ValueError" for outcome in outcomes if outcome.error)


# --- runtimes


@pytest.mark.process_only  # In a container the image has the interpreter.
@pytest.mark.parametrize("runtime", ["python3.9", "python3.11", "python3.12", "python3.14"])
def test_the_runtime_that_was_asked_for_runs_or_the_log_says_which_one_does(deploy, result, log_events, runtime):
    name = deploy(EVALUATE, runtime=runtime)
    found = result(name, "'python%d.%d' % sys.version_info[:2]")
    assert result(name, "os.environ['AWS_EXECUTION_ENV']") == f"AWS_Lambda_{runtime}"
    warnings = [message for _, message in log_events(name) if "[WARN] lambda-provider" in message]
    if found == runtime:
        assert warnings == []
    else:
        assert len(warnings) == 1
        assert f"{runtime} is not installed" in warnings[0]
        assert found.removeprefix("python") in warnings[0]


@pytest.mark.process_only  # In a container the image has the interpreter.
def test_a_missing_interpreter_is_an_error_where_a_setting_says_so(own_gateway, functions_of):
    running = own_gateway(LAMBDA_RUNTIME_MISMATCH="error")
    functions = functions_of(running)
    for runtime in ("python3.9", "python3.11", "python3.14"):
        files = {"index.py": EVALUATE}
        functions.client.create_function(
            FunctionName=runtime.replace(".", "-"),
            Runtime=runtime,
            Handler="index.handler",
            Role="arn:aws:iam::000000000000:role/r",
            Code={"ZipFile": functions.zip_of(files)},
        )
        state = functions.client.get_function_configuration(FunctionName=runtime.replace(".", "-"))
        if state["State"] == "Failed":
            assert f"{runtime} is not installed" in state["StateReason"]
        else:
            ran = functions.result(runtime.replace(".", "-"), "'python%d.%d' % sys.version_info[:2]")
            assert ran == runtime


@pytest.mark.parametrize("runtime", ["java21", "ruby3.3", "dotnet8"])
def test_a_runtime_that_cannot_run_here_is_an_error_and_no_made_up_result(deploy, aws_client, invoke, runtime):
    name = deploy(EVALUATE, runtime=runtime, handler="a.B::c")
    try:
        outcome = invoke(name)
    except aws_client("lambda").exceptions.InvalidRuntimeException as error:
        assert f"{runtime} cannot run here" in str(error)
    else:  # It is installed, and has looked for the handler in an archive of Python.
        assert outcome.error == "Unhandled"
        assert outcome.payload["errorMessage"]


# --- logs


def test_the_tail_of_the_log_has_what_was_printed_between_start_and_end_and_a_report(deploy, invoke):
    name = deploy(
        "def handler(event, context):\n    kept = bytearray(event << 20)\n    print('hello ✓')\n    return len(kept)\n",
        MemorySize=512,
    )
    invoke(name, 1)
    small, large = invoke(name, 1, LogType="Tail"), invoke(name, 100, LogType="Tail")
    start, hello, end, report = large.log.splitlines()[:4]
    assert start == f"START RequestId: {large.request_id} Version: $LATEST"
    assert hello == "hello ✓"
    assert end == f"END RequestId: {large.request_id}"
    pattern = r"REPORT RequestId: {}\tDuration: ([\d.]+) ms\tBilled Duration: (\d+) ms\t"
    pattern += r"Memory Size: 512 MB\tMax Memory Used: (\d+) MB"
    found = re.match(pattern.format(large.request_id), report)
    assert found is not None, report
    assert 0 < float(found[1]) <= int(found[2]) <= float(found[1]) + 1
    used_before = int(re.search(r"Max Memory Used: (\d+) MB", small.log)[1])
    assert used_before + 90 <= int(found[3]) <= used_before + 130, "memory is measured"
    assert invoke(name, 1).log == ""


def test_the_duration_of_a_report_is_the_real_one(lasting, invoke):
    outcome = invoke(lasting(EVALUATE), "time.sleep(0.25)", LogType="Tail")
    assert 250 <= float(re.search(r"\tDuration: ([\d.]+) ms", outcome.log)[1]) < 2000


def test_the_tail_is_the_last_four_kilobytes(lasting, invoke):
    log = invoke(lasting(EVALUATE), "[print('x' * 99) for _ in range(1000)] and None", LogType="Tail").log
    assert len(log.encode()) <= 4096
    assert log.rstrip().rpartition("\n")[2].startswith("REPORT")


def test_one_log_stream_is_one_environment_and_not_one_invoke(deploy, result, invoke, log_events):
    name = deploy(EVALUATE)
    stream = result(name, "os.environ['AWS_LAMBDA_LOG_STREAM_NAME']")
    result(name, "print('a marked line')")
    assert invoke(name, "nonsense").error
    events = log_events(name, 3)
    assert {found for found, _ in events} == {stream}
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    messages = [message for _, message in events]
    assert messages[0].startswith("INIT_START Runtime Version: python:3.12")
    assert "a marked line\n" in messages
    assert sum(message.startswith("START RequestId") for message in messages) == 3


# --- settings


def test_the_weights_of_an_alias_are_honoured(deploy, aws_client, invoke):
    name, client = (
        deploy("def handler(event, context):\n    return context.function_version\n", Publish=True),
        aws_client("lambda"),
    )
    client.update_function_configuration(FunctionName=name, Description="second")
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    client.create_alias(
        FunctionName=name, Name="split", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}}
    )
    answers = [client.invoke(FunctionName=name, Qualifier="split") for _ in range(400)]
    versions = [answer["ExecutedVersion"] for answer in answers]
    assert [json.loads(answer["Payload"].read()) for answer in answers] == versions
    # 100 are expected, with a standard deviation of 9: this is six of them.
    assert 46 < versions.count("2") < 154
    assert set(versions) == {"1", "2"}


def test_the_size_of_tmp_is_enforced(isolated, deploy, result, invoke):
    name = deploy(EVALUATE, EphemeralStorage={"Size": 512})
    # 512 is the least that AWS takes; the statement of the file system is quicker than filling it.
    assert result(
        name, "[os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize, os.statvfs('/').f_flag & os.ST_RDONLY]"
    ) == [
        512 << 20,
        os.ST_RDONLY,
    ]
    outcome = invoke(name, "os.posix_fallocate(os.open('/tmp/large', os.O_CREAT | os.O_RDWR), 0, 513 << 20)")
    assert outcome.payload["errorType"] == "OSError"
    assert "No space left on device" in outcome.payload["errorMessage"]


def test_a_changed_setting_holds_from_the_next_invoke_on(deploy, aws_client, result):
    name, client = deploy(EVALUATE, Environment={"Variables": {"COLOUR": "red"}}), aws_client("lambda")
    assert result(name, "os.environ['COLOUR']") == "red"
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"COLOUR": "blue"}}, MemorySize=192
    )
    assert result(name, "[os.environ['COLOUR'], os.environ['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']]") == ["blue", "192"]


def test_the_account_and_region_of_the_caller_are_those_of_the_function(deploy, aws_client, result):
    name = deploy(EVALUATE, region="eu-west-3", account="123456789012")
    answer = aws_client("lambda", region="eu-west-3", account="123456789012").invoke(
        FunctionName=name, Payload=json.dumps("[os.environ['AWS_REGION'], context.invoked_function_arn]")
    )
    assert json.loads(answer["Payload"].read()) == [
        "eu-west-3",
        f"arn:aws:lambda:eu-west-3:123456789012:function:{name}",
    ]
    client = aws_client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name)


def test_an_operation_that_is_not_built_says_so_instead_of_pretending(lasting, aws_client):
    client, name = aws_client("lambda"), lasting(EVALUATE)
    with pytest.raises(client.exceptions.ClientError) as raised:
        client.invoke(FunctionName=name, DurableExecutionName=f"run-{uuid.uuid4().hex}")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
