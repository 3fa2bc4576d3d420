"""LocalStack's own gateway, with us as its Lambda: the real one, in a child process. `script/localstack-venv` installs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import selectors
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from ..conftest import stop_process
from .conftest import ROLE, Functions
from .http import refusal, request
from .machine import alive, descendants, eventually, free_port
from .rendezvous import Rendezvous
from .urls import call, give_url, opened

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".localstack-venv/bin/python"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 90.0
"""LocalStack waits for its own threads: ten seconds for requests, and for long polls of SQS."""
ACCOUNT = "123456789012"

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(not PYTHON.exists(), reason="LocalStack is not installed: script/localstack-venv"),
]

ECHO = "def handler(event, context):\n    return event\n"
MEETS = """
const meet = (port) => new Promise((resolve) => {
    require("net").connect(port, "127.0.0.1").on("data", resolve).on("close", resolve)
})
"""
# On this Python LocalStack's Kinesis and DynamoDB do not start; its SQS answers some of what the scenarios record differently.
NOT_THERE = (
    "test_event_source_mappings.py",
    "test_sqs.py",
    "test_dynamodb_streams.py",
    "test_kinesis.py",
    "test_kinesis_ages.py",
)


@dataclass(frozen=True)
class LocalStack:
    """LocalStack in a child process."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def post(self, path: str) -> int:
        asked = urllib.request.Request(self.url + path, b"", method="POST")
        with urllib.request.urlopen(asked, timeout=60) as response:
            return int(response.status)


def start(folder: Path, **env: str) -> LocalStack:
    """Start it and wait until it says that it is ready."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBDA_", "PROVIDER_"))}
    log = folder / "localstack.log"
    (folder / "tmp").mkdir(exist_ok=True)
    with log.open("a") as errors:
        process = subprocess.Popen(
            [str(PYTHON), "-P", str(Path(__file__).with_name("localstack_gateway.py"))],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={
                **clean,
                "PROVIDER_OVERRIDE_LAMBDA": "lambda-provider",
                "GATEWAY_LISTEN": f"127.0.0.1:{port}",
                "OVERRIDE_IN_DOCKER": "0",
                "DISABLE_EVENTS": "1",
                "SKIP_SSL_CERT_DOWNLOAD": "1",
                # Sent while LocalStack stops, they start its CloudWatch again, which nobody stops then.
                "SQS_DISABLE_CLOUDWATCH_METRICS": "1",
                "FILESYSTEM_ROOT": str(folder / "root"),
                "TMPDIR": str(folder / "tmp"),
                **env,
            },
        )
    assert process.stdout is not None
    until = time.monotonic() + START_TIMEOUT_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, until - time.monotonic())):
            line = process.stdout.readline()
            if line == "Ready.\n":
                return LocalStack(f"http://127.0.0.1:{port}", process, log)
            if not line:
                break
    process.kill()
    raise RuntimeError(f"LocalStack did not start: exit {process.wait()}, {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One for the module, whose clock of retries runs fast."""
    running = start(tmp_path_factory.mktemp("localstack"), LAMBDA_CLOCK_RATE="120")
    yield running
    stop_process(running.process, STOP_TIMEOUT_S)


@pytest.fixture
def own_localstack(tmp_path: Path) -> Iterator[Callable[..., LocalStack]]:
    """`own_localstack()` starts one of the test's own, each time with the same folders."""
    started: list[LocalStack] = []

    def begin(**env: str) -> LocalStack:
        started.append(start(tmp_path, **env))
        return started[-1]

    yield begin
    for running in started:
        stop_process(running.process, STOP_TIMEOUT_S)


@pytest.fixture
def connect(client_for: Callable[..., Any]) -> Callable[..., Any]:
    """`connect(localstack, "sqs", account=…)`: a boto3 client."""
    return lambda running, service, **options: client_for(running.url, service, **options)


@pytest.fixture
def functions(localstack: LocalStack, connect: Callable[..., Any], zip_of: Callable[..., bytes]) -> Functions:
    """The functions of the module's LocalStack."""
    return Functions(connect(localstack, "lambda"), zip_of)


@pytest.fixture
def new_name() -> Iterator[Callable[[], str]]:
    """Names that no other test uses."""
    numbers = iter(range(1000))
    yield lambda: f"fn-{os.getpid()}-{time.monotonic_ns()}-{next(numbers)}"


