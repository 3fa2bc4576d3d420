"""SnapStart as its users see it: versions that are initialised once, hooks, log lines, errors, and what becomes of snapshots."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .machine import Process, alive, descendants, eventually
from .rendezvous import Rendezvous

SNAP_START = {"ApplyOn": "PublishedVersions"}
COUNTED = """
import os, socket, uuid
ID = str(uuid.uuid4())
MARK = open("/tmp/snapshot-of-this", "w")
print("initialised", ID)
def handler(event, context):
    if event and "meet" in event:
        with socket.create_connection(("127.0.0.1", event["meet"])) as there:
            there.recv(1)
    global count
    count = globals().get("count", 0) + 1
    kind = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    return {"id": ID, "count": count, "kind": kind, "environment": os.environ["AWS_LAMBDA_RUNTIME_API"]}
"""
HOOKS = """
from snapshot_restore_py import register_after_restore, register_before_snapshot
called = []
def note(what):
    called.append(what)
    print(what)
@register_before_snapshot
def first(): note("before 1")
register_before_snapshot(note, "before 2")
@register_after_restore
def third(): note("after 1")
register_after_restore(note, what="after 2")
def handler(event, context):
    return called
"""
IN_ORDER = ["before 2", "before 1", "after 1", "after 2"]
FAILS_TO_RESTORE = """
from snapshot_restore_py import register_after_restore
@register_after_restore
def connect(): raise ConnectionError("no database")
def handler(event, context): return 1
"""
WHO = """
import boto3, os
session = boto3.session.Session()
early = session.get_credentials().get_frozen_credentials()
sts = boto3.client("sts")
def handler(event, context):
    late = boto3.session.Session().get_credentials().get_frozen_credentials()
    kinds = ("AWS_ACCESS", "AWS_SECRET", "AWS_SESSION", "AWS_CONT", "AWS_LAMBDA_LOG_")
    names = [name for name in os.environ if name.startswith(kinds)]
    return {"arn": sts.get_caller_identity()["Arn"], "names": sorted(names), "new": early.access_key != late.access_key,
            "stream": context.log_stream_name, "uri": os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
            "api": os.environ["AWS_LAMBDA_RUNTIME_API"]}
"""
RUNTIME = r"Runtime Version: python:3\.12\.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:\w+"


@dataclass
class Published:
    """Publishes versions, and reads what became of them."""

    client: Any
    logs: Any

    def publish(self, name: str, wait: bool = True) -> str:
        number: str = self.client.publish_version(FunctionName=name)["Version"]
        if wait:
            self.client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=number)
        return number

    def log(self, name: str) -> list[str]:
        """The messages of all streams, each stream's in a row, in the order in which the streams began."""
        group = f"/aws/lambda/{name}"
        streams = self.logs.describe_log_streams(logGroupName=group)["logStreams"]
        streams.sort(key=lambda stream: stream["firstEventTimestamp"])
        found = []
        for stream in streams:
            arguments = {"logGroupName": group, "logStreamName": stream["logStreamName"], "startFromHead": True}
            found.append("".join(event["message"] for event in self.logs.get_log_events(**arguments)["events"]))
        return found


@pytest.fixture
def published(aws_client: Callable[..., Any]) -> Published:
    return Published(aws_client("lambda"), aws_client("logs"))


def kill(process: Process) -> None:
    """Kill a process, and wait until all that go with it are gone."""
    inside = {process, *descendants(process[0])}
    os.kill(process[0], signal.SIGKILL)
    eventually(lambda: not alive(inside), "the end of what was killed")


def snapshot_process(gateway: Any) -> Process | None:
    """The process of the snapshot that holds COUNTED's mark; those of its environments are below it."""
    holders = {}
    for process in descendants(gateway.process.pid):
        try:
            targets = [str(entry.readlink()) for entry in Path(f"/proc/{process[0]}/fd").iterdir()]
            parent = int(re.findall(r"PPid:\t(\d+)", Path(f"/proc/{process[0]}/status").read_text())[0])
        except OSError:  # It ended while we looked.
            continue
        if "/tmp/snapshot-of-this" in targets:
            holders[process[0]] = (process, parent)
    return next((process for process, parent in holders.values() if parent not in holders), None)


