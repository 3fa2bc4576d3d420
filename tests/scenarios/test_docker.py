"""What only containers have, and what goes wrong with them: images, engines that stop, gateways that are killed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import machine
from tests.scenarios.http import health

pytestmark = pytest.mark.docker

PYTHON = "public.ecr.aws/lambda/python:3.12"
LABEL = "lambda-provider.environment"
HANDLER = """
import os, socket, time
def handler(event, context):
    if event == "id":
        return open("/proc/sys/kernel/random/boot_id").read() and [socket.gethostname(), os.environ.get("MARK"), os.getcwd()]
    if isinstance(event, dict) and "sleep" in event:
        time.sleep(event["sleep"])
    if isinstance(event, dict) and "connect" in event:
        try:
            socket.create_connection(tuple(event["connect"]), 3).close()
        except OSError as error:
            return type(error).__name__
        return "connected"
    if event == "seen":
        return open("/tmp/seen").read()
    if event == "api":
        return os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
    return event
"""


@pytest.fixture(scope="module")
def engine(images: list[str]) -> Iterator[Any]:
    import docker

    client = docker.from_env(timeout=60)
    yield client
    client.close()


@pytest.fixture
def containers(engine: Any, tmp_path: Path) -> Callable[[], list[Any]]:
    """Those of this test's gateways, which have their temporary files in `tmp_path`."""

    def found() -> list[Any]:
        listed = engine.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
        return [each for each in listed if each.labels["lambda-provider.owner"].startswith(str(tmp_path))]

    return found


@pytest.fixture
def executor() -> str:
    return "docker"


@pytest.fixture
def running(images, own_gateway) -> Any:
    return own_gateway("--host-adapter", "bare")


@pytest.fixture
def functions(running, functions_of) -> Any:
    return functions_of(running)


@pytest.fixture
def own_image(engine: Any) -> Iterator[Callable[..., str]]:
    """`own_image("name:tag", {"path": text})`: an image made from the stand-in of Python, as `docker build` would."""
    made = []

    def make(name: str, files: dict[str, str], *lines: str) -> str:
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as archive:
            dockerfile = "\n".join([f"FROM {PYTHON}", *(f"COPY {path} /{path}" for path in files), *lines])
            for path, text in {**files, "Dockerfile": dockerfile}.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(text.encode()), 0o755
                archive.addfile(entry, io.BytesIO(text.encode()))
        context.seek(0)
        engine.images.build(fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True)
        made.append(name)
        return name

    yield make
    for name in made:
        with contextlib.suppress(Exception):
            engine.images.remove(name, force=True)


def create_from_image(functions: Any, name: str, uri: str, **parameters: Any) -> str:
    fine = {"Role": "arn:aws:iam::000000000000:role/r", "PackageType": "Image", "Timeout": 20}
    functions.client.create_function(FunctionName=name, Code={"ImageUri": uri}, **(fine | parameters))
    return name


# --- images


def test_an_image_built_here_runs_with_its_own_variables_and_what_image_config_says(functions, own_image):
    uri = own_image(
        "stand-in-own:1",
        {"app/main.py": HANDLER},
        "ENV MARK=of-the-image LAMBDA_TASK_ROOT=/app",
        "WORKDIR /app",
        'CMD ["main.nothing"]',
    )
    config = {"Command": ["main.handler"], "WorkingDirectory": "/opt"}
    create_from_image(functions, "own", uri, ImageConfig=config)
    functions.client.get_waiter("function_active_v2").wait(FunctionName="own")
    assert functions.result("own", "id")[1:] == ["of-the-image", "/opt"]
    shell = {"EntryPoint": ["/bin/sh", "-c", "exec /lambda-entrypoint.sh main.handler"], "WorkingDirectory": "/"}
    functions.client.update_function_configuration(FunctionName="own", ImageConfig=shell)
    functions.client.get_waiter("function_updated_v2").wait(FunctionName="own")
    assert functions.result("own", "id")[2] == "/"


def test_the_uri_of_a_registry_that_nobody_can_reach_is_the_image_that_is_here(functions, own_image):
    own_image("stand-in-ecr:7", {"main.py": HANDLER}, "ENV LAMBDA_TASK_ROOT=/")
    uri = "000000000000.dkr.ecr.us-east-1.amazonaws.com/stand-in-ecr:7"
    create_from_image(functions, "ecr", uri, ImageConfig={"Command": ["main.handler"]})
    assert functions.result("ecr", 5) == 5