def test_the_recorded_scenarios_hold_through_localstack(localstack: LocalStack) -> None:
    """All scenarios of the control plane, of invokes, URLs, events and destinations, compared with AWS's answers."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/snapshots", "-q", "-p", "no:cacheprovider"),
            *("--endpoint-url", localstack.url),
            *(f"--ignore=tests/snapshots/{name}" for name in NOT_THERE),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:]


def test_operations_that_localstack_does_not_know(functions: Functions, new_name: Callable[[], str]) -> None:
    client = functions.client
    arn = client.get_function(FunctionName=functions.create(new_name(), ECHO))["Configuration"]["FunctionArn"]
    statement = {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client.put_resource_policy(ResourceArn=arn, Policy=policy)
    assert json.loads(client.get_resource_policy(ResourceArn=arn)["Policy"])["Statement"] == [statement]


def test_what_localstack_cannot_parse_gets_the_error_of_aws(localstack: LocalStack) -> None:
    broken = refusal(localstack.port, request("POST", "/2015-03-31/functions", "{"))
    assert (broken.status, broken.error) == (400, "SerializationException")
    unknown = refusal(localstack.port, request("GET", "/2015-03-31/nothing"))
    assert (unknown.status, unknown.error) == (403, "AccessDeniedException")


def test_a_payload_of_six_megabytes_comes_back_as_it_was(functions: Functions, new_name: Callable[[], str]) -> None:
    name = functions.create(new_name(), ECHO, MemorySize=512, Timeout=30)
    payload = b'"' + "ä\\u00e4".encode() * 760_000 + b'"'
    answer = functions.client.invoke(FunctionName=name, Payload=payload)
    assert "FunctionError" not in answer
    assert json.loads(answer["Payload"].read()) == json.loads(payload)


def test_a_streamed_response_arrives_chunk_by_chunk(functions: Functions, new_name: Callable[[], str]) -> None:
    source = f"""
{MEETS}
exports.handler = awslambda.streamifyResponse(async (event, stream) => {{
    stream.write("first")
    await meet(event)
    stream.end("second")
}})
"""
    name = functions.create(new_name(), {"index.js": source}, Runtime="nodejs20.x", Timeout=60)
    with Rendezvous() as place:
        response = functions.client.invoke_with_response_stream(FunctionName=name, Payload=b"%d" % place.port)
        chunks = (event["PayloadChunk"]["Payload"] for event in response["EventStream"] if "PayloadChunk" in event)
        assert next(chunks) == b"first"
        place.await_guests(1)
        place.let_go()
        assert list(chunks) == [b"second"]


def test_accounts_and_regions_are_localstacks(
    localstack: LocalStack, connect: Callable[..., Any], zip_of: Callable[..., bytes], new_name: Callable[[], str]
) -> None:
    client = connect(localstack, "lambda", region="eu-central-1", account=ACCOUNT)
    name = new_name()
    created = Functions(client, zip_of).create(name, ECHO, Role=f"arn:aws:iam::{ACCOUNT}:role/some")
    arn = client.get_function(FunctionName=created)["Configuration"]["FunctionArn"]
    assert arn == f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:{name}"
    other = connect(localstack, "lambda", region="eu-central-1")
    assert name not in [each["FunctionName"] for each in other.list_functions()["Functions"]]


USES_OTHER_SERVICES = """
import os
import boto3

def handler(event, context):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=event["bucket"], CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket=event["bucket"], Key="a key/ä", Body=b"from the function")
    return {
        "content": s3.get_object(Bucket=event["bucket"], Key="a key/ä")["Body"].read().decode(),
        "who": boto3.client("sts").get_caller_identity()["Arn"],
        "key": os.environ["AWS_ACCESS_KEY_ID"],
    }
