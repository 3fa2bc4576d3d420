"""The gateway itself in a container, with the engine's socket: docs/docker.md, "The gateway in a container"."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import listening_extension, machine

pytestmark = pytest.mark.docker

PYTHON = "public.ecr.aws/lambda/python:3.12"
SOCKET = "/var/run/docker.sock"
OF_GATEWAY = "lambda-provider.gateway-container"
HANDLER = """
import os, time
def handler(event, context):
    print("seen", event)
    if isinstance(event, dict) and "sleep" in event:
        time.sleep(event["sleep"])
    return event
"""


@pytest.fixture(scope="module")
def engine(images: list[str]) -> Iterator[Any]:
    import docker

    if not Path(SOCKET).is_socket():
        pytest.skip(f"no engine has its socket at {SOCKET}")
    client = docker.DockerClient(base_url=f"unix://{SOCKET}", timeout=120)
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(engine: Any, project_root: Path) -> str:
    """The Dockerfile's image, on a stand-in for its base."""
    done = subprocess.run(
        [sys.executable, project_root / "tests/images/gateway.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Contained:
    """A gateway in a container, and what the engine has of it."""

    def __init__(self, engine: Any, container: Any) -> None:
        self.engine = engine
        self.container = container
        self.url = ""
        self._starts = 0

    def wait(self) -> Contained:
        """Return when requests are accepted; call it again after another start."""
        self._starts += 1
        lines = self.container.logs(stream=True, follow=True)
        seen = 0
        for line in lines:
            ready = re.search(rb"ready at (\S+)", line)
            seen += ready is not None
            if ready and seen == self._starts:
                break
        else:
            raise AssertionError(f"the gateway did not start: {self.log()}")
        lines.close()
        self.container.reload()
        ports = self.container.ports.get("4566/tcp")
        self.url = f"http://127.0.0.1:{ports[0]['HostPort']}" if ports else ready[1].decode()
        return self

    @property
    def environments(self) -> list[Any]:
        label = f"{OF_GATEWAY}={self.container.id}"
        return list(self.engine.containers.list(all=True, filters={"label": label}, ignore_removed=True))

    @property
    def volumes(self) -> list[Any]:
        return list(self.engine.volumes.list(filters={"label": f"{OF_GATEWAY}={self.container.id}"}))

    def stop(self) -> None:
        """Stop and remove it; fails if it leaves something."""
        self.container.stop(timeout=60)
        left = [each.id for each in (*self.environments, *self.volumes)]
        log = self.log()
        self.container.remove(force=True, v=True)
        assert not left, f"left {left}: {log}"

    def log(self) -> str:
        return str(self.container.logs().decode())


def run(engine: Any, image: str, *arguments: str, **options: Any) -> Contained:
    """As `docker run -d` with a published port and the engine's socket."""
    command = ["start", "--host", "0.0.0.0", "--executor", "docker", *arguments]
    volumes = [f"{SOCKET}:{SOCKET}", *options.pop("volumes", ())]
    if options.get("network") != "host":
        options["ports"] = {"4566/tcp": ("127.0.0.1", None)}
    container = engine.containers.run(image, command, detach=True, volumes=volumes, **options)
    try:
        return Contained(engine, container).wait()
    except BaseException:
        container.remove(force=True, v=True)
        raise


@pytest.fixture(scope="module")
def contained(engine: Any, image: str) -> Iterator[Contained]:
    """One gateway as users start it, with the other AWS services."""
    gateway = run(engine, image)
    yield gateway
    gateway.stop()


@pytest.fixture
def start(engine: Any, image: str) -> Iterator[Callable[..., Contained]]:
    """`start(**options)` is a gateway of the test's own: Lambda alone."""
    started = []

    def call(*arguments: str, **options: Any) -> Contained:
        started.append(run(engine, image, "--host-adapter", "bare", *arguments, **options))
        return started[-1]

    yield call
    for gateway in started:
        gateway.stop()


@pytest.fixture
def network(engine: Any) -> Iterator[Any]:
    made = engine.networks.create(f"lambda-provider-{os.getpid()}", driver="bridge")
    yield made
    made.reload()
    for container in made.containers:
        made.disconnect(container, force=True)
    made.remove()


# --- what users do


def test_functions_and_layers_run_and_their_tmp_stays(contained, functions_of, zip_of):
    functions = functions_of(contained)
    layer = functions.client.publish_layer_version(
        LayerName="words", Content={"ZipFile": zip_of({"python/words.py": "WORD = 'from the layer'\n"})}
    )
    source = """
import words
def handler(event, context):
    with open("/tmp/count", "a+") as file:
        file.write("x")
        file.seek(0)
        return [event, words.WORD, len(file.read())]
"""
    functions.create("layered", source, Layers=[layer["LayerVersionArn"]])
    assert functions.result("layered", {"a": 1}) == [{"a": 1}, "from the layer", 1]
    assert functions.result("layered", 2) == [2, "from the layer", 2]


def test_extensions_run_and_are_told_telemetry(contained, functions_of, zip_of):
    functions = functions_of(contained)
    layer = listening_extension.layer(functions.client, zip_of)
    functions.create("extended", listening_extension.NOTES, Layers=[layer])
    machine.eventually(lambda: "INVOKE" in functions.result("extended"), "the extension hears of an invocation")
    machine.eventually(lambda: "platform.report" in functions.result("extended"), "telemetry is delivered")


def test_functions_call_the_gateway_and_its_services_by_the_url_that_they_are_given(contained, functions_of):
    functions = functions_of(contained)
    functions.create("target", HANDLER)
    caller = """
import boto3, json
def handler(event, context):
    answer = boto3.client("lambda").invoke(FunctionName="target", Payload=json.dumps(event))
    return [json.load(answer["Payload"]), boto3.client("sqs").create_queue(QueueName="q")["QueueUrl"].rpartition("/")[2]]
"""
    functions.create("caller", caller, MemorySize=512)
    assert functions.result("caller", {"a": 1}) == [{"a": 1}, "q"]


def test_logs_are_in_cloudwatch_with_what_the_function_printed(contained, functions_of, client_for):
    functions = functions_of(contained)
    functions.create("logs", HANDLER)
    functions.result("logs", 7)
    logs = client_for(contained.url, "logs")

    def printed() -> bool:
        events = logs.filter_log_events(logGroupName="/aws/lambda/logs")["events"]
        return any(event["message"].strip() == "seen 7" for event in events)

    machine.eventually(printed, "the line is in CloudWatch")


def test_a_function_url_leads_to_the_published_port(contained, functions_of):
    functions = functions_of(contained)
    source = "def handler(event, context):\n    return {'path': event['rawPath']}\n"
    functions.create("url", source)
    permission = {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}
    functions.client.add_permission(FunctionName="url", StatementId="all", **permission)
    url = functions.client.create_function_url_config(FunctionName="url", AuthType="NONE")["FunctionUrl"]
    host = re.fullmatch(r"http://([\w.-]+):(\d+)/", url)
    assert host is not None and int(host[2]) == int(contained.url.rpartition(":")[2])
    request = urllib.request.Request(f"{contained.url}/some/where", headers={"Host": host[1]})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer) == {"path": "/some/where"}


def test_a_container_image_of_the_engine_runs(contained, functions_of, engine):
    code = base64.b64encode(HANDLER.encode()).decode()
    write = f"import base64; open('/var/task/main.py', 'wb').write(base64.b64decode('{code}'))"
    lines = [f"FROM {PYTHON}", f'RUN ["python3", "-c", "{write}"]', 'CMD ["main.handler"]']
    uri = f"stand-in-contained-{os.getpid()}:1"
    engine.images.build(fileobj=io.BytesIO("\n".join(lines).encode()), tag=uri, rm=True, forcerm=True)
    try:
        functions = functions_of(contained)
        role = "arn:aws:iam::000000000000:role/r"
        functions.client.create_function(
            FunctionName="image", Role=role, PackageType="Image", Code={"ImageUri": uri}, Timeout=20
        )
        functions.client.get_waiter("function_active_v2").wait(FunctionName="image")
        assert functions.result("image", 3) == 3
    finally:
        engine.images.remove(uri, force=True)


def test_memory_is_bounded_and_measured(contained, functions_of):
    functions = functions_of(contained)
    functions.create("memory", "def handler(event, context):\n    return len(bytearray(event << 20))\n", MemorySize=256)
    assert functions.result("memory", 64) == 64 << 20
    outcome = functions.invoke("memory", 600, LogType="Tail")
    assert outcome.payload["errorType"] == "Runtime.ExitError"
    assert "Max Memory Used: 256 MB" in outcome.log


def test_doctor_in_the_container_says_how_functions_reach_it(contained):
    status, output = contained.container.exec_run(["lambda-provider", "doctor", "--executor", "docker", "--json"])
    assert status == 0
    found = {each["name"]: each for section in [json.loads(output)] for each in capabilities(section)}
    assert "the gateway's container in the network bridge" in found["gateway as containers see it"]["detail"]
    assert found["Runtime API isolation"]["available"] and found["memory limit"]["available"]
    assert found["memory limit"]["detail"].endswith("what lies in /tmp counts")


def capabilities(report: Any) -> Iterator[dict[str, Any]]:
    """All objects with a name and a detail, wherever they are in the report."""
    if isinstance(report, dict):
        if "name" in report and "detail" in report:
            yield report
        report = list(report.values())
    for each in report if isinstance(report, list) else ():
        yield from capabilities(each)


# --- networks and directories


def test_in_a_network_of_the_users_its_functions_are_there_too(start, network, functions_of):
    gateway = start(network=network.name)
    functions = functions_of(gateway)
    functions.create("there", HANDLER)
    assert functions.result("there", 1) == 1
    (environment,) = gateway.environments
    assert list(environment.attrs["NetworkSettings"]["Networks"]) == [network.name]


def test_the_gateway_joins_the_network_that_functions_have_to_be_in(start, network, functions_of):
    gateway = start(environment={"LAMBDA_DOCKER_NETWORK": network.name})
    functions = functions_of(gateway)
    functions.create("joined", HANDLER)
    assert functions.result("joined", 1) == 1
    (environment,) = gateway.environments
    assert list(environment.attrs["NetworkSettings"]["Networks"]) == [network.name]
    gateway.container.reload()
    assert set(gateway.container.attrs["NetworkSettings"]["Networks"]) == {"bridge", network.name}


@pytest.mark.parametrize(("own", "functions_network"), [("host", "host"), ("bridge", "host")])
def test_the_machines_network_serves_the_gateway_and_its_functions(own, functions_network, start, functions_of):
    port = ("--port", "0") if own == "host" else ()
    settings = {"LAMBDA_DOCKER_NETWORK": functions_network}
    functions = functions_of(start(*port, network=own, environment=settings))
    lines = ["import boto3", "def handler(event, context):", "    client = boto3.client('lambda')"]
    lines += ["    return client.get_account_settings()['AccountLimit']['ConcurrentExecutions']"]
    functions.create("calls", "\n".join(lines), MemorySize=512)
    assert functions.result("calls") == 1000


def test_a_directory_of_the_same_path_inside_and_outside_is_mounted_instead_of_copied(start, functions_of, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    gateway = start(volumes=[f"{shared}:{shared}"], environment={"TMPDIR": str(shared)})
    functions = functions_of(gateway)
    functions.create("mounted", HANDLER)
    for event in range(3):
        outcome = functions.invoke("mounted", event, LogType="Tail")
        assert outcome.log.splitlines()[1] == f"seen {event}"
    assert gateway.volumes == []
    (environment,) = gateway.environments
    # Its processes cannot be seen from inside of the gateway's container, so the kernel alone bounds them.
    assert environment.attrs["HostConfig"]["Memory"] == 128 << 20


# --- what goes wrong


def test_what_a_killed_gateway_leaves_goes_with_the_next_start(engine, image, start, functions_of):
    gateway = run(engine, image, "--host-adapter", "bare")
    try:
        functions = functions_of(gateway)
        functions.create("idle", HANDLER)
        functions.result("idle", 1)
        functions.create("busy", f"{HANDLER}# busy", Timeout=600)
        functions.client.invoke(FunctionName="busy", InvocationType="Event", Payload=b'{"sleep": 500}')
        machine.eventually(lambda: len(gateway.environments) == 2, "both have a container")
        left = {each.id for each in (*gateway.environments, *gateway.volumes)}
        assert len(left) == 4

        def remaining() -> set[str]:
            return left & {each.id for each in (*gateway.environments, *gateway.volumes)}

        gateway.container.kill()
        gateway.container.wait()
        gateway.container.start()
        gateway.wait()
        machine.eventually(lambda: not remaining(), "its container's next start removes it")
        again = functions_of(gateway)
        again.create("again", HANDLER)
        assert again.result("again", 2) == 2
        assert gateway.environments and gateway.volumes
    finally:
        gateway.container.remove(force=True, v=True)
    start()
    machine.eventually(lambda: not gateway.environments and not gateway.volumes, "another gateway's start removes it")