def test_an_image_that_is_nowhere_fails_the_function_and_says_so(functions):
    create_from_image(functions, "nowhere", "no-such-image-anywhere:1")
    state = failure(functions, "nowhere")
    assert state["StateReasonCode"] == "InvalidImage"
    assert "no-such-image-anywhere:1" in state["StateReason"]


def failure(functions: Any, name: str) -> dict[str, Any]:
    """The configuration of a function, once it has failed."""
    found: dict[str, Any] = {}

    def failed() -> bool:
        found.update(functions.client.get_function_configuration(FunctionName=name))
        return found["State"] == "Failed"

    machine.eventually(failed, "the function fails")
    return found


def test_an_image_of_another_architecture_is_refused_with_both_named(functions, own_image):
    uri = own_image("stand-in-arch:1", {"main.py": HANDLER})
    create_from_image(functions, "arm", uri, Architectures=["arm64"])
    state = failure(functions, "arm")
    assert state["StateReasonCode"] == "InvalidImage"
    assert "arm64" in state["StateReason"] and "amd64" in state["StateReason"]


def test_an_entry_point_that_is_not_there_is_named_as_on_aws(functions, own_image):
    uri = own_image("stand-in-entry:1", {"main.py": HANDLER})
    create_from_image(functions, "entry", uri, ImageConfig={"EntryPoint": ["/no/such/program"]})
    outcome = functions.invoke("entry")
    assert outcome.payload["errorType"] == "Runtime.InvalidEntrypoint"
    assert outcome.payload["errorMessage"].endswith("Error: fork/exec /no/such/program: no such file or directory")


def test_extensions_of_an_image_run(functions, own_image):
    extension = """#!/usr/bin/env python3
import json, os, urllib.request
api = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2020-01-01/extension"
request = urllib.request.Request(f"{api}/register", b'{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "own"})
with urllib.request.urlopen(request) as answer:
    own = answer.headers["Lambda-Extension-Identifier"]
while True:
    request = urllib.request.Request(f"{api}/event/next", headers={"Lambda-Extension-Identifier": own})
    with urllib.request.urlopen(request) as answer:
        with open("/tmp/seen", "a") as seen:
            print(json.load(answer)["eventType"], "LAMBDA_TASK_ROOT" in os.environ, file=seen)
"""
    uri = own_image(
        "stand-in-extended:1", {"opt/extensions/own": extension, "main.py": HANDLER}, "ENV LAMBDA_TASK_ROOT=/"
    )
    create_from_image(functions, "extended", uri, ImageConfig={"Command": ["main.handler"]})
    functions.result("extended", 1)
    assert functions.result("extended", "seen").startswith("INVOKE False\n")


# --- what containers are


def test_a_container_has_the_bounds_of_its_function(functions, containers):
    functions.create("bounds", HANDLER, MemorySize=256, EphemeralStorage={"Size": 600})
    functions.result("bounds")
    (found,) = containers()
    host = found.attrs["HostConfig"]
    assert (
        host["Memory"] == host["MemorySwap"] == (256 + 600) << 20
    )  # What lies in /tmp counts, and MemorySize is watched.
    assert host["CpuShares"] == 1024 * 256 // 1769
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert host["PidsLimit"] == 742 and "size=600m" in host["Tmpfs"]["/tmp"]
    assert found.attrs["Config"]["User"] == "993:990"
    code = next(mount for mount in found.attrs["Mounts"] if mount["Destination"] == "/var/task")
    assert not code["RW"]


def test_flags_network_and_names_of_the_docker_command_hold(
    images, own_gateway, stop_gateway, functions_of, engine, containers
):
    network = engine.networks.create(f"lambda-provider-{os.getpid()}", driver="bridge")
    try:
        flags = "-e MARK=flag --add-host db:10.1.2.3 --label team=blue --dns 10.9.8.7 --ulimit nofile=500"
        running = own_gateway("--host-adapter", "bare", LAMBDA_DOCKER_NETWORK=network.name, LAMBDA_DOCKER_FLAGS=flags)
        functions = functions_of(running)
        functions.create("flags", HANDLER)
        assert functions.result("flags", "id")[1] == "flag"
        (found,) = containers()
        assert list(found.attrs["NetworkSettings"]["Networks"]) == [network.name]
        assert found.labels["team"] == "blue" and "db:10.1.2.3" in found.attrs["HostConfig"]["ExtraHosts"]
        assert found.attrs["HostConfig"]["Dns"] == ["10.9.8.7"]
        assert stop_gateway(running) == 0
    finally:
        network.remove()


