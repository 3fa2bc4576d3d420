"""Asynchronous invokes from the outside: where events and their records end up, what survives, and what is stopped."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .conftest import Functions
from .rendezvous import MEET, Rendezvous
from .witness import TELLS, Witness

pytestmark = pytest.mark.scenario

CLOCK_RATE = 120  # A minute passes in half a second.
FAILS = "def handler(event, context):\n    raise ValueError('on purpose')\n"
ECHO = "def handler(event, context):\n    return {'echo': event}\n"
RUNS = TELLS + "def handler(event, context):\n    tell(event['port'], event['id'])\n"
CALLS_ITSELF = (
    TELLS
    + """
import boto3, json
def handler(event, context):
    tell(event["port"], f"run {event['n']}")
    if event["n"] < event["last"]:
        boto3.client("lambda").invoke(
            FunctionName=context.function_name, InvocationType="Event", Payload=json.dumps(event | {"n": event["n"] + 1})
        )
"""
)
WAITS_FOR_ITSELF = (
    TELLS
    + """
import os, urllib.error, urllib.request
def handler(event, context):
    tell(event["port"], "run")
    # What an SDK does, but importing one in sixteen environments takes its time.
    request = urllib.request.Request(
        f"{os.environ['AWS_ENDPOINT_URL']}/2015-03-31/functions/{context.function_name}/invocations",
        b'{"port":%d}' % event["port"], {"X-Amzn-Trace-Id": os.environ["_X_AMZN_TRACE_ID"]},
    )
    try:
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as error:
        return error.headers["x-amzn-errortype"]
"""
)


class Account:
    """AWS clients of one gateway, and what tests want of them in one line."""

    def __init__(self, url: str, client_for: Any, zip_of: Any) -> None:
        self._client = lambda service: client_for(url, service)
        self._clients: dict[str, Any] = {}
        self.functions = Functions(self.client("lambda"), zip_of)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._client(service)
        return self._clients[service]

    def queue(self) -> Queue:
        return Queue(self.client("sqs"))

    def function(self, source: str, **parameters: Any) -> str:
        return self.functions.create(new_name("fn"), source, **parameters)

    def send(self, name: str, event: Any, **parameters: Any) -> str:
        """Invoke with Event; the request id."""
        answer = self.functions.invoke(name, event, InvocationType="Event", **parameters)
        assert answer.status == 202
        return answer.request_id

    def configure(self, name: str, *, success: str | None = None, failure: str | None = None, **settings: Any) -> None:
        sides = {"OnSuccess": success, "OnFailure": failure}
        config = {side: {"Destination": arn} for side, arn in sides.items() if arn}
        self.client("lambda").put_function_event_invoke_config(
            FunctionName=name, **({"MaximumRetryAttempts": 0, "DestinationConfig": config} | settings)
        )

    def arn(self, name: str) -> str:
        return str(self.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"])


class Queue:
    """A queue of its own, as a destination and for a look into it."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs
        self.url: str = sqs.create_queue(QueueName=new_name("q"))["QueueUrl"]
        names = ["QueueArn"]
        self.arn: str = sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]["QueueArn"]

    def message(self, wait_s: int = 20) -> dict[str, Any]:
        """The next message; fails when none comes."""
        messages = self._receive(wait_s)
        assert messages, "no message came"
        self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=messages[0]["ReceiptHandle"])
        return messages[0]

    def record(self) -> dict[str, Any]:
        """The body of the next message, parsed."""
        return json.loads(self.message()["Body"])

    def is_empty(self) -> bool:
        return not self._receive(0)

    def delete(self) -> None:
        self._sqs.delete_queue(QueueUrl=self.url)

    def _receive(self, wait_s: int) -> list[dict[str, Any]]:
        return self._sqs.receive_message(
            QueueUrl=self.url, WaitTimeSeconds=wait_s, MessageAttributeNames=["All"], AttributeNames=["All"]
        ).get("Messages", [])


def new_name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="module")
def account(start_gateway, stop_gateway, client_for, zip_of):
    """A gateway whose clock of retries runs fast."""
    running = start_gateway(env={"LAMBDA_CLOCK_RATE": str(CLOCK_RATE)})
    yield Account(running.url, client_for, zip_of)
    stop_gateway(running)


@pytest.fixture(scope="module")
def failing(account) -> str:
    return account.function(FAILS)