def test_a_version_is_initialised_once_for_all_its_environments(
    deploy: Callable[..., str], invoke: Callable[..., Any], published: Published
) -> None:
    name = deploy(COUNTED, SnapStart=SNAP_START, Timeout=20)
    number = published.publish(name)
    assert published.client.get_function_configuration(FunctionName=name, Qualifier=number)["SnapStart"] == {
        "ApplyOn": "PublishedVersions",
        "OptimizationStatus": "On",
    }
    assert published.client.get_function_configuration(FunctionName=name)["SnapStart"]["OptimizationStatus"] == "Off"
    with Rendezvous() as place, ThreadPoolExecutor(20) as pool:
        invokes = [pool.submit(invoke, name, {"meet": place.port}, Qualifier=number) for _ in range(20)]
        place.await_guests(20)
        place.let_go()
        found = [each.result().payload for each in invokes]
    assert len({each["environment"] for each in found}) == 20
    assert {(each["id"], each["count"], each["kind"]) for each in found} == {(found[0]["id"], 1, "snap-start")}
    assert invoke(name, Qualifier=number).payload["count"] == 2
    assert "".join(published.log(name)).count("initialised") == 1
    # $LATEST is never restored.
    unpublished = invoke(name).payload
    assert unpublished["kind"] == "on-demand"
    assert unpublished["id"] != found[0]["id"]


def test_the_log_has_the_lines_of_aws(
    deploy: Callable[..., str], invoke: Callable[..., Any], published: Published
) -> None:
    name = deploy(HOOKS, SnapStart=SNAP_START)
    number = published.publish(name)
    outcome = invoke(name, Qualifier=number, LogType="Tail")
    assert outcome.payload == IN_ORDER
    invoke(name, Qualifier=number)
    made, restored = published.log(name)
    assert re.fullmatch(
        rf"INIT_START {RUNTIME}\n"
        r"before 2\nbefore 1\n"
        r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: success\n",
        made,
    )
    request = r"RequestId: [0-9a-f-]{36}"
    report = rf"REPORT {request}\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\tMemory Size: 128 MB\t"
    report += r"Max Memory Used: \d+ MB\t"
    match = re.fullmatch(
        rf"RESTORE_START {RUNTIME}\n"
        r"after 1\nafter 2\n"
        r"RESTORE_REPORT Restore Duration: (\d+\.\d\d) ms\n"
        rf"START {request} Version: 1\nEND {request}\n"
        rf"{report}Restore Duration: (\d+\.\d\d) ms\tBilled Restore Duration: (\d+) ms\t\n"
        rf"START {request} Version: 1\nEND {request}\n"
        rf"{report}\n",
        restored,
    )
    assert match, restored
    restore, duration, billed, in_report, billed_restore, *_ = (float(each) for each in match.groups())
    assert restore == in_report
    assert billed_restore <= restore + 1
    assert duration + billed_restore <= billed <= duration + billed_restore + 1


def test_events_of_the_platform_in_json(
    deploy: Callable[..., str], invoke: Callable[..., Any], published: Published
) -> None:
    name = deploy(HOOKS, SnapStart=SNAP_START, LoggingConfig={"LogFormat": "JSON"})
    assert invoke(name, Qualifier=published.publish(name)).payload == IN_ORDER
    made, restored = published.log(name)
    assert (
        '"type":"platform.initReport","record":{"initializationType":"snap-start","phase":"init","status":"success"'
        in made
    )
    assert re.search(
        r'"type":"platform.restoreStart","record":\{"runtimeVersion":"python:3.12.v1".*"functionVersion":"1"\}',
        restored,
    )
    assert re.search(
        r'"platform.restoreReport","record":\{"status":"success","metrics":\{"durationMs":[\d.]+\}\}', restored
    )
    assert re.search(r'"restoreDurationMs":[\d.]+,"billedRestoreDurationMs":\d+', restored)


