"""The emulator that tests use: it is there, it is fresh, and it leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from lambda_provider.testing import Emulator, FunctionFailed
from lambda_provider.testing.deployment import deployment_of

from .rendezvous import MEET, Rendezvous

pytestmark = pytest.mark.scenario

ECHO = {"index.py": "def handler(event, context):\n    print('got', event)\n    return event\n"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    with Emulator(settings={"LAMBDA_CLOCK_RATE": "6000"}) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared: Emulator) -> Emulator:
    shared.reset()
    return shared


def test_a_function_is_deployed_called_and_read_in_a_line_each(emulator: Emulator) -> None:
    function = emulator.deploy(ECHO, Timeout=5, Environment={"Variables": {"KEY": "b"}})
    assert (function.name, str(function)) == ("function", "function")
    assert function.invoke({"a": [1]}) == {"a": [1]}
    assert function.invoke() is None
    logs = function.logs()
    assert "got {'a': [1]}" in logs
    assert [line.split()[0] for line in logs if line.startswith(("START", "END", "REPORT"))] == [
        "START",
        "END",
        "REPORT",
    ] * 2
    configuration = emulator.client("lambda").get_function_configuration(FunctionName=function.arn)
    assert (configuration["Timeout"], configuration["Environment"]) == (5, {"Variables": {"KEY": "b"}})


def test_a_function_in_the_test_itself_runs(emulator: Emulator) -> None:
    def handler(event: Any, context: Any) -> Any:
        import platform

        return [event, platform.python_version()]

    assert emulator.deploy(handler).invoke("x") == ["x", ".".join(map(str, sys.version_info[:3]))]


def test_names_that_are_not_given_are_free(emulator: Emulator) -> None:
    assert [emulator.deploy(ECHO).name for _ in range(3)] == ["function", "function-2", "function-3"]


def test_a_failure_of_the_function_is_an_exception_with_its_log(emulator: Emulator) -> None:
    function = emulator.deploy(
        {"index.py": "def handler(event, context):\n    print('trying')\n    return event['id']\n"}
    )
    with pytest.raises(FunctionFailed) as caught:
        function.invoke({})
    error = caught.value
    assert (error.function_name, error.error_type, error.error_message) == ("function", "KeyError", "'id'")
    assert "return event['id']" in error.stack_trace[-1]
    assert "trying" in error.log and "trying" in str(error)


def test_an_asynchronous_event_is_waited_for_with_its_retries(emulator: Emulator) -> None:
    function = emulator.deploy({"index.py": "def handler(event, context):\n    print('tried')\n    raise ValueError\n"})
    function.invoke_async({})
    emulator.wait_for_events()
    assert function.logs().count("tried") == 3


def test_what_takes_longer_than_one_waits_is_a_timeout(emulator: Emulator) -> None:
    with Rendezvous() as place:
        function = emulator.deploy({"index.py": MEET})
        function.invoke_async(place.port)
        place.await_guests(1)
        with pytest.raises(TimeoutError, match="1 asynchronous events are left"):
            emulator.wait_for_events(0.01)
    with pytest.raises(TimeoutError, match="nothing like that"):
        emulator.wait_for_log(function, "never", 0.01)
    with pytest.raises(TimeoutError, match="still 0"):
        emulator.wait_for(lambda: 0, 0.01)
    assert emulator.wait_for(lambda: 7) == 7


def test_a_line_is_there_as_soon_as_the_function_wrote_it(emulator: Emulator) -> None:
    with Rendezvous() as place:
        source = MEET.replace("    return meet", "    print('here', flush=True)\n    return meet")
        function = emulator.deploy({"index.py": source})
        function.invoke_async(place.port)
        assert emulator.wait_for_log(function, "here") == "here"
        place.await_guests(1)


def test_logs_of_a_group_of_its_own_and_of_other_places_are_found(emulator: Emulator) -> None:
    emulator.deploy(ECHO, name="own", LoggingConfig={"LogGroup": "/shop"}).invoke(1)
    assert "got 1" in emulator.logs("own")
    client = emulator.client("lambda", region="eu-west-1", account_id="111122223333")
    emulator.deploy(ECHO, name="here")
    archive = urllib.request.urlopen(
        emulator.client("lambda").get_function(FunctionName="here")["Code"]["Location"]
    ).read()
    arn = client.create_function(
        FunctionName="there",
        Runtime="python3.12",
        Handler="index.handler",
        Role="arn:aws:iam::111122223333:role/r",
        Code={"ZipFile": archive},
    )["FunctionArn"]
    client.get_waiter("function_active_v2").wait(FunctionName="there")
    client.invoke(FunctionName="there", Payload="2")
    assert "got 2" in emulator.logs(arn)
    assert emulator.logs("there") == []


def test_after_a_reset_nothing_is_left_in_any_account_region_or_service(emulator: Emulator) -> None:
    places = [("111122223333", "eu-west-1"), ("000000000000", "us-east-1")]

    def everything() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for account, region in places:

            def client(service: str, account: str = account, region: str = region) -> Any:
                return emulator.client(service, region=region, account_id=account)

            found |= {
                f"{account} functions": client("lambda").list_functions()["Functions"],
                f"{account} layers": client("lambda").list_layers()["Layers"],
                f"{account} mappings": client("lambda").list_event_source_mappings()["EventSourceMappings"],
                f"{account} buckets": client("s3").list_buckets()["Buckets"],
                f"{account} queues": client("sqs").list_queues().get("QueueUrls", []),
                f"{account} groups": client("logs").describe_log_groups()["logGroups"],
                f"{account} topics": client("sns").list_topics()["Topics"],
                f"{account} rules": client("events").list_rules()["Rules"],
                f"{account} users": client("iam").list_users()["Users"],
            }
        return found

    assert [what for what, found in everything().items() if found] == []
    for account, region in places:
        client = emulator.client("lambda", region=region, account_id=account)
        emulator.account_id, emulator.region = account, region
        function = emulator.deploy(ECHO)
        client.publish_layer_version(LayerName="l", Content={"ZipFile": deployment_of(ECHO).archive})
        client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=5)
        function.invoke(1)
        emulator.client("s3", region=region, account_id=account).create_bucket(
            Bucket=f"b-{account}", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        queues = emulator.client("sqs", region=region, account_id=account)
        queues.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "60"})
        client.create_event_source_mapping(
            FunctionName=function.name, EventSourceArn=f"arn:aws:sqs:{region}:{account}:q"
        )
        topics = emulator.client("sns", region=region, account_id=account)
        topic = topics.create_topic(Name="t")["TopicArn"]
        topics.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function.arn)
        emulator.client("events", region=region, account_id=account).put_rule(
            Name="r", ScheduleExpression="rate(1 minute)"
        )
        emulator.client("iam", region=region, account_id=account).create_user(UserName="u")
    assert [what for what, found in everything().items() if not found] == []

    emulator.reset()
    assert [what for what, found in everything().items() if found] == []
    with urllib.request.urlopen(f"{emulator.url}/_lambda/health") as answer:
        health = json.load(answer)
    assert (health["functions"], health["environments"], health["queued_events"]) == (0, 0, 0)
    assert emulator.client("lambda").get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 1000
    assert emulator.client("lambda").get_account_settings()["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    assert emulator.logs("function") == []


@pytest.fixture(autouse=True)
def _at_home(shared: Emulator) -> None:
    shared.account_id, shared.region = "000000000000", "us-east-1"


def test_a_reset_ends_what_runs_and_what_waits(emulator: Emulator) -> None:
    with Rendezvous() as place:
        function = emulator.deploy({"index.py": MEET})
        function.invoke_async(place.port)
        place.await_guests(1)
        emulator.reset()
        place.await_end()
    assert emulator.deploy(ECHO).invoke(1) == 1
    emulator.wait_for_events(1)


def test_what_is_deployed_after_a_reset_starts_from_nothing(emulator: Emulator) -> None:
    counter = {
        "index.py": "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return count\n"
    }
    for _ in range(3):
        assert [emulator.deploy(counter, name="counts").invoke() for _ in range(1)] == [1]
        assert len([line for line in emulator.logs("counts") if line.startswith("START")]) == 1
        emulator.reset()


def test_logs_are_in_cloudwatch_too_after_a_reset(emulator: Emulator) -> None:
    for text in ("one", "two"):
        emulator.deploy(ECHO, name="f").invoke(text)
        events = emulator.client("logs").filter_log_events(logGroupName="/aws/lambda/f")["events"]
        assert [event["message"] for event in events if "got" in event["message"]] == [f"got {text}\n"]
        emulator.reset()


def test_an_emulator_alone_has_no_other_services_and_needs_no_moto() -> None:
    with Emulator(other_services=False) as alone:
        function = alone.deploy(
            {"index.py": "import os\ndef handler(e, c):\n    return os.environ['AWS_ENDPOINT_URL']\n"}
        )
        assert function.invoke() == alone.url
        with pytest.raises(alone.client("sqs").exceptions.ClientError, match="has no service 'sqs'"):
            alone.client("sqs").list_queues()
        assert any(line.startswith("REPORT") for line in function.logs())
        alone.reset()
        assert alone.deploy(ECHO).invoke(1) == 1


def test_a_stopped_emulator_leaves_no_port_no_thread_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = threading.active_count()
    emulator = Emulator()
    with emulator:
        emulator.deploy(ECHO).invoke(1)
        emulator.client("sqs").create_queue(QueueName="q")
        url = emulator.url
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(url)
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="does not run"):
        _ = emulator.url
    emulator.stop()
    with emulator:
        assert emulator.deploy(ECHO).invoke(2) == 2


def test_one_that_nobody_stops_ends_with_the_process(tmp_path: Path) -> None:
    program = (
        "from lambda_provider.testing import Emulator\n"
        "emulator = Emulator().start()\n"
        "emulator.client('sqs').create_queue(QueueName='q')\n"
        "print(emulator.deploy({'index.py': 'def handler(e, c): return e'}).invoke(5))\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("5\n", 0), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_start_is_said_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(LookupError, match="hamsters"):
        Emulator(executor="hamsters").start()
    with pytest.raises(ValueError, match="LAMBDA_KEEPALIVE_S"):
        Emulator(settings={"LAMBDA_KEEPALIVE_S": "never"}).start()
    assert threading.active_count() == before


def test_a_state_directory_outlives_the_emulator(tmp_path: Path) -> None:
    with Emulator(state_dir=tmp_path, other_services=False) as first:
        first.deploy(ECHO)
    with Emulator(state_dir=tmp_path, other_services=False) as second:
        client = second.client("lambda")
        client.get_waiter("function_active_v2").wait(FunctionName="function")
        assert client.invoke(FunctionName="function", Payload="3")["Payload"].read() == b"3"


def test_the_environment_leads_to_the_emulator_and_back(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://elsewhere")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", "mine")
    with emulator.in_environment():
        assert {name for name in os.environ if name.startswith("AWS_")} == set(emulator.environment)
        assert boto3.client("lambda").list_functions()["Functions"] == []
        os.environ["AWS_SESSION_TOKEN"] = "left behind"
    assert (os.environ["AWS_PROFILE"], os.environ["AWS_ENDPOINT_URL_LAMBDA"]) == ("mine", "http://elsewhere")
    assert "AWS_SESSION_TOKEN" not in os.environ
    assert boto3.DEFAULT_SESSION == "mine"


def test_clients_are_kept_and_survive_a_reset(emulator: Emulator) -> None:
    client = emulator.client("sqs")
    assert emulator.client("sqs") is client
    assert emulator.client("sqs", region="eu-west-1") is not client
    emulator.reset()
    assert client.list_queues().get("QueueUrls", []) == []


def test_two_emulators_know_nothing_of_each_other(emulator: Emulator) -> None:
    with Emulator(other_services=False) as other:
        emulator.deploy(ECHO)
        assert other.client("lambda").list_functions()["Functions"] == []


def test_a_fresh_one_takes_milliseconds(emulator: Emulator) -> None:
    """The promise is tens of milliseconds; the quickest of twenty is what it takes, also on a busy machine."""
    emulator.deploy(ECHO)
    took = []
    for _ in range(20):
        began = time.perf_counter()
        emulator.reset()
        emulator.deploy(ECHO)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1