@pytest.fixture(scope="module")
def echoing(account) -> str:
    return account.function(ECHO)


def topic_with(account, queue) -> str:
    """A topic whose messages end up in a queue as they are published, in SNS's envelope."""
    sns = account.client("sns")
    arn = sns.create_topic(Name=new_name("t"))["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue.arn)
    return str(arn)


# Destinations


def test_topic_gets_the_record_as_its_message(account, failing):
    queue = account.queue()
    account.configure(failing, failure=topic_with(account, queue))
    request_id = account.send(failing, {"n": 1})
    record = json.loads(queue.record()["Message"])
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{account.arn(failing)}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 1,
    }
    assert record["requestPayload"] == {"n": 1}
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_bucket_gets_the_record_of_a_failure_as_an_object(account, failing):
    queue, s3, bucket = account.queue(), account.client("s3"), new_name("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": queue.arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    account.configure(failing, failure=f"arn:aws:s3:::{bucket}")
    account.send(failing, {"n": 2})
    while True:  # S3 announces its notifications with a test event.
        notification = queue.record()
        if "Records" in notification:
            break
    (found,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    pattern = rf"aws/lambda/async/{failing}/\d{{4}}/\d\d/\d\d/\d{{4}}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{{36}}"
    assert re.fullmatch(pattern, found["Key"])
    record = json.loads(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
    assert record["requestPayload"] == {"n": 2}


@pytest.mark.parametrize(("side", "word"), [("success", "Success"), ("failure", "Failure")])
def test_event_bus_gets_the_record_as_the_detail_of_an_event(account, failing, echoing, side, word):
    events, queue, bus = account.client("events"), account.queue(), new_name("bus")
    bus_arn = events.create_event_bus(Name=bus)["EventBusArn"]
    pattern = {"source": ["lambda"], "detail-type": [f"Lambda Function Invocation Result - {word}"]}
    events.put_rule(Name=bus, EventBusName=bus, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=bus, EventBusName=bus, Targets=[{"Id": "q", "Arn": queue.arn}])
    name = echoing if side == "success" else failing
    account.configure(name, **{side: bus_arn})
    account.send(name, {"n": 3})
    event = queue.record()
    assert event["resources"] == [bus_arn, f"{account.arn(name)}:$LATEST"]
    assert event["detail"]["requestPayload"] == {"n": 3}
    assert event["detail"]["version"] == "1.0"


def test_function_gets_the_record_as_its_event_and_has_destinations_of_its_own(account, echoing):
    queue, second = account.queue(), account.function(ECHO)
    account.configure(second, success=queue.arn)
    account.configure(echoing, success=account.arn(second))
    account.send(echoing, {"n": 4})
    outer = queue.record()
    inner = outer["requestPayload"]
    assert inner["requestContext"]["functionArn"] == f"{account.arn(echoing)}:$LATEST"
    assert inner["responsePayload"] == {"echo": {"n": 4}}
    assert outer["responsePayload"] == {"echo": inner}
    assert outer["requestContext"]["requestId"] != inner["requestContext"]["requestId"]


def test_alias_has_a_configuration_of_its_own(account):
    name, queue, client = account.function(FAILS), account.queue(), account.client("lambda")
    version = client.publish_version(FunctionName=name)["Version"]
    alias = client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)["AliasArn"]
    account.configure(name, failure=queue.arn, Qualifier="live", MaximumRetryAttempts=1)
    account.send(name, {}, Qualifier="live")
    record = queue.record()
    assert record["requestContext"]["functionArn"] == alias
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responseContext"]["executedVersion"] == version


def test_synchronous_invoke_has_no_record(account, echoing):
    queue = account.queue()
    account.configure(echoing, success=queue.arn)
    account.functions.result(echoing, {"n": "now"})
    account.send(echoing, {"n": "later"})
    assert queue.record()["requestPayload"] == {"n": "later"}
    assert queue.is_empty()


# Dead letters


def test_dead_letter_queue_gets_the_event_and_what_went_wrong(account):
    queue = account.queue()
    name = account.function(FAILS, DeadLetterConfig={"TargetArn": queue.arn})
    request_id = account.send(name, {"b": 1, "a": [1.5]})
    message = queue.message()
    assert json.loads(message["Body"]) == {"b": 1, "a": [1.5]}
    assert {name: value["StringValue"] for name, value in message["MessageAttributes"].items()} == {
        "RequestID": request_id,
        "ErrorCode": "200",
        "ErrorMessage": "on purpose",
    }
    assert message["MessageAttributes"]["ErrorCode"]["DataType"] == "Number"


def test_dead_letter_topic_gets_it_too(account):
    queue = account.queue()
    name = account.function(FAILS, DeadLetterConfig={"TargetArn": topic_with(account, queue)})
    account.configure(name)
    request_id = account.send(name, {"n": 1})
    envelope = queue.record()
    assert envelope["Message"] == '{"n": 1}'
    assert envelope["MessageAttributes"]["RequestID"]["Value"] == request_id


def test_dead_letter_queue_and_destination_are_used_together(account):
    letters, records = account.queue(), account.queue()
    name = account.function(FAILS, DeadLetterConfig={"TargetArn": letters.arn})
    account.configure(name, failure=records.arn)
    account.send(name, {"n": 1})
    assert json.loads(letters.message()["Body"]) == {"n": 1}
    assert records.record()["requestPayload"] == {"n": 1}


def test_target_that_is_gone_does_not_keep_the_other_one_from_its_message(account):
    letters, records = account.queue(), account.queue()
    name = account.function(FAILS, DeadLetterConfig={"TargetArn": letters.arn})
    account.configure(name, failure=records.arn)
    records.delete()
    account.send(name, {"n": 1})
    assert json.loads(letters.message()["Body"]) == {"n": 1}


# Concurrency


def test_nothing_reserved_sends_events_to_queue_and_destination_at_once(account):
    letters, records = account.queue(), account.queue()
    name = account.function(ECHO, DeadLetterConfig={"TargetArn": letters.arn})
    account.configure(name, failure=records.arn, MaximumRetryAttempts=2)
    account.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    account.send(name, {"n": 1})
    record = records.record()
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responsePayload" not in record
    assert letters.message()["MessageAttributes"]["ErrorCode"]["StringValue"] == "429"


def test_events_run_one_after_the_other_in_their_order_when_one_is_reserved(account):
    name = account.function(RUNS)
    account.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    sent = [str(number) for number in range(20)]
    with Witness() as witness:
        for each in sent:
            account.send(name, {"port": witness.port, "id": each})
        assert witness.until(lambda heard: len(heard) == len(sent)) == sent


def test_events_that_take_long_run_at_the_same_time(account):
    name = account.function(MEET, Timeout=60)
    with Rendezvous() as place:
        for _ in range(30):
            account.send(name, place.port)
        place.await_guests(30)


def test_event_of_a_deleted_function_is_dropped(account):
    name, queue = account.function(FAILS), account.queue()
    other = account.function(FAILS)
    for each in (name, other):
        account.configure(each, failure=queue.arn, MaximumRetryAttempts=1)
    with Witness() as witness:
        blocked = account.function(TELLS + "def handler(event, context):\n    tell(event, 'failed')\n    return 1 / 0")
        account.configure(blocked, failure=queue.arn, MaximumRetryAttempts=1)
        account.send(blocked, witness.port)
        witness.until(lambda heard: heard == ["failed"])
        account.client("lambda").delete_function(FunctionName=blocked)
        # This one is retried later than the deleted one would be.
        account.send(other, {"n": 1})
        assert queue.record()["requestPayload"] == {"n": 1}
        assert queue.is_empty()
        assert witness.heard == ["failed"]


# Recursive loops


def test_function_that_invokes_itself_is_stopped_after_sixteen_runs(account):
    letters = account.queue()
    name = account.function(CALLS_ITSELF, Timeout=60, DeadLetterConfig={"TargetArn": letters.arn})
    account.configure(name, failure=letters.arn)
    with Witness() as witness:
        account.send(name, {"port": witness.port, "n": 1, "last": 100})
        found = [json.loads(letters.message()["Body"]) for _ in range(2)]
        assert len(witness.heard) == 16
    record = next(each for each in found if "requestContext" in each)
    assert record["requestPayload"]["n"] == 17
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert next(each for each in found if "port" in each)["n"] == 17


def test_function_that_waits_for_itself_gets_an_error_after_sixteen_runs(account):
    name = account.function(WAITS_FOR_ITSELF, Timeout=60)
    with Witness() as witness:
        answer = account.functions.result(name, {"port": witness.port})
        assert len(witness.heard) == 16
    assert "RecursiveInvocationException" in answer


def test_loop_that_is_allowed_goes_on(account):
    name = account.function(CALLS_ITSELF, Timeout=60)
    account.client("lambda").put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    with Witness() as witness:
        account.send(name, {"port": witness.port, "n": 1, "last": 20})
        witness.until(lambda heard: "run 20" in heard)


def test_loop_of_destinations_is_stopped(account):
    first, second, queue = (
        account.function(ECHO[:-1].replace("event}", "1}") + "\n"),
        account.function(ECHO),
        account.queue(),
    )
    second = account.function("def handler(event, context):\n    return 2\n")
    account.configure(first, success=account.arn(second), failure=queue.arn)
    account.configure(second, success=account.arn(first), failure=queue.arn)
    account.send(first, {})
    assert queue.record()["requestContext"]["functionArn"] == f"{account.arn(first)}:$LATEST"


# Restarts


def test_every_event_that_was_acknowledged_runs_though_the_gateway_is_killed(own_gateway, client_for, zip_of, tmp_path):
    """Killed while events are accepted, three times; what got its 202 runs at least once."""
    state = str(tmp_path / "state")
    acknowledged: set[str] = set()
    with Witness() as witness:
        for generation in range(3):
            running = own_gateway("--state-dir", state)
            account = Account(running.url, client_for, zip_of)
            if generation == 0:
                name = account.functions.create("runs", RUNS, Timeout=30)
                # Some have to wait: they are queued when the gateway dies.
                account.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
            acknowledged |= send_until_killed(account, running.process, f"{generation}", witness.port, 150)
        own_gateway("--state-dir", state)
        witness.until(lambda heard: acknowledged <= set(heard))
        assert len(acknowledged) >= 450
        # At least once; more often only what ran, or had just run, at the time of a kill.
        assert len(witness.heard) - len(set(witness.heard)) <= 60


def send_until_killed(account: Account, process: Any, prefix: str, port: int, enough: int) -> set[str]:
    """Send events from eight threads, and kill the gateway while they do. The ids of those that were acknowledged."""
    acknowledged: set[str] = set()
    reached = threading.Event()

    def send(worker: int) -> None:
        number = 0
        while True:
            each = f"{prefix}-{worker}-{number}"
            number += 1
            try:
                account.send("runs", {"port": port, "id": each})
            except Exception:  # noqa: BLE001  (the gateway is gone)
                return
            acknowledged.add(each)
            if len(acknowledged) >= enough:
                reached.set()

    with ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(send, worker) for worker in range(8)]
        reached.wait(60)
        process.kill()
        process.wait()
        for each in sending:
            each.result()
    return acknowledged


def test_retries_go_on_after_a_restart_without_beginning_anew(own_gateway, stop_gateway, client_for, zip_of, tmp_path):
    state = str(tmp_path / "state")
    with Witness() as witness:
        running = own_gateway("--state-dir", state, LAMBDA_CLOCK_RATE="20")
        account = Account(running.url, client_for, zip_of)
        tells_and_fails = (
            TELLS + "def handler(event, context):\n    tell(event['port'], context.aws_request_id)\n    1 / 0\n"
        )
        name = account.functions.create("fails", tells_and_fails)
        request_id = account.send(name, {"port": witness.port})
        witness.until(lambda heard: len(heard) == 1)
        # Its retry is three seconds away. The answer to another request comes after the row was changed.
        account.functions.invoke(name, {"port": 1})
        assert stop_gateway(running) == 0
        own_gateway("--state-dir", state, LAMBDA_CLOCK_RATE="600")
        witness.until(lambda heard: len(heard) == 3)
        assert witness.heard == [request_id] * 3


def test_accepting_durably_is_fast(own_gateway, client_for, zip_of, tmp_path):
    running = own_gateway("--state-dir", str(tmp_path / "state"))
    account = Account(running.url, client_for, zip_of)
    name = account.functions.create("quick", RUNS)
    with Witness() as witness, ThreadPoolExecutor(8) as pool:
        begun = time.monotonic()
        list(pool.map(lambda n: account.send(name, {"port": witness.port, "id": str(n)}), range(400)))
        took_s = time.monotonic() - begun
        witness.until(lambda heard: len(heard) == 400)
    assert took_s < 10
