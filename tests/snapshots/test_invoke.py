"""Invoke: payloads, invocation types, errors, logs, and what the function sees."""

from __future__ import annotations

import json
import threading
import uuid
from functools import partial

import pytest

from .harness.functions import FUNCTIONS, archive, zipped
from .harness.plugin import recorded
from .harness.steps import log_lines, payload, refused, updated, wait_for_log
from .harness.transformers import LOG_LINES, masked_text

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
    running.join(60)
    snapshot.match("invoke_response_before", answers[0])


@pytest.mark.usefixtures("isolated")
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
