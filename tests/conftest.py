"""What scenario tests share: a running gateway, AWS clients for it, and a function deployed in one line.

Unit tests use none of this. The gateway is a child process started like a user starts it, once a session, and every test
gives its resources names of its own, so tests do not see each other.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import selectors
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Shells have what they start in the background ignore SIGINT, and so would all that tests start, and mean to end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"
START_TIMEOUT_S = 60.0

ECHO = "def handler(event, context):\n    return event\n"


@dataclass(frozen=True)
class RunningGateway:
    """A gateway in a child process: its URL, and the process for tests that look at it or end it."""

    url: str
    process: subprocess.Popen[str]
    ready_after_s: float
    ready_line: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def start_gateway(*arguments: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> RunningGateway:
    """Start `lambda-provider start` on a free port and wait for its ready line; fails with what it printed instead.

    `prefix` is a command that executes the gateway, in circumstances of its own.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        [
            *prefix,
            sys.executable,
            "-m",
            "lambda_provider.cli",
            "start",
            "--port",
            "0",
            "--log-level",
            "warning",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**_clean_environment(), **(env or {})},
    )
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(START_TIMEOUT_S) else ""
    match = re.search(r"https?://[\w.\[\]:-]+:\d+", line)
    if match is None:
        process.kill()
        raise RuntimeError(f"the gateway did not start: exit {process.wait()}, printed {line!r}")
    return RunningGateway(match.group(), process, time.monotonic() - started, line)


def stop_gateway(gateway: RunningGateway, timeout_s: float = 30.0) -> int:
    """SIGTERM, then the exit status; a gateway that does not end in time is killed and the test fails."""
    return stop_process(gateway.process, timeout_s)


def stop_process(process: subprocess.Popen[str], timeout_s: float) -> int:
    """SIGTERM, then the exit status; what does not end in time is killed and the test fails."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


def client_for(
    url: str, service: str, region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT, **config: Any
) -> Any:
    """A boto3 client that talks to `url` as `account` in `region`, without retries: a test sees the first answer."""
    import boto3
    from botocore.config import Config

    settings: dict[str, Any] = {
        "retries": {"total_max_attempts": 1},
        "s3": {"addressing_style": "path"},
        "read_timeout": 180,  # Longer than any function may take, and its start on a busy machine.
        "max_pool_connections": 64,
    }
    return boto3.session.Session().client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=account,
        aws_secret_access_key="test",
        config=Config(**{**settings, **config}),
    )


def zip_of(files: Mapping[str, str | bytes], *, executable: tuple[str, ...] = ()) -> bytes:
    """A zip with these files; those named in `executable` have mode 755, the others 644."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if name in executable else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def short_name(prefix: str = "fn") -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Scenarios whose module names EXECUTORS run once on each, but for those marked `process_only`."""
    executors = getattr(metafunc.module, "EXECUTORS", ())
    if "executor" in metafunc.fixturenames and executors:
        if metafunc.definition.get_closest_marker("process_only"):
            executors = ("process",)
        docker = [pytest.mark.docker]
        marked = [pytest.param(name, marks=docker if name.startswith("docker") else []) for name in executors]
        metafunc.parametrize("executor", marked, indirect=True, scope="session")


