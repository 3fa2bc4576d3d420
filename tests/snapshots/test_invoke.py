"""Invoke: payloads, invocation types, errors, logs, and what the function sees."""

from __future__ import annotations

import json
import threading
import uuid
from functools import partial

import pytest

from .harness.functions import FUNCTIONS, archive, zipped
from .harness.plugin import recorded
from .harness.steps import log_lines, payload, refused, updated
from .harness.transformers import LOG_LINES, masked_member, masked_text, member

pytestmark = pytest.mark.scenario
functions = partial(recorded, "lambda.json")

WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}
QUOTED = json.dumps({"foo": "bar with 'quotes\""}).encode()


@functions("TestLambdaFeatures::test_basic_invoke")
def test_basic_invoke(aws, snapshot, create):
    one = create(Runtime="python3.9", Handler="index.handler")
    two = create(Runtime="python3.9", Handler="index.handler")
    snapshot.match("lambda_create_fn", one)
    snapshot.match("lambda_create_fn_2", two)
    snapshot.match("lambda_get_fn", aws.lambda_.get_function(FunctionName=one["FunctionName"]))
    snapshot.match("lambda_get_fn_2", aws.lambda_.get_function(FunctionName=two["FunctionName"]))
    snapshot.match("lambda_invoke_result", aws.lambda_.invoke(FunctionName=one["FunctionName"], Payload=b"{}"))


@functions("TestLambdaFeatures::test_invoke_exceptions")
def test_invoke_of_a_function_that_is_not_there(aws, snapshot):
    error = refused(aws.lambda_.invoke, FunctionName="doesnotexist", Payload=b"{}")
    snapshot.match("invoke_function_doesnotexist", error)


RUNTIMES = [
    pytest.param("nodejs16.x", marks=pytest.mark.node),
    "python3.10",
    "python3.9",
]


def source_for(runtime, name):
    """The file of tests/functions in the runtime's language, and the handler it is called with."""
    node = runtime.startswith("nodejs")
    return {
        "source": f"{name}.js" if node else f"{name}.py",
        "Handler": "index.handler" if node else "handler.handler",
        "Runtime": runtime,
    }


@pytest.mark.parametrize("runtime", RUNTIMES)
@functions("TestLambdaFeatures::test_invocation_type_request_response")
def test_invocation_type_request_response(aws, snapshot, create, runtime):
    name = create(**source_for(runtime, "echo"))["FunctionName"]
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b"{}", InvocationType="RequestResponse")
    snapshot.match("invoke-result", answer)


@pytest.mark.parametrize("runtime", RUNTIMES)
@functions("TestLambdaFeatures::test_invocation_type_event")
def test_invocation_type_event(aws, snapshot, create, runtime):
    name = create(**source_for(runtime, "echo"))["FunctionName"]
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b"{}", InvocationType="Event")
    snapshot.match("invoke-result", answer)


@pytest.mark.parametrize("invocation_type", ["Event", "RequestResponse"])
@pytest.mark.parametrize("language", [pytest.param("nodejs", marks=pytest.mark.node), "python"])
@functions("TestLambdaFeatures::test_invocation_type_no_return_payload")
def test_a_function_that_answers_nothing(aws, snapshot, create, language, invocation_type):
    runtime = {"nodejs": "nodejs20.x", "python": "python3.12"}[language]
    name = create(**source_for(runtime, "nothing"))["FunctionName"]
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b"{}", InvocationType=invocation_type)
    snapshot.match("invoke-result", answer)


@pytest.mark.parametrize("runtime", RUNTIMES[:2])
@functions("TestLambdaFeatures::test_invocation_with_logs")
def test_invocation_with_logs(aws, snapshot, create, runtime):
    source = "echo" if runtime.startswith("nodejs") else "echo_with_log"
    name = create(**source_for(runtime, source))["FunctionName"]
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b"{}", LogType="Tail")
    snapshot.transform(*LOG_LINES)
    snapshot.match("invoke", answer)
    snapshot.match("logs", {"logs": log_lines(answer, keepends=True)})