def test_credentials_come_from_the_environments_own_endpoint(
    deploy: Callable[..., str], result: Callable[..., Any], published: Published
) -> None:
    name = deploy(WHO, SnapStart=SNAP_START, Timeout=20, MemorySize=512)
    found = result(name, Qualifier=published.publish(name))
    assert found == {
        "arn": f"arn:aws:sts::000000000000:assumed-role/lambda-role/{name}",
        "names": ["AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        "new": True,
        "stream": None,
        "uri": f"http://{found['api']}/2021-04-23/credentials",
        "api": found["api"],
    }


def test_a_hook_that_fails_after_the_restore_is_an_error_of_the_invoke(
    deploy: Callable[..., str], refused: Callable[..., Any], published: Published
) -> None:
    name = deploy(FAILS_TO_RESTORE, SnapStart=SNAP_START)
    number = published.publish(name)
    for _ in range(2):
        response = refused(published.client.invoke, FunctionName=name, Qualifier=number)
        assert response["Error"] == {
            "Code": "SnapStartException",
            "Message": "The afterRestore() runtime hook encountered an error. "
            "For more information, check the Amazon CloudWatch logs.",
        }
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    _, *restored = published.log(name)
    assert len(restored) == 2
    for stream in restored:
        assert "[ERROR] ConnectionError: no database" in stream
        assert re.search(
            r"RESTORE_REPORT Restore Duration: [\d.]+ ms\tStatus: error\tError Type: Runtime.AfterRestoreError\n$",
            stream,
        )


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise ValueError('no configuration')", "[ERROR] ValueError: no configuration"),
        (
            "from snapshot_restore_py import register_before_snapshot\n"
            "register_before_snapshot(lambda: 1 / 0)\ndef handler(event, context): pass\n",
            "[ERROR] ZeroDivisionError: division by zero",
        ),
        ("import os\nos._exit(3)", "Error Type: Runtime.ExitError"),
    ],
    ids=["code", "hook", "exit"],
)
def test_a_version_that_does_not_initialise_has_failed(
    deploy: Callable[..., str], refused: Callable[..., Any], published: Published, source: str, told: str
) -> None:
    name = deploy(source, SnapStart=SNAP_START)
    number = published.publish(name, wait=False)

    def configuration() -> Any:
        return published.client.get_function_configuration(FunctionName=name, Qualifier=number)

    eventually(lambda: configuration()["State"] != "Pending", "the end of the preparation")
    found = configuration()
    assert (found["State"], found["StateReasonCode"]) == ("Failed", "FunctionError")
    assert found["StateReason"] == "An error occurred during function initialization."
    assert found["SnapStart"]["OptimizationStatus"] == "Off"
    code = refused(published.client.invoke, FunctionName=name, Qualifier=number)["Error"]["Code"]
    assert code == "ResourceConflictException"
    (stream,) = published.log(name)
    assert told in stream
    assert "INIT_REPORT" in stream


def test_a_version_is_pending_until_its_snapshot_is_there(
    deploy: Callable[..., str], invoke: Callable[..., Any], refused: Callable[..., Any], published: Published
) -> None:
    with Rendezvous() as place:
        waits = (
            f"import socket\nwith socket.create_connection(('127.0.0.1', {place.port})) as there:\n    there.recv(1)\n"
        )
        name = deploy(waits + COUNTED, SnapStart=SNAP_START, Timeout=20)
        number = published.publish(name, wait=False)
        found = published.client.get_function_configuration(FunctionName=name, Qualifier=number)
        assert (found["State"], found["SnapStart"]["OptimizationStatus"]) == ("Pending", "Off")
        response = refused(published.client.invoke, FunctionName=name, Qualifier=number)
        place.await_guests(1)
        place.let_go()
    assert response["Error"]["Code"] == "SnapStartNotReadyException"
    assert response["Error"]["Message"] == (
        "Lambda is initializing your function. It will be ready to invoke once your function state becomes ACTIVE."
    )
    published.client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=number)
    assert invoke(name, Qualifier=number).payload["count"] == 1