"""


def test_a_function_reaches_other_services_as_its_role(
    localstack: LocalStack, connect: Callable[..., Any], zip_of: Callable[..., bytes], new_name: Callable[[], str]
) -> None:
    client = connect(localstack, "lambda", region="eu-central-1", account=ACCOUNT)
    functions, name = Functions(client, zip_of), new_name()
    functions.create(name, USES_OTHER_SERVICES, Role=f"arn:aws:iam::{ACCOUNT}:role/reader", Timeout=60, MemorySize=256)
    result = functions.result(name, {"bucket": name})
    assert result["content"] == "from the function"
    assert result["who"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/{name}"
    s3 = connect(localstack, "s3", region="eu-central-1", account=ACCOUNT)
    assert s3.get_object(Bucket=name, Key="a key/ä")["Body"].read() == b"from the function"


def test_logs_and_metrics_are_there_at_once(
    localstack: LocalStack, connect: Callable[..., Any], functions: Functions, new_name: Callable[[], str]
) -> None:
    name = functions.create(new_name(), "def handler(event, context):\n    print('one line')\n")
    outcome = functions.invoke(name)
    events = connect(localstack, "logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    messages = [event["message"] for event in events]
    assert "one line\n" in messages
    assert any(message.startswith(f"REPORT RequestId: {outcome.request_id}") for message in messages)
    found = connect(localstack, "cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": "FunctionName", "Value": name}],
        StartTime=time.time() - 3600,
        EndTime=time.time() + 3600,
        Period=60,
        Statistics=["Sum"],
    )
    # LocalStack adds the series of the function and its resource to that of the function.
    assert sum(point["Sum"] for point in found["Datapoints"]) == 2


def test_an_event_that_fails_goes_to_its_destination(
    localstack: LocalStack, connect: Callable[..., Any], functions: Functions, new_name: Callable[[], str]
) -> None:
    sqs = connect(localstack, "sqs")
    name = functions.create(new_name(), "def handler(event, context):\n    raise ValueError(event)\n")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    functions.client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    outcome = functions.invoke(name, {"number": 1}, InvocationType="Event")
    message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]
    record = json.loads(message["Body"])
    assert record["requestContext"]["requestId"] == outcome.request_id
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_another_service_of_localstack_runs_a_function(
    localstack: LocalStack, connect: Callable[..., Any], functions: Functions, new_name: Callable[[], str]
) -> None:
    sns, sqs, name = connect(localstack, "sns"), connect(localstack, "sqs"), new_name()
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    functions.create(
        name,
        "import boto3, os\n"
        "def handler(event, context):\n"
        "    body = event['Records'][0]['Sns']['Message']\n"
        "    boto3.client('sqs').send_message(QueueUrl=os.environ['QUEUE'], MessageBody=body)\n",
        Environment={"Variables": {"QUEUE": url}},
        Timeout=30,
    )
    topic = sns.create_topic(Name=name)["TopicArn"]
    arn = functions.client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    functions.client.add_permission(
        FunctionName=name,
        StatementId="sns",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="from the topic")
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]["Body"] == "from the topic"


def test_function_urls_by_their_names_and_by_path(
    localstack: LocalStack, functions: Functions, new_name: Callable[[], str]
) -> None:
    name = functions.create(new_name(), ECHO)
    url = give_url(functions.client, name)
    event = call(localstack, url + "a//b%20c?x=1&x=2", "POST", b"\x00\xff", {"Content-Type": "image/png"}).json
    assert (event["rawPath"], event["rawQueryString"]) == ("/a//b c", "x=1&x=2")
    assert (event["body"], event["isBase64Encoded"]) == ("AP8=", True)
    url_id = url.partition("//")[2].partition(".")[0]
    by_path = call(localstack, f"http://127.0.0.1:{localstack.port}/_lambda/url/{url_id}/p?q=r").json
    assert (by_path["rawPath"], by_path["rawQueryString"]) == ("/p", "q=r")
    assert call(localstack, url.replace(url_id, "0" * 32)).status == 404


def test_the_rules_of_a_url_about_origins_are_its_own(
    localstack: LocalStack, functions: Functions, new_name: Callable[[], str]
) -> None:
    """LocalStack refuses origins that it does not know, and answers preflights itself; not those of function URLs."""
    cors = {"AllowOrigins": ["https://some.example"], "AllowMethods": ["PUT"], "MaxAge": 7}
    url = give_url(functions.client, functions.create(new_name(), ECHO), Cors=cors)
    asked = {"Origin": "https://some.example", "Access-Control-Request-Method": "PUT"}
    preflight = call(localstack, url, "OPTIONS", headers=asked)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == "https://some.example"
    assert preflight.headers["access-control-max-age"] == "7"
    assert call(localstack, url, "PUT", b"x", asked).json["body"] == "x"


def test_a_url_with_iam_takes_keys_that_localstack_issued(
    localstack: LocalStack, connect: Callable[..., Any], functions: Functions, new_name: Callable[[], str]
) -> None:
    url = give_url(functions.client, functions.create(new_name(), ECHO), "AWS_IAM", permission=False)
    iam, name = connect(localstack, "iam"), new_name()
    user = iam.create_user(UserName=name)["User"]
    issued = iam.create_access_key(UserName=name)["AccessKey"]
    assumed = connect(localstack, "sts").assume_role(RoleArn=ROLE, RoleSessionName="somebody")

    def signed(key: str, secret: str, token: str | None = None) -> dict[str, str]:
        asked = AWSRequest("GET", url, headers={"Host": url.split("/")[2]})
        SigV4Auth(Credentials(key, secret, token), "lambda", "us-east-1").add_auth(asked)
        return dict(asked.headers)

    of_user = call(localstack, url, headers=signed(issued["AccessKeyId"], issued["SecretAccessKey"]))
    assert of_user.json["requestContext"]["authorizer"]["iam"]["userArn"] == user["Arn"]
    of_role = call(localstack, url, headers=signed(*list(assumed["Credentials"].values())[:3]))
    arn = of_role.json["requestContext"]["authorizer"]["iam"]["userArn"]
    assert arn == assumed["AssumedRoleUser"]["Arn"]
    assert call(localstack, url, headers=signed(issued["AccessKeyId"], "another")).status == 403
    assert call(localstack, url).status == 403


def test_a_streamed_url_answers_before_the_function_ends(
    localstack: LocalStack, functions: Functions, new_name: Callable[[], str]
) -> None:
    source = f"""
{MEETS}
exports.handler = awslambda.streamifyResponse(async (event, stream) => {{
    stream = awslambda.HttpResponseStream.from(stream, {{statusCode: 201, headers: {{"x-own": "yes"}}}})
    stream.write("first")
    await meet(event.queryStringParameters.port)
    stream.end("second")
}})
"""
    name = functions.create(new_name(), {"index.js": source}, Runtime="nodejs20.x", Timeout=60)
    url = give_url(functions.client, name, InvokeMode="RESPONSE_STREAM")
    with Rendezvous() as place, opened(localstack, f"{url}?port={place.port}") as response:
        assert (response.status, response.headers["x-own"]) == (201, "yes")
        assert response.read1() == b"first"
        place.await_guests(1)
        place.let_go()
        assert response.read() == b"second"


def test_code_can_be_downloaded_again(
    localstack: LocalStack, functions: Functions, new_name: Callable[[], str]
) -> None:
    location = functions.client.get_function(FunctionName=functions.create(new_name(), ECHO))["Code"]["Location"]
    assert location.startswith(localstack.url)
    with urllib.request.urlopen(location) as response, zipfile.ZipFile(io.BytesIO(response.read())) as archive:
        assert archive.read("index.py").decode() == ECHO


def deploy_much(client: Any, functions: Functions) -> str:
    """A function with a version, an alias and a URL; its URL."""
    functions.create("kept", "def handler(event, context):\n    return 'version one'\n")
    client.publish_version(FunctionName="kept")
    client.create_alias(FunctionName="kept", Name="live", FunctionVersion="1")
    return give_url(client, "kept")


def test_state_is_saved_reset_and_loaded(localstack: LocalStack, functions: Functions, tmp_path: Path) -> None:
    running, client = localstack, functions.client
    assert running.post("/_test/state/reset") == 204
    url = deploy_much(client, functions)
    assert functions.result("kept:live") == "version one"
    before = client.get_function(FunctionName="kept:live")["Configuration"]

    assert running.post(f"/_test/state/save?folder={tmp_path / 'saved'}") == 204
    assert functions.result("kept:live") == "version one", "work goes on after a save"
    functions.create("later", ECHO)

    assert running.post("/_test/state/reset") == 204
    assert client.list_functions()["Functions"] == []
    assert call(running, url).status == 404
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="kept")
    functions.create("kept", "def handler(event, context):\n    return 'another'\n")
    assert functions.result("kept") == "another"

    assert running.post(f"/_test/state/load?folder={tmp_path / 'saved'}") == 204
    client.get_waiter("function_active_v2").wait(FunctionName="kept")
    assert [each["FunctionName"] for each in client.list_functions()["Functions"]] == ["kept"]
    assert functions.result("kept:live") == "version one"
    assert call(running, url).body == b"version one"
    after = client.get_function(FunctionName="kept:live")["Configuration"]
    for member in ("FunctionArn", "CodeSha256", "RevisionId", "LastModified"):
        assert after[member] == before[member]


def test_with_persistence_everything_survives_a_stop_and_a_kill(
    own_localstack: Callable[..., LocalStack], connect: Callable[..., Any], zip_of: Callable[..., bytes]
) -> None:
    running = own_localstack(PERSISTENCE="1")
    functions = Functions(connect(running, "lambda"), zip_of)
    url = deploy_much(functions.client, functions)
    assert running.post("/_test/restart") == 204
    functions.client.get_waiter("function_active_v2").wait(FunctionName="kept")
    assert functions.result("kept:live") == "version one"
    assert call(running, url).body == b"version one"

    processes = descendants(running.process.pid)
    running.process.kill()
    eventually(lambda: not alive(processes), "what LocalStack started ends with it")

    running = own_localstack(PERSISTENCE="1")
    url_id = url.partition("//")[2].partition(".")[0]
    by_path = f"http://127.0.0.1:{running.port}/_lambda/url/{url_id}/"
    eventually(lambda: call(running, by_path).body == b"version one", "the URL works before anybody asked for Lambda")
    assert Functions(connect(running, "lambda"), zip_of).result("kept:live") == "version one"


def test_state_that_cannot_be_used_is_said_and_kept(
    own_localstack: Callable[..., LocalStack], connect: Callable[..., Any], tmp_path: Path
) -> None:
    database = tmp_path / "root/var/lib/localstack/state/lambda/state.sqlite3"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"this is no database " * 100)
    running = own_localstack(PERSISTENCE="1")
    client = connect(running, "lambda")
    with pytest.raises(client.exceptions.ClientError, match=r"state\.sqlite3 is damaged"):
        client.list_functions()
    assert database.read_bytes() == b"this is no database " * 100
    assert connect(running, "s3").list_buckets()["Buckets"] == []


def test_nothing_is_left_after_a_reset_and_at_the_end(
    own_localstack: Callable[..., LocalStack], connect: Callable[..., Any], zip_of: Callable[..., bytes], tmp_path: Path
) -> None:
    running = own_localstack()
    functions = Functions(connect(running, "lambda"), zip_of)
    for _ in range(2):
        for number in range(5):
            functions.create(f"fn-{number}", ECHO)
            functions.invoke(f"fn-{number}")
        assert len(descendants(running.process.pid)) >= 2 * 5
        assert running.post("/_test/state/reset") == 204
        # The fork server stays, and what it has in store for the next function.
        eventually(lambda: len(descendants(running.process.pid)) <= 4, "environments end")
    functions.create("last", ECHO)
    functions.invoke("last")
    processes = descendants(running.process.pid)
    assert stop_process(running.process, STOP_TIMEOUT_S) == 0
    eventually(lambda: not alive(processes), "all processes end")
    assert not list((tmp_path / "tmp").glob("lambda-runtime-*"))


def test_with_enforced_permissions_a_service_needs_one(
    own_localstack: Callable[..., LocalStack], connect: Callable[..., Any], zip_of: Callable[..., bytes]
) -> None:
    """LocalStack's internal clients say which service calls, and about what."""
    running = own_localstack(LAMBDA_ENFORCE_PERMISSIONS="1")
    functions = Functions(connect(running, "lambda"), zip_of)
    functions.create("target", ECHO)
    arn = functions.client.get_function(FunctionName="target")["Configuration"]["FunctionArn"]
    sns = connect(running, "sns")
    topic = sns.create_topic(Name="t")["TopicArn"]
    sqs = connect(running, "sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": queue})}
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn, Attributes=redrive)
    logs = connect(running, "logs")

    def lines() -> list[str]:
        with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
            return [event["message"] for event in logs.filter_log_events(logGroupName="/aws/lambda/target")["events"]]
        return []

    sns.publish(TopicArn=topic, Message="refused")
    assert "refused" in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]["Body"]
    assert lines() == []
    functions.client.add_permission(
        FunctionName="target",
        StatementId="sns",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    sns.publish(TopicArn=topic, Message="allowed")
    eventually(lambda: any(line.startswith("REPORT") for line in lines()), "the function runs")
