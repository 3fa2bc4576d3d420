"""Real extensions in layers, on a real gateway: life, shutdown, crashes, telemetry."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from . import machine
from .http import health
from .recorder import EXTENSION, Recorder
from .rendezvous import MEET, Rendezvous

EXECUTORS = ("process", "docker-host")

pytestmark = pytest.mark.scenario

WHO = "import os\nme = os.urandom(8).hex()\ndef handler(event, context):\n    return me\n"
HANDLER = "def handler(event, context):\n    print('handled')\n    return event\n"


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture
def deploy_extended(
    deploy: Callable[..., str], aws_client: Callable[..., Any], zip_of: Callable[..., bytes], recorder: Recorder
) -> Callable[..., str]:
    """`deploy_extended(plan)` deploys a function with the extensions that `plan` names, by a layer."""

    def create(plan: dict[str, Any], source: str = HANDLER, **parameters: Any) -> str:
        variables = {"RECORDER": str(recorder.port), "PLAN": json.dumps(plan)}
        layer = publish(aws_client("lambda"), zip_of, plan)
        return deploy(source, Layers=[layer], Environment={"Variables": variables}, **{"Timeout": 20, **parameters})

    return create


def publish(client: Any, zip_of: Callable[..., bytes], names: Any, executable: bool = True) -> str:
    files = {f"extensions/{name}": EXTENSION for name in names}
    archive = zip_of(files, executable=tuple(files) if executable else ())
    answer = client.publish_layer_version(LayerName="extensions", Content={"ZipFile": archive})
    return answer["LayerVersionArn"]


def log_of(aws_client: Callable[..., Any], name: str) -> list[str]:
    client = aws_client("logs")
    try:
        found = client.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    except client.exceptions.ResourceNotFoundException:
        return []
    return [event["message"] for event in found]


def test_extensions_see_the_life_of_their_environment(deploy_extended, recorder, aws_client, result) -> None:
    name = deploy_extended({"one.py": {}, "two.py": {"events": ["SHUTDOWN"]}})
    began = time.time()
    assert result(name, 1) == 1
    ended = time.time()
    assert result(name, 2) == 2
    aws_client("lambda").delete_function(FunctionName=name)
    recorder.await_that(lambda: len(recorder.values("SHUTDOWN")) == 2, "SHUTDOWN after the function was deleted")
    assert recorder.whats("one.py") == ["registered", "INVOKE", "INVOKE", "SHUTDOWN"]
    assert recorder.whats("two.py") == ["registered", "SHUTDOWN"]
    assert recorder.values("registered")[0] == {
        "functionName": name,
        "functionVersion": "$LATEST",
        "handler": "index.handler",
    }
    first = recorder.values("INVOKE")[0]
    assert first["invokedFunctionArn"].endswith(f":function:{name}")
    assert began - 0.001 <= first["deadlineMs"] / 1000 - 20 <= ended
    shutdown = recorder.values("SHUTDOWN")[0]
    assert shutdown["shutdownReason"] == "spindown"
    lines = log_of(aws_client, name)
    assert "EXTENSION\tName: one.py\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in [line.rstrip("\n") for line in lines]
    assert any("extension is up" in line for line in lines)


def test_a_slow_extension_holds_up_its_environment_and_not_the_answer(
    deploy_extended, recorder, result, aws_client
) -> None:
    name = deploy_extended({"slow.py": {}}, WHO)
    recorder.hold("INVOKE")
    first, second = result(name), result(name)
    assert first != second, "the extension of the first environment is still at work"
    assert not any(line.startswith("REPORT") for line in log_of(aws_client, name))
    recorder.let_go()
    machine.eventually(
        lambda: sum(line.startswith("REPORT") for line in log_of(aws_client, name)) == 2, "the reports of both"
    )
    assert result(name) in (first, second)


def test_the_time_limit_ends_a_slow_extension(deploy_extended, recorder, result, aws_client) -> None:
    name = deploy_extended({"slow.py": {}}, Timeout=3)
    recorder.hold("INVOKE")
    assert result(name, 1) == 1
    machine.eventually(lambda: any("Status: timeout" in line for line in log_of(aws_client, name)), "the report")
    recorder.let_go()
    recorder.await_that(lambda: recorder.values("SHUTDOWN"), "SHUTDOWN")
    assert recorder.values("SHUTDOWN")[0]["shutdownReason"] == "timeout"


@pytest.mark.parametrize("moment", ["before register", "after register", "in the invocation"])
def test_an_extension_that_ends_fails_the_invocation(deploy_extended, invoke, moment: str) -> None:
    name = deploy_extended(
        {"bad.py": {"dies": moment}}, "import time\ndef handler(event, context):\n    time.sleep(15)\n"
    )
    began = time.monotonic()
    outcome = invoke(name, LogType="Tail")
    assert time.monotonic() - began < 12, "the function would take longer"
    assert outcome.error == "Unhandled"
    assert outcome.payload["errorType"] == "Extension.Crash"
    assert outcome.payload["errorMessage"] == f"RequestId: {outcome.request_id} Error: exit status 3"


def test_an_extension_that_is_not_executable_is_named(deploy, aws_client, zip_of, invoke) -> None:
    layer = publish(aws_client("lambda"), zip_of, ["plain.py"], executable=False)
    outcome = invoke(deploy(HANDLER, Layers=[layer]), LogType="Tail")
    assert outcome.payload["errorType"] == "Extension.LaunchError"
    assert "fork/exec /opt/extensions/plain.py: permission denied" in outcome.payload["errorMessage"]
    assert "EXTENSION\tName: plain.py\tState: LaunchError\tEvents: []\tError Type: PermissionDenied" in outcome.log


def test_a_killed_extension_hangs_nothing_at_any_moment(gateway, deploy_extended, recorder, result, invoke) -> None:
    name = deploy_extended({"ext.py": {}}, MEET)
    with Rendezvous() as place, ThreadPoolExecutor(1) as pool:
        # While the function runs.
        answer = pool.submit(invoke, name, place.port)
        place.await_guests(1)
        _kill(recorder)
        assert answer.result(timeout=machine.PATIENCE_S).payload["errorType"] == "Extension.Crash"
    with Rendezvous() as place, ThreadPoolExecutor(1) as pool:
        # While the environment idles.
        answer = pool.submit(result, name, place.port)
        place.await_guests(1)
        place.let_go()
        first = answer.result(timeout=machine.PATIENCE_S)
        environments = health(gateway.port)["environments"]
        _kill(recorder)
        machine.eventually(lambda: health(gateway.port)["environments"] < environments, "the environment is given up")
        answer = pool.submit(result, name, place.port)
        place.await_guests(1)
        place.let_go()
        assert answer.result(timeout=machine.PATIENCE_S) != first
    with Rendezvous() as place, ThreadPoolExecutor(1) as pool:
        # After the answer, while the extension is still at work.
        recorder.hold("INVOKE")
        answer = pool.submit(result, name, place.port)
        place.await_guests(1)
        place.let_go()
        answer.result(timeout=machine.PATIENCE_S)
        _kill(recorder)
        recorder.let_go()
        answer = pool.submit(result, name, place.port)
        place.await_guests(1)
        place.let_go()
        answer.result(timeout=machine.PATIENCE_S)


def _kill(recorder: Recorder) -> None:
    """Kill the extension that was started last. Its number is one of its own namespace, so it is found by its arguments."""
    began = {}
    for pid in machine.running_with("/opt/extensions/ext.py"):
        with contextlib.suppress(OSError):  # It ended while we looked.
            if _port_of(pid) == str(recorder.port):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                began[int(fields[19])] = pid
    os.kill(began[max(began)], signal.SIGKILL)


def _port_of(pid: int) -> str:
    items = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    variables = dict(item.split(b"=", 1) for item in items if b"=" in item)
    return variables.get(b"RECORDER", b"").decode()


def test_a_subscriber_gets_the_telemetry_in_order(deploy_extended, recorder, result, aws_client) -> None:
    plan = {"subscribe": ["platform", "function", "extension"], "port": machine.free_port()}
    name = deploy_extended({"telemetry.py": plan})
    for number in range(3):
        assert result(name, number) == number
    aws_client("lambda").delete_function(FunctionName=name)
    recorder.await_that(lambda: recorder.values("SHUTDOWN"), "SHUTDOWN")
    events = recorder.telemetry()
    types = [event["type"] for event in events if event["type"].startswith("platform.")]
    assert types[0] == "platform.initStart"
    assert set(types[1:5]) == {
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
    }
    assert types[5:] == ["platform.start", "platform.runtimeDone", "platform.report"] * 3
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert [event["record"] for event in events if event["type"] == "function"] == ["handled"] * 3
    assert "extension is up" in [event["record"] for event in events if event["type"] == "extension"]
    assert all(len(batch) >= 1 for batch in recorder.values("telemetry"))


@pytest.mark.process_only  # Here containers share one network; tests of docker have the rule.
def test_environments_of_one_function_can_listen_on_one_port(isolated, deploy_extended, recorder, result) -> None:
    plan = {"subscribe": ["function"], "port": machine.free_port(), "host": "sandbox.localdomain"}
    name = deploy_extended(
        {"telemetry.py": plan},
        MEET + "\n_meet = meet\ndef meet(port):\n    print(port)\n    return _meet(port)\n",
        Timeout=60,
    )
    with Rendezvous() as place, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(result, name, place.port) for _ in range(4)]
        place.await_guests(4)
        place.let_go()
        assert len({answer.result() for answer in answers}) == 4
    recorder.await_that(lambda: len(recorder.telemetry()) >= 4, "the lines of all four")
    senders = {each["pid"] for each in recorder.messages if each["what"] == "registered"}
    assert len([each for each in recorder.messages if each["what"] == "registered"]) == 4, senders


@pytest.mark.process_only  # A container is isolated.
def test_extensions_run_without_isolation_too(own_gateway, functions_of, recorder, zip_of) -> None:
    running = own_gateway(LAMBDA_ISOLATION="none")
    functions = functions_of(running)
    layer = publish(functions.client, zip_of, ["ext.py"])
    plan = {"ext.py": {"subscribe": ["platform"], "port": machine.free_port()}}
    variables = {"RECORDER": str(recorder.port), "PLAN": json.dumps(plan)}
    name = functions.create("f", HANDLER, Layers=[layer], Environment={"Variables": variables})
    assert functions.result(name, 5) == 5
    recorder.await_that(lambda: "platform.report" in [each["type"] for each in recorder.telemetry()], "telemetry")
    assert recorder.whats("ext.py") == ["registered", "INVOKE"]


def test_a_gateway_that_stops_tells_the_extensions_and_leaves_nothing(
    own_gateway, functions_of, stop_gateway, recorder, zip_of
) -> None:
    running = own_gateway()
    functions = functions_of(running)
    layer = publish(functions.client, zip_of, ["ext.py"])
    name = functions.create("f", HANDLER, Layers=[layer], Environment={"Variables": {"RECORDER": str(recorder.port)}})
    assert functions.result(name, 5) == 5
    below = machine.descendants(running.process.pid)
    assert stop_gateway(running) == 0
    assert recorder.whats("ext.py") == ["registered", "INVOKE", "SHUTDOWN"]
    machine.eventually(lambda: not machine.alive(below), "every process is gone")


def test_a_killed_gateway_takes_extensions_along(own_gateway, functions_of, recorder, zip_of) -> None:
    running = own_gateway()
    functions = functions_of(running)
    layer = publish(functions.client, zip_of, ["ext.py"])
    name = functions.create("f", HANDLER, Layers=[layer], Environment={"Variables": {"RECORDER": str(recorder.port)}})
    assert functions.result(name, 5) == 5
    below = machine.descendants(running.process.pid)
    running.process.kill()
    machine.eventually(lambda: not machine.alive(below), "every process is gone")
