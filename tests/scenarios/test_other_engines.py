"""The docker executor on engines of another kind: Podman's Docker API, and Docker run by a user who is not root."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.scenarios import listening_extension, machine, other_engines
from tests.scenarios.http import health
from tests.scenarios.other_engines import OtherEngine

pytestmark = pytest.mark.docker

PYTHON = "public.ecr.aws/lambda/python:3.12"
LABEL = "lambda-provider.environment"
ENGINES = {"podman": other_engines.podman, "rootless": other_engines.rootless_docker}
HANDLER = """
import resource, socket, time
def handler(event, context):
    print("seen", event)
    if event == "name":
        return socket.gethostbyname("sandbox.localdomain").count(".")
    if event == "limits":
        return [resource.getrlimit(each)[1] for each in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)]
    if event == "count":
        with open("/tmp/count", "a+") as file:
            file.write("x")
            file.seek(0)
            return len(file.read())
    if isinstance(event, dict) and "sleep" in event:
        time.sleep(event["sleep"])
    if isinstance(event, dict) and "use" in event:
        return len(bytearray(event["use"] << 20))
    return event
"""


@pytest.fixture(scope="module", params=list(ENGINES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def saved(images: list[str]) -> bytes:
    return subprocess.run(["docker", "save", PYTHON], capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def other(kind: str, saved: bytes) -> Iterator[OtherEngine]:
    with ENGINES[kind]() as engine:
        engine.load(saved)
        yield engine


@pytest.fixture(scope="module")
def engine(other: OtherEngine) -> Iterator[Any]:
    import docker

    with contextlib.closing(docker.DockerClient(base_url=other.address, timeout=60)) as client:
        yield client


@pytest.fixture(scope="module")
def running(
    other: OtherEngine, engine: Any, start_gateway: Callable[..., Any], stop_gateway: Callable[..., int]
) -> Iterator[Any]:
    """A gateway of the engine's user, which has to leave nothing there."""
    settings = {"DOCKER_HOST": other.address, "TMPDIR": str(other.temporary)}
    gateway = start_gateway("--executor", "docker", "--host-adapter", "bare", env=settings, prefix=other.prefix)
    try:
        yield gateway
    finally:
        assert stop_gateway(gateway) == 0
    assert containers(engine) == [] and engine.volumes.list(filters={"label": LABEL}) == []
    assert list(other.temporary.iterdir()) == []


@pytest.fixture
def functions(running: Any, functions_of: Callable[..., Any]) -> Any:
    return functions_of(running)


def containers(engine: Any) -> list[Any]:
    return list(engine.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True))


def test_functions_run_and_what_they_print_is_in_the_log_of_their_invocation(functions):
    functions.create("plain", HANDLER)
    assert [functions.result("plain", "count") for _ in range(3)] == [1, 2, 3]
    outcome = functions.invoke("plain", "name", LogType="Tail")
    assert outcome.payload == 3
    assert outcome.log.splitlines()[1] == "seen name"


def test_limits_are_aws_s_as_far_as_the_engine_may_set_them(functions, kind):
    functions.create("limits", HANDLER)
    core, files = functions.result("limits", "limits")
    assert files == 1024
    assert core == (0 if kind == "rootless" else 10737418240)


def test_functions_reach_the_gateway(functions):
    functions.create("target", HANDLER)
    caller = """
import boto3, json
def handler(event, context):
    answer = boto3.client("lambda").invoke(FunctionName="target", Payload=json.dumps(event))
    return json.load(answer["Payload"])
"""
    functions.create("caller", caller, MemorySize=512)
    assert functions.result("caller", {"a": 1}) == {"a": 1}


def test_extensions_run_and_are_told_telemetry_where_the_gateway_reaches_into_containers(functions, zip_of, kind):
    layer = listening_extension.layer(functions.client, zip_of)
    functions.create("extended", listening_extension.NOTES, Layers=[layer])
    machine.eventually(lambda: "INVOKE" in functions.result("extended"), "the extension hears of an invocation")
    if kind == "podman":
        machine.eventually(lambda: "platform.report" in functions.result("extended"), "telemetry is delivered")


def test_memory_is_bounded_and_measured(functions):
    functions.create("memory", HANDLER, MemorySize=256)
    outcome = functions.invoke("memory", {"use": 64}, LogType="Tail")
    assert outcome.payload == 64 << 20
    assert 64 <= int(outcome.log.partition("Max Memory Used: ")[2].split()[0]) < 256
    outcome = functions.invoke("memory", {"use": 600}, LogType="Tail")
    assert outcome.payload["errorType"] == "Runtime.ExitError"
    assert "Error Type: Runtime.OutOfMemory" in outcome.log
    assert functions.result("memory", 1) == 1


def test_a_container_that_is_killed_fails_its_invoke_at_once(running, functions, engine):
    functions.create("killed", HANDLER, Timeout=60)
    functions.result("killed")
    label = "lambda-provider.function=arn:aws:lambda:us-east-1:000000000000:function:killed:$LATEST"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        invoke = pool.submit(functions.invoke, "killed", {"sleep": 50})
        machine.eventually(lambda: health(running.port)["in_use"]["on_demand"] == 1, "the container has the invoke")
        (container,) = engine.containers.list(filters={"label": label})
        container.kill()
        began = time.monotonic()
        outcome = invoke.result(20)
    assert outcome.payload["errorType"] == "Runtime.ExitError"
    assert time.monotonic() - began < 5
    assert functions.result("killed", 2) == 2


def test_ten_cold_starts_at_once_succeed(functions):
    functions.create("many", HANDLER, Timeout=60)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = list(pool.map(lambda number: functions.result("many", {"sleep": 0.2, "n": number}), range(10)))
    assert [each["n"] for each in results] == list(range(10))


def test_doctor_says_what_the_engine_cannot_do(other, kind):
    command = [*other.prefix, sys.executable, "-m", "lambda_provider.cli", "doctor", "--executor", "docker", "--json"]
    done = subprocess.run(command, env={"DOCKER_HOST": other.address}, capture_output=True, check=True)
    found = {each["name"]: each for each in json.loads(done.stdout)["Executor docker"]}
    assert {"podman": "Podman", "rootless": "(rootless)"}[kind] in found["engine"]["detail"]
    if kind == "rootless" and not found["process limit"]["available"]:
        assert "rootless" in found["process limit"]["detail"]
        assert found["memory limit"]["available"], "it is looked at"
    assert found["Runtime API isolation"]["available"] is (kind == "podman")


def test_what_a_killed_gateway_leaves_is_removed_by_the_next_one(
    other, engine, start_gateway, stop_gateway, functions_of
):
    settings = {"DOCKER_HOST": other.address, "TMPDIR": str(other.temporary)}
    start = ("--executor", "docker", "--host-adapter", "bare")
    before = {each.id for each in containers(engine)}

    def left() -> set[str]:
        return {each.id for each in containers(engine)} - before

    killed = start_gateway(*start, env=settings, prefix=other.prefix)
    functions = functions_of(killed)
    functions.create("left", HANDLER, Timeout=600)
    functions.client.invoke(FunctionName="left", InvocationType="Event", Payload=b'{"sleep": 500}')
    machine.eventually(left, "it has a container")
    killed.process.kill()
    killed.process.wait()
    following = start_gateway(*start, env=settings, prefix=other.prefix)
    machine.eventually(lambda: not left(), "what the killed one left is removed")
    assert stop_gateway(following) == 0
