"""Functions that attack: the host, other functions and their events, the disk, the machine's processes. Each meets its bound."""

from __future__ import annotations

import json
import os
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import machine
from .rendezvous import Rendezvous

EXECUTORS = ("process", "docker-host")

pytestmark = [pytest.mark.scenario, pytest.mark.usefixtures("isolated")]

SCANS = """
import http.client, json, os, socket

OWN = os.environ["AWS_LAMBDA_RUNTIME_API"]
REGISTER = ("POST", "/2020-01-01/extension/register", '{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "spy"})
NEXT = ("GET", "/2018-06-01/runtime/invocation/next", None, {})
INIT_ERROR = ("POST", "/2018-06-01/runtime/init/error", '{"errorMessage": "mine", "errorType": "Mine"}', {})

def listeners(signpost):
    # /proc/net/tcp would tell, too, and of what others have on this machine, whose tests must not be spied on. None: enough.
    with socket.create_connection(("127.0.0.1", signpost)) as told, told.makefile() as text:
        return json.load(text)

def ask(host, port, method, path, body, headers, timeout=1):
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return [answer.status, dict(answer.getheaders()), answer.read().decode("utf-8", "replace")]
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()

def handler(event, context):
    if event == "own":
        host, port = OWN.split(":")
        return [ask(host, int(port), *what, timeout=20) for what in (REGISTER, NEXT)]
    heard = []
    while (found := listeners(event["signpost"])) is not None:
        for host, port in found:
            if [host, port] not in event["known"]:
                heard.append([f"{host}:{port}", [ask(host, port, *what) for what in (REGISTER, NEXT, INIT_ERROR)]])
    return heard
"""
SLOW_TO_START = """
import os, socket
with socket.create_connection(("127.0.0.1", PLACE)) as there:
    there.recv(1)
def handler(event, context):
    return [event, os.environ["AWS_LAMBDA_RUNTIME_API"]]
"""
FILLS = """
import os
def handler(event, context):
    written = 0
    try:
        with open("/tmp/large", "wb", buffering=0) as file:
            while written < event:
                written += file.write(b"x" * (1 << 20))
    except OSError as error:
        return [error.strerror, written >> 20]
"""
MANY_FILES = """
import os
def handler(event, context):
    made = 0
    try:
        while made < event:
            os.close(os.open(f"/tmp/{made}", os.O_CREAT))
            made += 1
    except OSError as error:
        return [error.strerror, made]
"""
OPENS = """
import os
def handler(event, context):
    kept = []
    try:
        while True:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return [error.strerror, max(kept)]
    finally:
        for descriptor in kept:
            os.close(descriptor)
"""
SPINS = """
import os
def handler(event, context):
    for _ in range(300):
        if os.fork() == 0:
            while True:
                pass
    while True:
        pass
"""
DAEMON = """
import os
def handler(event, context):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            os.execv("/bin/sleep", ["sleep", event])
        os._exit(0)
    os.wait()
"""
EVALUATE = "import ctypes, os, signal, socket, subprocess\ndef handler(event, context):\n    return eval(event)\n"


class Signpost:
    """A port that tells everybody who connects at which addresses the gateway listens now, until it is `over`."""

    def __init__(self, gateway):
        self.told = 0
        self.over = False
        signpost = self

        class Tells(socketserver.BaseRequestHandler):
            def handle(self):
                found = None if signpost.over else machine.addresses(gateway.process.pid)
                self.request.sendall(json.dumps(found).encode())
                signpost.told += 1

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tells)
        self.port = self.server.server_address[1]

    def tells_more(self):
        """Return when somebody has come ten times from now on."""
        enough = self.told + 10
        machine.eventually(lambda: self.told >= enough, "somebody goes on asking")


@pytest.fixture
def signpost(gateway):
    signpost = Signpost(gateway)
    with signpost.server as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield signpost
        signpost.over = True
        server.shutdown()


def test_a_function_can_ask_its_own_runtime_api(deploy, result):
    """So that the next test would see the answers that nobody may get from another one's."""
    registered, waiting = result(deploy(SCANS, Timeout=60), "own")
    assert registered[0] == 403 and "Extension" in registered[2], registered
    assert waiting[0] == 403 and "InvalidStateTransition" in waiting[2]


@pytest.mark.process_only  # Containers have networks of their own; tests of docker have the rule.
def test_the_runtime_api_of_another_environment_answers_nobody_else(deploy, result, gateway, signpost):
    """Before its runtime has come, while it initialises, and while it waits: each time another function would get its events,
    its log, or could fail it."""
    spy = deploy(SCANS, Timeout=60, MemorySize=512)
    result(spy, "own")
    known = machine.addresses(gateway.process.pid)
    with Rendezvous() as place, ThreadPoolExecutor(2) as side:
        victim = deploy(SLOW_TO_START.replace("PLACE", str(place.port)), Timeout=20)
        spying = side.submit(result, spy, {"known": known, "signpost": signpost.port})
        signpost.tells_more()
        answer = side.submit(result, victim, "secret")
        place.await_guests(1)
        signpost.tells_more()
        place.let_go()
        event, runtime_api = answer.result()
        signpost.tells_more()
        signpost.over = True
        heard = spying.result()
    assert event == "secret", "nobody failed its init phase, nobody answered for it"
    attempts = [outcomes for address, outcomes in heard if address == runtime_api]
    assert len(attempts) > 10, "the spy tried while the victim started, worked and waited"
    assert {type(outcome) for outcomes in attempts for outcome in outcomes} == {str}, "nothing was answered"
    assert "secret" not in str(heard)
    assert result(victim, "still mine") == ["still mine", runtime_api], "the environment is unharmed"