@functions("TestLambdaFeatures::test_invocation_with_qualifier")
def test_invocation_with_qualifier(aws, snapshot, create):
    snapshot.transform(masked_text(r"(?<=\[INFO\]\t)[\d:.TZ-]+", "date"))
    created = create("context.py", Publish=True, Timeout=10)
    snapshot.match("creation-response", created)
    name = created["FunctionName"]
    answer = aws.lambda_.invoke(FunctionName=name, Qualifier="1", Payload=QUOTED, LogType="Tail")
    lines = [line for line in log_lines(answer) if not line.startswith(("REPORT", "INIT_START"))]
    snapshot.match("log_result", {"log_result": [line for line in lines if line]})
    snapshot.match("invocation-response", answer)


@functions("TestLambdaFeatures::test_upload_lambda_from_s3")
def test_code_from_s3(aws, snapshot, create, bucket):
    aws.client("s3").put_object(Bucket=bucket, Key="code.zip", Body=archive("context.py"))
    created = create(Code={"S3Bucket": bucket, "S3Key": "code.zip"}, Timeout=10)
    snapshot.match("creation-response", created)
    answer = aws.lambda_.invoke(FunctionName=created["FunctionName"], Payload=QUOTED)
    snapshot.match("invocation-response", answer)


@pytest.fixture
def bucket(aws):
    """A bucket of the test's own."""
    s3, name = aws.client("s3"), f"scenario-{uuid.uuid4().hex}"
    constraint = {} if aws.region == "us-east-1" else {"LocationConstraint": aws.region}
    s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": constraint} if constraint else {}))
    yield name
    for found in s3.list_objects_v2(Bucket=name).get("Contents", ()):
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


@functions("TestLambdaFeatures::test_lambda_environment")
def test_environment_of_a_function(aws, snapshot, create):
    variables = {"Variables": {"Hello": "World"}}
    created = create("environment.py", Runtime="python3.9", Timeout=30, Environment=variables)
    name = created["FunctionName"]
    snapshot.match("creation-result", created)
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b'{"names": ["Hello"]}')
    snapshot.match("invocation-result", answer)
    snapshot.match("get-configuration-result", aws.lambda_.get_function_configuration(FunctionName=name))


@functions("TestLambdaAliases::test_lambda_alias_moving")
def test_an_alias_moves(aws, snapshot, create):
    client = aws.lambda_
    created = create("version.py", Description="No version :(")
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    client.publish_version(FunctionName=name, Description="First version description :)")
    snapshot.match("create_alias_response", client.create_alias(FunctionName=name, FunctionVersion="1", Name="alias1"))

    def invoke(step, **parameters):
        snapshot.match(step, client.invoke(**{"FunctionName": name, "Qualifier": "alias1", **parameters}))

    invoke("invocation_result_qualifier_v1")
    snapshot.match("invocation_result_qualifier_v1_arn", client.invoke(FunctionName=aws.arn(f"{name}:alias1")))
    source = (FUNCTIONS / "version.py").read_text().replace("version1", "version2")
    changed = client.update_function_code(FunctionName=name, ZipFile=zipped({"handler.py": source}))
    snapshot.match("update_lambda_response", changed)
    updated(aws, name)
    invoke("invocation_result_qualifier_v1_after_update")
    published = client.publish_version(FunctionName=name, Description="Second version description :)")
    snapshot.match("second_publish_response", published)
    invoke("invocation_result_qualifier_v1_after_publish")
    snapshot.match("update_alias_response", client.update_alias(FunctionName=name, Name="alias1", FunctionVersion="2"))
    invoke("invocation_result_qualifier_v2")
    error = refused(client.invoke, FunctionName=name, Qualifier="non-existent-alias", Payload=b"{}")
    snapshot.match("invocation_exc_not_existent", error)


@functions("TestLambdaVersions::test_lambda_handler_update")
def test_an_update_changes_the_handler(aws, snapshot, create):
    client = aws.lambda_
    name = create("two_handlers.py", **WITH_ENVIRONMENT)["FunctionName"]
    snapshot.match("invoke_result_handler_one", client.invoke(FunctionName=name))
    changed = client.update_function_configuration(FunctionName=name, Handler="handler.handler_two")
    snapshot.match("update_function_configuration_result", changed)
    updated(aws, name)
    snapshot.match("get_function_result", client.get_function(FunctionName=name))
    snapshot.match("invoke_result_handler_two", client.invoke(FunctionName=name))
    client.publish_version(FunctionName=name)
    snapshot.match("invoke_result_handler_two_postpublish", client.invoke(FunctionName=name))


