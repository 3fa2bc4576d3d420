"""Many invokes at once, environments that are reused or gone, and nothing that stays behind."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import machine
from .http import health
from .rendezvous import MEET, Rendezvous

EXECUTORS = ("process", "docker-host")

pytestmark = pytest.mark.scenario

WHO = "import os\nme = os.urandom(8).hex()\ndef handler(event, context):\n    return me\n"
INVOKE_ANOTHER = """
import json, os, boto3
client = boto3.client("lambda")
def handler(event, context):
    if not event["names"]:
        return 0
    answer = client.invoke(FunctionName=event["names"][0], Payload=json.dumps({"names": event["names"][1:]}))
    return 1 + json.loads(answer["Payload"].read())
"""
INVOKE_ITSELF = """
import json, os, urllib.request
PATH = os.environ["AWS_ENDPOINT_URL"] + "/2015-03-31/functions/{}/invocations"
def handler(event, context):
    if not event:
        return 0
    with urllib.request.urlopen(PATH.format(context.function_name), json.dumps(event - 1).encode()) as answer:
        return 1 + json.load(answer)
"""
# Without namespaces a process in a session of its own outlives its environment; `doctor` says so.
LEAVES_PROCESSES = """
import os, subprocess, time
def handler(event, context):
    subprocess.Popen(["sleep", event["mark"]])
    subprocess.Popen(["setsid", "-f", "sleep", event["mark"]])
    open("/tmp/left", "w").write("x")
    if event["then"] == "time out":
        time.sleep(60)
    if event["then"] == "exit":
        os._exit(3)
    if event["then"] == "crash":
        os.abort()
    return event["then"]