def test_the_runtime_api_of_another_container_lets_nobody_else_in(functions):
    functions.create("victim", HANDLER)
    functions.create("spy", HANDLER, Timeout=10)
    host, port = functions.result("victim", "api")
    request = f"""
import socket
def handler(event, context):
    with socket.create_connection(({host!r}, {port}), 30) as there:
        there.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        try:
            return there.recv(100).decode()
        except ConnectionError:
            return "refused"
"""
    functions.create("asks", request, Timeout=60)
    assert functions.result("asks") in ("refused", "")
    assert functions.result("victim", 1) == 1


def test_environments_of_one_function_listen_on_one_port_each_with_its_own_address(functions):
    functions.create(
        "named", "import socket\ndef handler(e, c):\n    return socket.gethostbyname('sandbox.localdomain')\n"
    )
    address = functions.result("named")
    assert address.startswith(("172.", "10.", "192.168."))


def test_functions_reach_a_gateway_that_listens_on_loopback_alone(functions):
    functions.create("target", HANDLER)
    caller = """
import boto3, json
def handler(event, context):
    answer = boto3.client("lambda").invoke(FunctionName="target", Payload=json.dumps(event))
    return json.load(answer["Payload"])
"""
    functions.create("caller", caller, Timeout=20, MemorySize=512)
    assert functions.result("caller", {"a": 1}) == {"a": 1}


# --- what goes wrong


def test_a_container_that_is_killed_fails_its_invoke_at_once_and_the_next_one_works(running, functions, containers):
    functions.create("killed", HANDLER, Timeout=60)
    functions.result("killed")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        invoke = pool.submit(functions.invoke, "killed", {"sleep": 50})
        machine.eventually(lambda: health(running.port)["in_use"]["on_demand"] == 1, "the container has the invoke")
        began = time.monotonic()
        (container,) = containers()
        container.kill()
        outcome = invoke.result(20)
    assert outcome.payload["errorType"] == "Runtime.ExitError"
    assert time.monotonic() - began < 5
    assert functions.result("killed", 2) == 2


def test_fifty_cold_starts_at_once_all_succeed_and_nothing_is_left(
    images, own_gateway, functions_of, stop_gateway, containers
):
    running = own_gateway("--host-adapter", "bare")
    functions = functions_of(running)
    functions.create("many", HANDLER, Timeout=60)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        results = list(pool.map(lambda number: functions.result("many", {"sleep": 0.2, "n": number}), range(50)))
    assert [each["n"] for each in results] == list(range(50))
    assert stop_gateway(running) == 0
    assert containers() == []


def test_a_killed_gateway_leaves_containers_to_nobody(images, own_gateway, functions_of, containers, stop_gateway):
    other = own_gateway("--host-adapter", "bare")
    functions_of(other).create("lives", HANDLER)
    functions_of(other).result("lives")
    running = own_gateway("--host-adapter", "bare")
    functions = functions_of(running)
    functions.create(
        "left", "import time\nfor _ in range(4): pass\ndef handler(e, c):\n    time.sleep(600)\n", Timeout=700
    )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(lambda: contextlib.suppress(Exception).__enter__() or functions.invoke("left"))
        machine.eventually(lambda: len(containers()) == 2, "both have a container")
        time.sleep(0.5)
        running.process.kill()
        running.process.wait()
    third = own_gateway("--host-adapter", "bare")
    machine.eventually(lambda: len(containers()) == 1, "what the killed one left is removed")
    assert functions_of(other).result("lives", 1) == 1
    assert stop_gateway(third) == 0


def test_a_full_tmp_is_the_functions_trouble_alone(functions):
    fill = """
import os
def handler(event, context):
    try:
        with open("/tmp/full", "ab") as file:
            for _ in range(700):
                file.write(bytes(1 << 20))
    except OSError as error:
        return error.strerror
"""
    functions.create("fills", fill, Timeout=60)
    assert functions.result("fills") == "No space left on device"
    assert functions.result("fills") == "No space left on device"


@pytest.fixture
def own_engine(images, tmp_path_factory) -> Iterator[Any]:
    """An engine of the test's own, which can be stopped; its images are this machine's."""
    import docker

    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("an engine of the test's own needs root and dockerd")
    directory = Path(tmp_path_factory.mktemp("engine"))
    engine = OwnEngine(directory)
    engine.start()
    try:
        saved = subprocess.run(["docker", "save", PYTHON], capture_output=True, check=True).stdout
        client = docker.DockerClient(base_url=engine.address)
        client.images.load(saved)
        # So that the engine does not wait ten seconds for each container when it stops.
        client.images.build(fileobj=io.BytesIO(f"FROM {PYTHON}\nSTOPSIGNAL SIGKILL\n".encode()), tag=PYTHON, rm=True)
        client.close()
        yield engine
    finally:
        engine.close()