@functions("TestLambdaVersions::test_function_update_during_invoke")
def test_an_update_leaves_a_running_invoke_alone(aws, snapshot, create):
    variables = {"Variables": {"FUNCTION_VARIANT": "variant-1"}}
    name = create("variant.py", Environment=variables, Timeout=30)["FunctionName"]
    answers = []
    event = json.dumps({"request_prefix": "1-sleep", "sleep": 2}).encode()
    running = threading.Thread(
        target=lambda: answers.append(aws.lambda_.invoke(FunctionName=name, Payload=event)), daemon=True
    )
    running.start()
    wait_for_log(aws, name, "1-sleep--variant-1")
    variables = {"Variables": {"FUNCTION_VARIANT": "variant-2"}}
    aws.lambda_.update_function_configuration(FunctionName=name, Environment=variables)
    updated(aws, name)
    after = payload(aws.lambda_.invoke(FunctionName=name, Payload=b'{"request_prefix": "2-after"}'))
    assert after["function_variant"] == "variant-2"
    running.join(30)
    snapshot.match("invoke_response_before", answers[0])


def wait_for_log(aws, name, text, count=1, attempts=150):
    """The messages of a function's log, once `count` of them contain `text`."""
    logs = aws.client("logs")
    for _attempt in range(attempts):
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            found = []
        if sum(text in event["message"] for event in found) >= count:
            return found
        threading.Event().wait(0.1 if not aws.is_aws else 2)
    raise AssertionError(f"{text!r} is not in the log: {found}")


@functions("TestLambdaVersions::test_async_invoke_queue_upon_function_update")
def test_queued_events_run_with_the_updated_function(aws, snapshot, create):
    client = aws.lambda_
    variables = {"Variables": {"FUNCTION_VARIANT": "variant-1"}}
    name = create("variant.py", Environment=variables, Timeout=30)["FunctionName"]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)

    def send(number, word, sleep=0):
        event = json.dumps({"request_prefix": f"{number:02}-{word}", "sleep": sleep}).encode()
        client.invoke(FunctionName=name, Payload=event, InvocationType="Event")

    send(1, "sleep", sleep=3)
    wait_for_log(aws, name, "01-sleep--")
    for number in range(2, 11):
        send(number, "before")
    variables = {"Variables": {"FUNCTION_VARIANT": "variant-2"}}
    client.update_function_configuration(FunctionName=name, Environment=variables)
    updated(aws, name)
    for number in range(11, 16):
        send(number, "after")
    messages = [event["message"].strip() for event in wait_for_log(aws, name, "--variant", count=15, attempts=600)]
    snapshot.match("async_invoke_history_sorted", sorted(message for message in messages if "--variant" in message))


@functions("TestLambdaErrors::test_lambda_handler_error")
def test_a_handler_that_raises(aws, snapshot, create):
    name = create("lambda_handler_error.py", Handler="lambda_handler_error.handler")["FunctionName"]
    snapshot.match("invocation_error", aws.lambda_.invoke(FunctionName=name, Payload=b"{}"))


@functions("TestLambdaErrors::test_lambda_runtime_exit")
def test_a_runtime_that_exits(aws, snapshot, create):
    name = create("exits.py")["FunctionName"]
    snapshot.match("invocation_error", aws.lambda_.invoke(FunctionName=name, Payload=b"{}"))


@functions("TestLambdaErrors::test_lambda_runtime_wrapper_not_found")
def test_a_wrapper_that_is_not_there(aws, snapshot, create):
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/idontexist.sh"}}
    name = create(Environment=variables)["FunctionName"]
    snapshot.match("invocation_error", aws.lambda_.invoke(FunctionName=name, Payload=b"{}"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        # pytest escapes the ids as they were recorded.
        pytest.param("body", "n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt", id="body-n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt"),
        pytest.param("message", "\x99\xeb,j\x07\xa1zYh", id="message-\x99\xeb,j\x07\xa1zYh"),
    ],
)
@functions("TestLambdaErrors::test_lambda_invoke_payload_encoding_error")
def test_a_payload_that_is_not_utf8(aws, snapshot, create, kind, body):
    name = create()["FunctionName"]
    snapshot.match(
        f"invoke_function_invalid_payload_{kind}",
        refused(aws.lambda_.invoke, FunctionName=name, Payload=body.encode("latin-1")),
    )