"""


# --- many at once


def test_fifty_first_invokes_at_once_all_succeed_and_run_side_by_side(deploy, result):
    name = deploy(MEET, Timeout=120)
    with Rendezvous() as place, ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(result, name, place.port) for _ in range(50)]
        # Nobody goes on before all fifty are running: with starts one after the other this is as long as it takes, and with
        # fewer environments than invokes it never happens.
        place.await_guests(50)
        place.let_go()
        assert len({answer.result() for answer in answers}) == 50


def test_cold_starts_at_once_take_much_less_than_one_after_the_other_in_containers(deploy, result):
    name = deploy(MEET, Timeout=120)
    with Rendezvous() as place, ThreadPoolExecutor(20) as pool:
        began = time.monotonic()
        answers = [pool.submit(result, name, place.port) for _ in range(20)]
        place.await_guests(20)
        took = time.monotonic() - began
        place.let_go()
        assert len({answer.result() for answer in answers}) == 20
    assert took < 10, "half a second an environment is what others need; this is a bound for a busy machine"


def test_parallel_calls_get_environments_of_their_own_and_later_ones_reuse_them(deploy, result):
    name = deploy(MEET, Timeout=60)
    with Rendezvous() as place, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(result, name, place.port) for _ in range(3)]
        place.await_guests(3)
        place.let_go()
        first = {answer.result() for answer in answers}
        assert len(first) == 3
        again = [pool.submit(result, name, place.port) for _ in range(3)]
        place.await_guests(3)
        place.let_go()
        assert {answer.result() for answer in again} == first


def test_twenty_quick_invokes_one_after_the_other_use_one_environment(deploy, result):
    name = deploy(WHO)
    assert len({result(name) for _ in range(20)}) == 1


def test_two_hundred_quick_invokes_at_once_all_succeed(deploy, result):
    name = deploy(WHO)
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: result(name), range(200)))
    assert len(set(answers)) <= 40, "more environments than invokes at any time"


# --- functions that invoke


def test_a_function_that_invokes_another_and_itself_does_not_deadlock(deploy, result):
    first, second = deploy(INVOKE_ANOTHER, Timeout=30), deploy(INVOKE_ANOTHER, Timeout=30)
    assert result(first, {"names": [second, first, first, second]}) == 4


def test_ten_chains_of_functions_that_invoke_themselves_at_once_do_not_deadlock(deploy, result):
    name = deploy(INVOKE_ITSELF, Timeout=120)
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(lambda _: result(name, 5), range(10))) == [5] * 10


# --- environments that die


def test_a_dead_idle_environment_does_not_hold_up_the_next_invoke(deploy, invoke, result):
    name = deploy(
        "import os, socket, threading\n"
        "me = os.urandom(8).hex()\n"
        "def handler(event, context):\n"
        "    there = socket.create_connection(('127.0.0.1', event))\n"
        "    threading.Thread(target=lambda: (there.recv(1), os._exit(9))).start()\n"
        "    return me\n",
        Timeout=60,
    )
    with Rendezvous() as place:
        first = result(name, place.port)
        place.await_guests(1)
        place.hang_up()
        place.await_end()  # The environment is dead now, and the gateway may not know yet.
        began = time.monotonic()
        outcome = invoke(name, place.port)
        if outcome.error:
            assert outcome.payload["errorType"] == "Runtime.ExitError", "the gateway saw the end while it handed over"
            outcome = invoke(name, place.port)
        assert outcome.error is None
        assert outcome.payload != first
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("then", ["time out", "exit", "crash"])
def test_an_environment_that_ends_leaves_no_process_mount_or_file(isolated, own_gateway, functions_of, tmp_path, then):
    running = own_gateway()
    functions = functions_of(running)
    name = functions.create("leaves", LEAVES_PROCESSES, Timeout=3 if then == "time out" else 30)
    functions.result(name, {"mark": "0.01", "then": "return"})
    machine.eventually(lambda: not machine.running_with("0.01"), "the first sleeps ended")
    mounts, mark = machine.mounts(), f"{70_000 + os.getpid()}.25"
    files = machine.files(tmp_path / "tmp")
    assert functions.invoke(name, {"mark": mark, "then": then}).error == "Unhandled"
    machine.eventually(lambda: not machine.running_with(mark), "what the function started ended")
    machine.eventually(lambda: health(running.port)["environments"] == 0, "the environment is forgotten")
    machine.eventually(lambda: machine.files(tmp_path / "tmp") <= files, "its files are gone")
    machine.nothing_more_is_mounted(mounts)


def test_deleting_a_function_ends_its_environments(isolated, own_gateway, functions_of):
    running = own_gateway()
    functions = functions_of(running)
    name = functions.create("leaves", LEAVES_PROCESSES)
    mark = f"{71_000 + os.getpid()}.25"
    functions.result(name, {"mark": mark, "then": "return"})
    assert machine.running_with(mark)
    functions.client.delete_function(FunctionName=name)
    machine.eventually(lambda: not machine.running_with(mark), "what the function started ended")
    machine.eventually(lambda: health(running.port)["environments"] == 0, "the environment is forgotten")


def test_idle_environments_end_and_come_back(own_gateway, functions_of):
    running = own_gateway(LAMBDA_KEEPALIVE_S="0.2")
    functions = functions_of(running)
    name = functions.create("who", WHO)
    first = functions.result(name)
    machine.eventually(lambda: health(running.port)["environments"] == 0, "the idle environment ended")
    assert functions.result(name) != first


# --- gateways that end


@pytest.fixture
def busy_gateway(isolated, own_gateway, functions_of, client_for):
    """A gateway with everything running: several interpreters, warm environments, a busy one, moto."""
    running = own_gateway()
    functions = functions_of(running)
    warm = functions.create("warm", LEAVES_PROCESSES, Timeout=60)
    script = (
        '#!/bin/sh\nwhile :; do curl -s "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"; done\n'
    )
    functions.create("own", {"bootstrap": script}, Runtime="provided.al2023")
    functions.client.invoke(FunctionName="own", InvocationType="Event")
    mark = f"{72_000 + os.getpid()}.25"
    functions.result(warm, {"mark": mark, "then": "return"})
    functions.create("busy", MEET, Timeout=60)
    client_for(running.url, "s3").create_bucket(Bucket="keeps-moto-busy")
    with Rendezvous() as place:
        functions.client.invoke(FunctionName="busy", InvocationType="Event", Payload=str(place.port))
        place.await_guests(1)
        yield running, mark


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_gateway_that_is_told_to_stop_leaves_nothing(busy_gateway, executor, tmp_path, number):
    running, mark = busy_gateway
    processes, mounts = machine.descendants(running.process.pid), machine.mounts()
    # Containers are children of their engine.
    assert len(processes) > (5 if executor == "process" else 0)
    assert machine.running_with(mark)
    running.process.send_signal(number)
    assert running.process.wait(machine.PATIENCE_S) == 0
    assert machine.alive(processes) == set()
    assert machine.running_with(mark) == []
    assert machine.files(tmp_path / "tmp") == set()
    machine.nothing_more_is_mounted(mounts)


def test_a_gateway_that_is_killed_leaves_no_process_or_mount(busy_gateway):
    running, mark = busy_gateway
    processes, mounts = machine.descendants(running.process.pid), machine.mounts()
    running.process.kill()
    running.process.wait()
    machine.eventually(lambda: not machine.alive(processes), "every process ended")
    machine.eventually(lambda: not machine.running_with(mark), "what functions started ended")
    machine.nothing_more_is_mounted(mounts)


def test_what_a_killed_gateway_left_on_disk_goes_when_the_next_one_starts(
    busy_gateway, own_gateway, stop_gateway, tmp_path
):
    running, _ = busy_gateway
    running.process.kill()
    running.process.wait()
    left = list((tmp_path / "tmp").glob("lambda-*"))
    assert left
    stop_gateway(own_gateway())
    assert list((tmp_path / "tmp").glob("lambda-*")) == []