def test_tmp_is_full_at_its_configured_size(deploy, result):
    """512 MB unless configured: https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html"""
    strerror, written_mib = result(deploy(FILLS, Timeout=60, MemorySize=512), 2 << 30)
    assert strerror == "No space left on device"
    assert 500 <= written_mib <= 512
    larger = deploy(FILLS, Timeout=60, MemorySize=512, EphemeralStorage={"Size": 700})
    strerror, written_mib = result(larger, 2 << 30)
    assert 690 <= written_mib <= 700


def test_empty_files_in_tmp_are_bounded(deploy, result):
    strerror, made = result(deploy(MANY_FILES, Timeout=60, MemorySize=512), 1_000_000)
    assert strerror == "No space left on device"
    assert 100_000 < made < 200_000


@pytest.mark.parametrize("path", ["/", "/dev", "/dev/shm", "/var", "/var/tmp", "/run", "/home", "/etc", "/proc/self"])
def test_only_tmp_takes_files(lasting, result, path):
    tried = f"subprocess.run(['touch', {path + '/mine'!r}], capture_output=True).returncode"
    assert result(lasting(EVALUATE), tried) != 0


def test_open_files_are_limited_as_on_aws(deploy, result):
    """Recorded: TestLambdaBehavior::test_runtime_ulimits."""
    assert result(deploy(OPENS)) == ["Too many open files", 1023]


def test_a_function_that_takes_all_processors_does_not_stop_others(deploy, invoke, result):
    hog, other = deploy(SPINS, Timeout=6, MemorySize=3008), deploy()
    result(other, "before")
    with ThreadPoolExecutor(1) as side:
        spinning = side.submit(invoke, hog)
        took = []
        until = time.monotonic() + 4
        while time.monotonic() < until:
            began = time.monotonic()
            assert result(other, "meanwhile") == "meanwhile"
            took.append(time.monotonic() - began)
        assert spinning.result().payload["errorType"] == "Sandbox.Timedout"
    assert len(took) > 20, took
    assert sorted(took)[len(took) // 2] < 0.5, "half of them are answered at once"
    assert result(other, "after") == "after"


@pytest.mark.process_only  # In a container that is a shell of the same user, and ending it ends the container.
def test_what_belongs_to_the_platform_inside_cannot_be_ended_or_traced(lasting, result):
    evaluate = lasting(EVALUATE)
    began = "open('/proc/self/stat').read().split()[21]"
    before = result(evaluate, began)
    assert result(evaluate, "subprocess.run(['kill', '-9', '1'], capture_output=True).stdout.decode()") == ""
    assert result(evaluate, began) == before, "process 1 takes no signals from inside"
    attach = "ctypes.CDLL(None, use_errno=True).ptrace(16, 1, None, None)"
    assert result(evaluate, attach) == -1
    read = "subprocess.run(['head', '-c', '1', '/proc/1/environ', '/proc/1/mem'], capture_output=True).stdout.decode()"
    assert result(evaluate, read) == "", "neither its variables nor its memory can be read"


def test_kernel_interfaces_for_administrators_are_closed(lasting, result):
    evaluate = lasting(EVALUATE)
    assert (
        result(evaluate, "os.access('/proc/sysrq-trigger', os.W_OK) or os.access('/proc/sys/vm/swappiness', os.W_OK)")
        is False
    )
    assert result(evaluate, "os.path.exists('/sys') and os.access('/sys/kernel', os.W_OK)") is False
    raw = "ctypes.CDLL(None).socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"
    assert result(evaluate, raw) == -1
    clock = "ctypes.CDLL(None).settimeofday(ctypes.byref((ctypes.c_long * 2)(0, 0)), None)"
    assert result(evaluate, clock) == -1
    assert time.time() > 1_700_000_000


def test_what_a_function_leaves_running_ends_with_its_environment(deploy, invoke, aws_client):
    mark = f"{86_000 + os.getpid()}.5"
    name = deploy(EVALUATE, Timeout=10)
    start = f"subprocess.Popen(['setsid', 'sleep', '{mark}'], start_new_session=True) and None"
    assert invoke(name, start).error is None
    machine.eventually(lambda: machine.running_with(mark), "the process runs")
    aws_client("lambda").delete_function(FunctionName=name)
    machine.eventually(lambda: not machine.running_with(mark), "the process is gone")


@pytest.mark.parametrize("isolation", ["auto", "none"])
@pytest.mark.parametrize("end", ["delete", "kill"])
def test_a_daemon_ends_with_its_environment_and_with_a_killed_gateway(own_gateway, functions_of, isolation, end):
    gateway = own_gateway(LAMBDA_ISOLATION=isolation)
    functions, mark = functions_of(gateway), f"{87_000 + os.getpid()}.{isolation == 'none':d}{end == 'kill':d}5"
    name = functions.create("starts-a-daemon", DAEMON)
    functions.result(name, mark)
    machine.eventually(lambda: machine.running_with(mark), "the daemon runs")
    if end == "kill":
        gateway.process.kill()
    else:
        functions.client.delete_function(FunctionName=name)
    machine.eventually(lambda: not machine.running_with(mark), "the daemon is gone")