@functions("TestLambdaBehavior::test_lambda_invoke_no_timeout")
def test_an_invoke_within_its_time(aws, snapshot, create):
    created = create("nothing.py", Environment={"Variables": {}}, Timeout=2)
    snapshot.match("create-result", created)
    snapshot.match("invoke-result", aws.lambda_.invoke(FunctionName=created["FunctionName"], Payload=b"{}"))


@functions("TestLambdaBehavior::test_lambda_invoke_with_timeout")
def test_an_invoke_beyond_its_time(aws, snapshot, create):
    created = create("sleeps.py", Environment={"Variables": {}}, Timeout=1)
    snapshot.match("create-result", created)
    snapshot.match("invoke-result", aws.lambda_.invoke(FunctionName=created["FunctionName"], Payload=b'{"sleep": 10}'))


LARGEST_RESPONSE = 6_291_556


@functions("TestLambdaBaseFeatures::test_lambda_large_response")
def test_the_largest_response(aws, create):
    name = create("large_response.py", Timeout=30)["FunctionName"]
    event = json.dumps({"bytes": LARGEST_RESPONSE - 2}).encode()
    assert payload(aws.lambda_.invoke(FunctionName=name, Payload=event)) == "x" * (LARGEST_RESPONSE - 2)


@functions("TestLambdaBaseFeatures::test_lambda_too_large_response")
def test_a_response_that_is_too_large(aws, snapshot, create):
    name = create("large_response.py", Timeout=30)["FunctionName"]
    event = json.dumps({"bytes": LARGEST_RESPONSE - 1}).encode()
    snapshot.match("invoke_result", aws.lambda_.invoke(FunctionName=name, Payload=event))
    snapshot.match("invoke_result_2", aws.lambda_.invoke(FunctionName=name, Payload=event))


@functions("TestRequestIdHandling::test_request_id_format")
def test_the_request_id_is_a_uuid(aws, create):
    name = create()["FunctionName"]
    headers = aws.lambda_.invoke(FunctionName=name)["ResponseMetadata"]["HTTPHeaders"]
    assert str(uuid.UUID(headers["x-amzn-requestid"])) == headers["x-amzn-requestid"]


def retrying(aws, name):
    """Let a failed event be tried again once; how long AWS waits before that cannot be configured."""
    aws.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)


@pytest.mark.slow("a failed event is tried again after a minute")
@functions("TestRequestIdHandling::test_request_id_async_invoke_with_retry")
def test_a_retry_keeps_the_request_id(aws, snapshot, create):
    name = create("custom_error.py")["FunctionName"]
    retrying(aws, name)
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b"{}", InvocationType="Event")
    snapshot.match("invoke_result", answer)
    request_id = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    events = wait_for_log(aws, name, "END RequestId", count=2, attempts=900)
    ends = [event["message"].strip() for event in events if event["message"].startswith("END RequestId")]
    assert ends == [f"END RequestId: {request_id}"] * 2
    snapshot.match("end_messages", ends)


@pytest.mark.slow("a failed event is tried again after a minute")
@functions("TestLambdaFeatures::test_invocation_type_event_error")
def test_an_event_whose_function_fails(aws, snapshot, create):
    created = create("custom_error.py", Runtime="python3.10", **WITH_ENVIRONMENT)
    name = created["FunctionName"]
    snapshot.transform(masked_member("timestamp", "timestamp"), masked_member("ingestionTime", "timestamp"), *LOG_LINES)
    snapshot.match("creation_response", created)
    retrying(aws, name)
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b"{}", InvocationType="Event")
    snapshot.match("invocation_response", answer)
    events = wait_for_log(aws, name, "REPORT RequestId", count=2, attempts=900)
    kept = ("timestamp", "message", "ingestionTime")
    snapshot.match("log_events", [{member: event[member] for member in kept} for event in events])


@functions("TestLambdaBaseFeatures::test_lambda_different_iam_keys_environment")
def test_each_environment_has_credentials_of_its_own(aws, snapshot, create):
    created = create("credentials.py", **WITH_ENVIRONMENT)
    name = created["FunctionName"]
    snapshot.match("create-result", created)
    before = payload(aws.lambda_.invoke(FunctionName=name))
    aws.lambda_.update_function_configuration(FunctionName=name, Description="a new environment")
    updated(aws, name)
    after = payload(aws.lambda_.invoke(FunctionName=name))
    assert all(before[key] != after[key] for key in before)