@pytest.fixture(scope="session")
def images() -> list[str]:
    """The names of the stand-in images that a Docker engine has now; skips where no engine can be used."""
    spec = importlib.util.spec_from_file_location("stand_in_images", Path(__file__).parent / "images" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    try:
        import docker

        client = docker.from_env(timeout=120)
        client.ping()
    except Exception as error:
        if os.environ.get("REQUIRE_DOCKER"):
            raise
        pytest.skip(f"no Docker engine can be used: {error}")
    names: list[str] = module.build(client)
    return names


@pytest.fixture(scope="session")
def executor(request: pytest.FixtureRequest) -> str:
    """The executor of the gateways that scenarios talk to. `docker-host` is docker with containers in this machine's network."""
    name: str = getattr(request, "param", "process")
    if name.startswith("docker"):
        request.getfixturevalue("images")
    return name


def executor_settings(executor: str) -> dict[str, str]:
    """The settings of a gateway with this executor."""
    name, _, network = executor.partition("-")
    return {"LAMBDA_EXECUTOR": name, **({"LAMBDA_DOCKER_NETWORK": network} if network else {})}


@pytest.fixture(scope="session")
def gateway(executor: str) -> Iterator[RunningGateway]:
    settings = executor_settings(executor)
    running = start_gateway("--executor", settings["LAMBDA_EXECUTOR"], env=settings)
    try:
        yield running
    finally:
        stop_gateway(running)


@pytest.fixture(scope="session")
def aws_client(gateway: RunningGateway) -> Callable[..., Any]:
    """`aws_client("sqs", region=…, account=…)`; clients are kept for the session because making one takes 50 ms."""
    clients: dict[Any, Any] = {}

    def make(service: str, region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT, **config: Any) -> Any:
        key = (service, region, account, repr(sorted(config.items())))
        if key not in clients:
            clients[key] = client_for(gateway.url, service, region, account, **config)
        return clients[key]

    return make


@pytest.fixture
def deploy(aws_client: Callable[..., Any]) -> Iterator[Callable[..., str]]:
    """`deploy(source)` or `deploy({"file": content, …}, runtime=…, Timeout=5)` creates a function, waits until it is Active and
    returns its name; further keyword arguments are CreateFunction's. Deleted when the test ends."""
    created: list[tuple[Any, str]] = []

    def create(
        code: str | Mapping[str, str | bytes] | bytes = ECHO,
        *,
        name: str | None = None,
        runtime: str = "python3.12",
        handler: str = "index.handler",
        region: str = DEFAULT_REGION,
        account: str = DEFAULT_ACCOUNT,
        executable: tuple[str, ...] = ("bootstrap",),
        **parameters: Any,
    ) -> str:
        client = aws_client("lambda", region=region, account=account)
        if isinstance(code, str):
            code = {"index.py": code}
        archive = code if isinstance(code, bytes) else zip_of(code, executable=executable)
        name = name or short_name()
        parameters.setdefault("Role", f"arn:aws:iam::{account}:role/lambda-role")
        parameters.setdefault("Timeout", 30)  # On a busy machine, what takes no time may take three seconds.
        client.create_function(
            FunctionName=name, Runtime=runtime, Handler=handler, Code={"ZipFile": archive}, **parameters
        )
        created.append((client, name))
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    yield create
    for client, name in created:
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            client.delete_function(FunctionName=name)


def _clean_environment() -> dict[str, str]:
    """The environment without what would change a gateway or a client: AWS's and our own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBDA_"))}


@pytest.fixture(scope="session", autouse=True)
def _no_aws_settings_of_the_developer() -> Iterator[None]:
    """Profiles, endpoints and credentials of whoever runs the tests must not reach the clients."""
    kept = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    yield
    os.environ.clear()
    os.environ.update(kept)


# Test modules cannot import this file (pytest's importlib mode), so what they may call is a fixture too.


@pytest.fixture(scope="session", name="start_gateway")
def _start_gateway() -> Callable[..., RunningGateway]:
    return start_gateway


@pytest.fixture(scope="session", name="executor_settings")
def _executor_settings() -> Callable[[str], dict[str, str]]:
    return executor_settings


@pytest.fixture(scope="session", name="stop_gateway")
def _stop_gateway() -> Callable[..., int]:
    return stop_gateway


@pytest.fixture(scope="session", name="client_for")
def _client_for() -> Callable[..., Any]:
    return client_for


@pytest.fixture(scope="session", name="zip_of")
def _zip_of() -> Callable[..., bytes]:
    return zip_of


@pytest.fixture(scope="session")
def project_root() -> Path:
    return Path(__file__).resolve().parent.parent
