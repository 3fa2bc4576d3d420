"""Functions on managed instances: environments that take several invocations at once, within the bounds that were set."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from . import machine
from .compiled import java_classes
from .conftest import Functions
from .http import health
from .rendezvous import Rendezvous

pytestmark = pytest.mark.scenario

CONCURRENCY = 3
MEETS = """
import os, socket, threading
loaded = os.getpid()
def handler(event, context):
    open(f"/tmp/{context.aws_request_id}", "w").close()
    print("inside")
    if event == "exit":
        os._exit(3)
    if event:
        with socket.create_connection(("127.0.0.1", event)) as there:
            there.recv(1)
    return {
        "environment": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
        "process": os.getpid(),
        "files": len(os.listdir("/tmp")),
        "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
        "concurrency": os.environ["AWS_LAMBDA_MAX_CONCURRENCY"],
    }
"""


class Managed:
    """A function on managed instances whose version 1 is published; the only one of its gateway."""

    def __init__(self, running: Any, functions: Functions, provider_arn: str) -> None:
        self.running, self.functions, self.client = running, functions, functions.client
        config = {"CapacityProviderArn": provider_arn, "PerExecutionEnvironmentMaxConcurrency": CONCURRENCY}
        functions.create(
            "f",
            MEETS,
            Runtime="python3.13",
            MemorySize=2048,
            Timeout=30,
            CapacityProviderConfig={"LambdaManagedInstancesCapacityProviderConfig": config},
        )
        self.client.publish_version(FunctionName="f")

    def delete(self) -> None:
        with contextlib.suppress(self.client.exceptions.ResourceNotFoundException):
            self.client.delete_function(FunctionName="f")
        machine.eventually(lambda: not any(health(self.running.port)["in_use"].values()), "every counter is at zero")

    def bounds(self, **bounds: int) -> str:
        answer = self.client.put_function_scaling_config(FunctionName="f", Qualifier="1", FunctionScalingConfig=bounds)
        return str(answer["FunctionState"])

    def environments(self) -> int:
        return int(health(self.running.port)["environments"])

    def await_environments(self, count: int) -> None:
        machine.eventually(lambda: self.environments() == count, f"{count} environments")


@pytest.fixture(scope="module")
def instances(
    start_gateway: Callable[..., Any],
    stop_gateway: Callable[..., int],
    client_for: Callable[..., Any],
    zip_of: Callable[..., bytes],
) -> Iterator[tuple[Any, Functions, str]]:
    """A gateway with a capacity provider."""
    running = start_gateway()
    functions = Functions(client_for(running.url, "lambda"), zip_of)
    ec2 = client_for(running.url, "ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=subnet["VpcId"])["GroupId"]
    provider = functions.client.create_capacity_provider(
        CapacityProviderName="instances",
        VpcConfig={"SubnetIds": [subnet["SubnetId"]], "SecurityGroupIds": [group]},
        PermissionsConfig={"CapacityProviderOperatorRoleArn": "arn:aws:iam::000000000000:role/operator"},
    )["CapacityProvider"]
    yield running, functions, provider["CapacityProviderArn"]
    stop_gateway(running)


@pytest.fixture
def managed(instances: tuple[Any, Functions, str]) -> Iterator[Managed]:
    managed = Managed(*instances)
    yield managed
    managed.delete()


def test_invocations_share_an_environment_up_to_its_concurrency(managed: Managed) -> None:
    managed.bounds(MinExecutionEnvironments=1, MaxExecutionEnvironments=2)
    managed.await_environments(1)
    with ThreadPoolExecutor(2 * CONCURRENCY) as pool, Rendezvous() as place:

        def start() -> Any:
            return pool.submit(managed.functions.result, "f", place.port, Qualifier="1")

        calls = [start() for _ in range(CONCURRENCY)]
        place.await_guests(CONCURRENCY)
        assert managed.environments() == 1
        calls += [start() for _ in range(CONCURRENCY)]
        place.await_guests(2 * CONCURRENCY)
        assert managed.environments() == 2
        with pytest.raises(managed.client.exceptions.TooManyRequestsException) as throttled:
            managed.functions.invoke("f", None, Qualifier="1")
        place.let_go()
        answers = [call.result() for call in calls]
    assert throttled.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
    by_environment: dict[str, list[Any]] = {}
    for answer in answers:
        by_environment.setdefault(answer["environment"], []).append(answer)
    assert sorted(len(found) for found in by_environment.values()) == [CONCURRENCY] * 2
    for found in by_environment.values():
        # A process for each, and one /tmp for all.
        assert len({answer["process"] for answer in found}) == CONCURRENCY
        assert {answer["files"] for answer in found} == {CONCURRENCY}
    assert {(answer["type"], answer["concurrency"]) for answer in answers} == {("lambda-managed-instances", "3")}


def test_java_runs_as_many_threads(instances: tuple[Any, Functions, str]) -> None:
    running, functions, provider_arn = instances
    config = {"CapacityProviderArn": provider_arn, "PerExecutionEnvironmentMaxConcurrency": CONCURRENCY}
    functions.create(
        "j",
        java_classes("rules"),
        Runtime="java25",
        Handler="rules.Functions::meet",
        MemorySize=2048,
        Timeout=30,
        CapacityProviderConfig={"LambdaManagedInstancesCapacityProviderConfig": config},
    )
    try:
        functions.client.publish_version(FunctionName="j")
        bounds = {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 1}
        functions.client.put_function_scaling_config(FunctionName="j", Qualifier="1", FunctionScalingConfig=bounds)
        machine.eventually(lambda: health(running.port)["environments"] == 1, "an environment")
        for _ in range(2):
            with ThreadPoolExecutor(CONCURRENCY) as pool, Rendezvous() as place:
                calls = [pool.submit(functions.invoke, "j", place.port, Qualifier="1") for _ in range(CONCURRENCY)]
                place.await_guests(CONCURRENCY)
                place.let_go()
                outcomes = [call.result() for call in calls]
            answers = [outcome.payload for outcome in outcomes]
            assert {outcome.request_id for outcome in outcomes} == {answer["requestId"] for answer in answers}
            assert len({answer["thread"] for answer in answers}) == CONCURRENCY
            assert len({answer["process"] for answer in answers}) == 1, "threads of one virtual machine"
    finally:
        functions.client.delete_function(FunctionName="j")


def test_bounds_hold_at_once_and_nothing_is_left(managed: Managed) -> None:
    managed.await_environments(1)
    assert managed.bounds(MinExecutionEnvironments=2, MaxExecutionEnvironments=3) == "Active"
    managed.await_environments(2)
    assert managed.bounds(MinExecutionEnvironments=0, MaxExecutionEnvironments=0) == "Deactivated"
    managed.await_environments(0)
    with pytest.raises(managed.client.exceptions.ResourceConflictException, match="Deactivated"):
        managed.functions.invoke("f", None, Qualifier="1")
    assert managed.bounds(MinExecutionEnvironments=1) == "Active"
    managed.await_environments(1)
    assert managed.functions.result("f", None, Qualifier="$LATEST.PUBLISHED")["files"] == 1
    before = machine.descendants(managed.running.process.pid)
    managed.delete()
    machine.eventually(
        lambda: len(machine.alive(before)) <= len(before) - CONCURRENCY - 1, "the runtime and its workers ended"
    )


def test_a_worker_that_ends_leaves_the_others(managed: Managed) -> None:
    managed.bounds(MinExecutionEnvironments=1, MaxExecutionEnvironments=1)
    managed.await_environments(1)
    with ThreadPoolExecutor(1) as pool, Rendezvous() as place:
        other = pool.submit(managed.functions.result, "f", place.port, Qualifier="1")
        place.await_guests(1)
        outcome = managed.functions.invoke("f", "exit", Qualifier="1")
        assert (outcome.error, outcome.payload["errorType"]) == ("Unhandled", "Runtime.ExitError")
        environment = managed.functions.result("f", None, Qualifier="1")["environment"]
        place.let_go()
        assert other.result()["environment"] == environment


def test_lines_are_json_and_tell_whose_they_are(managed: Managed, client_for: Callable[..., Any]) -> None:
    outcomes = [managed.functions.invoke("f", None, Qualifier="1") for _ in range(2)]
    logs = client_for(managed.running.url, "logs")
    messages = [event["message"] for event in logs.filter_log_events(logGroupName="/aws/lambda/f")["events"]]
    lines = [json.loads(message) for message in messages if message.startswith("{")]
    for outcome in outcomes:
        kinds = [line["type"] for line in lines if line.get("record", {}).get("requestId") == outcome.request_id]
        assert kinds == ["platform.start", "platform.report"]