@pytest.mark.parametrize("length", [pytest.param(1, id="1"), pytest.param(2, id="2")])
@functions("TestLambdaBaseFeatures::test_assume_role")
def test_the_execution_role_is_assumed(aws, snapshot, create, length):
    unique = uuid.uuid4().hex
    name = {1: "abcdefghijklmnopqrstuvwxyz"[int(unique, 16) % 26], 2: unique[:2]}[length]
    role = aws.role_arn
    if not aws.is_aws:
        iam = aws.client("iam")
        made = iam.create_role(RoleName=f"lambda-autogenerated-{unique[:10]}", AssumeRolePolicyDocument="{}")
        role = made["Role"]["Arn"]
    create("identity.py", FunctionName=name, Role=role, Timeout=30)
    try:
        arn = payload(aws.lambda_.invoke(FunctionName=name))
    finally:
        aws.lambda_.delete_function(FunctionName=name)
    snapshot.transform(
        masked_text(r"assumed-role/[^/]+/\w+", "assumed-role/lambda-autogenerated-<role-suffix>/<function-name>")
    )
    snapshot.match("invoke-result-assumed-role-arn", arn)


@functions("TestLambdaBehavior::test_lambda_init_environment")
def test_environment_variables_of_the_runtime(aws, snapshot, create):
    created = create("environment.py", Runtime="python3.14", **WITH_ENVIRONMENT)
    snapshot.match("create-result", created)
    snapshot.transform(
        member("AWS_LAMBDA_LOG_STREAM_NAME", "log-stream-name"),
        member("AWS_ACCESS_KEY_ID", "aws-access-key-id"),
        member("AWS_SECRET_ACCESS_KEY", "aws-secret-access-key"),
        member("AWS_SESSION_TOKEN", "aws-session-token"),
        member("_X_AMZN_TRACE_ID", "xray-trace-id"),
        member("AWS_LAMBDA_RUNTIME_API", "runtime-api"),
        member("AWS_ENDPOINT_URL", "endpoint-url"),
    )
    answer = aws.lambda_.invoke(FunctionName=created["FunctionName"], Payload=b"{}")
    snapshot.match("lambda-init-inspection", answer)


@functions("TestLambdaBehavior::test_runtime_introspection_x86")
def test_where_a_function_runs(aws, snapshot, create):
    name = create("introspection.py", Architectures=["x86_64"])["FunctionName"]
    snapshot.match("invoke_runtime_x86_introspection", aws.lambda_.invoke(FunctionName=name, Payload=b"{}"))


@functions("TestLambdaBehavior::test_runtime_ulimits")
def test_resource_limits_of_a_function(aws, snapshot, create):
    name = create("ulimits.py")["FunctionName"]
    snapshot.match("invoke_runtime_ulimits", aws.lambda_.invoke(FunctionName=name, Payload=b"{}"))


OTHER_ACCOUNT = "222222222222"


@pytest.fixture
def elsewhere(aws):
    """The Lambda client of another account, which only the gateway has."""
    if aws.is_aws:
        pytest.skip("AWS gives us one account")
    return aws.client("lambda", account_id=OTHER_ACCOUNT)


def deploy_elsewhere(client, name):
    """A function of the other account."""
    client.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="handler.handler",
        Role=f"arn:aws:iam::{OTHER_ACCOUNT}:role/scenario-role",
        Code={"ZipFile": archive("echo.py")},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def test_accounts_do_not_see_each_others_functions(aws, elsewhere, create, new_name):
    name = new_name()
    create(FunctionName=name)
    error = refused(elsewhere.get_function, FunctionName=name)
    assert error.response["Error"]["Message"] == (
        f"Function not found: arn:aws:lambda:{aws.region}:{OTHER_ACCOUNT}:function:{name}"
    )
    deploy_elsewhere(elsewhere, name)
    aws.lambda_.delete_function(FunctionName=name)
    assert payload(elsewhere.invoke(FunctionName=name, Payload=b'{"still": "there"}')) == {"still": "there"}
    elsewhere.delete_function(FunctionName=name)