def test_what_cannot_be_snapshotted_is_initialised_each_time_with_all_hooks(
    deploy: Callable[..., str], invoke: Callable[..., Any], published: Published
) -> None:
    source = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n" + HOOKS
    name = deploy(source, SnapStart=SNAP_START)
    number = published.publish(name)
    found = published.client.get_function_configuration(FunctionName=name, Qualifier=number)
    assert found["SnapStart"]["OptimizationStatus"] == "Off"
    assert invoke(name, Qualifier=number).payload == IN_ORDER
    *_, stream = published.log(name)
    match = re.fullmatch(
        rf"INIT_START {RUNTIME}\n"
        r"\[WARN\] lambda-provider: SnapStart: there is no snapshot of this version "
        r"\(it has 1 thread running \(Thread-1.*\)\), so every environment is initialised by itself\.\n"
        r"before 2\nbefore 1\nINIT_REPORT .*\n"
        rf"RESTORE_START {RUNTIME}\nafter 1\nafter 2\nRESTORE_REPORT .*\n"
        r"START .*\nEND .*\nREPORT .*\tRestore Duration: .* ms\tBilled Restore Duration: \d+ ms\t\n",
        stream,
    )
    assert match, stream


def test_a_snapshot_that_is_killed_is_made_again(
    own_gateway: Callable[..., Any], functions_of: Callable[..., Any], isolated: None
) -> None:
    running = own_gateway()
    functions = functions_of(running)
    name = functions.create("f", COUNTED, SnapStart=SNAP_START)
    functions.client.publish_version(FunctionName=name)
    functions.client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    before = functions.result(name, Qualifier="1")
    snapshot = snapshot_process(running)
    assert snapshot is not None
    kill(snapshot)
    after = functions.result(name, Qualifier="1")
    assert (after["count"], after["kind"]) == (1, "snap-start")
    assert after["id"] != before["id"]
    again = snapshot_process(running)
    assert again not in (None, snapshot)
    # The zygote, from which snapshots are forked.
    zygotes = {process for process in descendants(running.process.pid) if _parent(process[0]) == running.process.pid}
    for zygote in zygotes:
        kill(zygote)
    third = functions.result(name, Qualifier="1")
    assert third["kind"] == "snap-start"
    assert third["id"] not in (before["id"], after["id"])


def test_a_snapshot_ends_with_its_version(
    own_gateway: Callable[..., Any], functions_of: Callable[..., Any], isolated: None
) -> None:
    running = own_gateway()
    functions = functions_of(running)
    name = functions.create("f", COUNTED, SnapStart=SNAP_START)
    functions.client.publish_version(FunctionName=name)
    functions.result(name, Qualifier="1")
    snapshot = snapshot_process(running)
    assert snapshot is not None
    inside = {snapshot, *descendants(snapshot[0])}
    assert len(inside) >= 3
    functions.client.delete_function(FunctionName=name, Qualifier="1")
    eventually(lambda: not alive(inside), "the end of the snapshot and its environments")


def test_snapshots_are_made_again_after_a_restart(
    own_gateway: Callable[..., Any], functions_of: Callable[..., Any], stop_gateway: Callable[..., int], tmp_path: Path
) -> None:
    state = ("--state-dir", str(tmp_path / "state"))
    running = own_gateway(*state)
    functions = functions_of(running)
    name = functions.create("f", COUNTED, SnapStart=SNAP_START)
    functions.client.publish_version(FunctionName=name)
    before = functions.result(name, Qualifier="1")
    stop_gateway(running)
    functions = functions_of(own_gateway(*state))
    functions.client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    found = functions.client.get_function_configuration(FunctionName=name, Qualifier="1")
    assert found["SnapStart"]["OptimizationStatus"] == "On"
    after = functions.result(name, Qualifier="1")
    assert after["kind"] == before["kind"] == "snap-start"
    assert after["id"] != before["id"]


def test_provisioned_concurrency_and_snapstart_exclude_each_other(
    deploy: Callable[..., str], refused: Callable[..., Any], published: Published
) -> None:
    name = deploy(SnapStart=SNAP_START)
    number = published.publish(name)
    response = refused(
        published.client.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier=number,
        ProvisionedConcurrentExecutions=1,
    )
    assert response["Error"]["Code"] == "InvalidParameterValueException"


def _parent(pid: int) -> int:
    try:
        return int(re.findall(r"PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
    except OSError:
        return 0