class OwnEngine:
    """A dockerd with a socket, a data directory and a bridge of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = f"unix://{directory}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._bridge = f"lpt{os.getpid() % 10000}"

    def start(self) -> None:
        if not Path(f"/sys/class/net/{self._bridge}").exists():
            subprocess.run(["ip", "link", "add", self._bridge, "type", "bridge"], check=True)
            subprocess.run(["ip", "addr", "add", "172.31.255.1/24", "dev", self._bridge], check=True)
            subprocess.run(["ip", "link", "set", self._bridge, "up"], check=True)
        command = ["dockerd", "--host", self.address, "--data-root", f"{self.directory}/data"]
        command += ["--exec-root", f"{self.directory}/exec", "--pidfile", f"{self.directory}/pid"]
        command += ["--bridge", self._bridge, "--fixed-cidr", "172.31.255.128/25"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        machine.eventually(self._answers, "the engine answers")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(40)
            self._process = None

    def close(self) -> None:
        self.stop()
        subprocess.run(["ip", "link", "delete", self._bridge], check=False)

    def _answers(self) -> bool:
        command = ["docker", "--host", self.address, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_an_engine_that_stops_fails_clearly_and_is_used_again_when_it_is_back(own_engine, own_gateway, functions_of):
    running = own_gateway("--host-adapter", "bare", DOCKER_HOST=own_engine.address)
    functions = functions_of(running)
    functions.create("again", HANDLER, Timeout=60)
    assert functions.result("again", 1) == 1
    with concurrent.futures.ThreadPoolExecutor() as pool:
        invoke = pool.submit(functions.invoke, "again", {"sleep": 50})
        machine.eventually(lambda: health(running.port)["in_use"]["on_demand"] == 1, "the container has the invoke")
        own_engine.stop()
        assert invoke.result(30).payload["errorType"] == "Runtime.ExitError"
    with pytest.raises(Exception, match="Docker engine"):
        functions.invoke("again", 2)
    own_engine.start()
    assert functions.result("again", 3) == 3


def test_an_engine_that_sees_other_directories_gets_a_copy_of_the_code(
    engine, start_gateway, stop_gateway, functions_of, tmp_path
):
    """As an engine on another machine, or one whose socket was given to a gateway in a container."""
    if os.getuid() != 0:
        pytest.skip("directories of its own need root")

    def own_volumes() -> list[str]:
        found = engine.volumes.list(filters={"label": LABEL})
        return [each.name for each in found if str(tmp_path) in each.attrs["Labels"]["lambda-provider.owner"]]

    unseen = tmp_path / "unseen"
    unseen.mkdir()
    wrapper = tmp_path / "unshared"
    wrapper.write_text(f'#!/bin/sh\nmount --make-rprivate / && mount -t tmpfs x {unseen} && exec "$@"\n')
    wrapper.chmod(0o755)
    running = start_gateway(
        "--executor",
        "docker",
        "--host-adapter",
        "bare",
        env={"TMPDIR": str(unseen)},
        prefix=["unshare", "-m", str(wrapper)],
    )
    try:
        functions = functions_of(running)
        functions.create("copied", HANDLER)
        outcome = functions.invoke("copied", 4, LogType="Tail")
        assert outcome.payload == 4
        assert own_volumes()
    finally:
        assert stop_gateway(running) == 0
    assert not own_volumes()


# --- auto


def test_auto_runs_images_in_containers_and_python_as_a_process(
    images, start_gateway, stop_gateway, functions_of, own_image
):
    mapping = json.dumps({"python3.13": "docker"})
    running = start_gateway("--executor", "auto", "--host-adapter", "bare", env={"LAMBDA_EXECUTOR_MAPPING": mapping})
    try:
        functions = functions_of(running)
        where = "import os\ndef handler(e, c):\n    return os.path.exists('/.dockerenv')\n"
        functions.create("process", where, Runtime="python3.11")
        functions.create("container", where, Runtime="python3.13")
        uri = own_image("stand-in-auto:1", {"index.py": where}, "ENV LAMBDA_TASK_ROOT=/")
        create_from_image(functions, "image", uri, ImageConfig={"Command": ["index.handler"]})
        assert [functions.result(name) for name in ("process", "container", "image")] == [False, True, True]
    finally:
        assert stop_gateway(running) == 0
