"""Fixtures of the rules: functions that live as long as a module, and gateways of a test's own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.process.capabilities import why_not_isolated

ROLE = "arn:aws:iam::000000000000:role/lambda-role"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the soak test runs."""
    parser.addoption("--soak", type=float, default=5.0, metavar="SECONDS", help="how long the soak test keeps on")


@dataclass(frozen=True)
class Outcome:
    """What an invoke came to."""

    status: int
    error: str | None
    payload: Any
    log: str
    request_id: str


def outcome_of(response: dict[str, Any]) -> Outcome:
    content = response["Payload"].read()
    return Outcome(
        response["StatusCode"],
        response.get("FunctionError"),
        json.loads(content) if content else None,
        base64.b64decode(response.get("LogResult", "")).decode(),
        response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"],
    )


@dataclass(frozen=True)
class Functions:
    """The functions of one gateway."""

    client: Any
    zip_of: Callable[..., bytes]

    def create(self, name: str, source: str | dict[str, str | bytes], **parameters: Any) -> str:
        """Create a function and wait until it is active."""
        files = {"index.py": source} if isinstance(source, str) else source
        fine: dict[str, Any] = {"Runtime": "python3.12", "Handler": "index.handler", "Role": ROLE, "Timeout": 30}
        self.client.create_function(
            FunctionName=name, Code={"ZipFile": self.zip_of(files, executable=("bootstrap",))}, **(fine | parameters)
        )
        self.client.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    def invoke(self, name: str, event: Any = None, **parameters: Any) -> Outcome:
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        return outcome_of(self.client.invoke(FunctionName=name, Payload=payload, **parameters))

    def result(self, name: str, event: Any = None, **parameters: Any) -> Any:
        """What a function returned; fails when it failed."""
        outcome = self.invoke(name, event, **parameters)
        assert outcome.error is None, outcome
        return outcome.payload


@pytest.fixture
def invoke(aws_client: Callable[..., Any], zip_of: Callable[..., bytes]) -> Callable[..., Outcome]:
    """`invoke(name, event)` on the session's gateway."""
    return Functions(aws_client("lambda"), zip_of).invoke


@pytest.fixture
def result(aws_client: Callable[..., Any], zip_of: Callable[..., bytes]) -> Callable[..., Any]:
    """`result(name, event)` on the session's gateway: what the function returned."""
    return Functions(aws_client("lambda"), zip_of).result


@pytest.fixture(scope="module")
def lasting(aws_client: Callable[..., Any], zip_of: Callable[..., bytes]) -> Iterator[Callable[..., str]]:
    """`lasting(source)` creates a function that the tests of a module share; the same source is the same function."""
    functions, names = Functions(aws_client("lambda"), zip_of), {}

    def create(source: str) -> str:
        if source not in names:
            names[source] = functions.create(f"lasting-{abs(hash((source, id(names)))):x}", source)
        return names[source]

    yield create
    for name in names.values():
        functions.client.delete_function(FunctionName=name)


@pytest.fixture
def own_gateway(
    start_gateway: Callable[..., Any],
    stop_gateway: Callable[..., int],
    tmp_path: Path,
    executor: str,
    executor_settings: Callable[[str], dict[str, str]],
) -> Iterator[Callable[..., Any]]:
    """`own_gateway()` starts a gateway for this test, whose temporary files are in `tmp_path / "tmp"`."""
    started = []
    (tmp_path / "tmp").mkdir()

    def start(*arguments: str, **env: str) -> Any:
        settings = {"TMPDIR": str(tmp_path / "tmp"), **executor_settings(executor), **env}
        started.append(start_gateway("--executor", settings["LAMBDA_EXECUTOR"], *arguments, env=settings))
        return started[-1]

    yield start
    for running in started:
        stop_gateway(running)


@pytest.fixture
def functions_of(client_for: Callable[..., Any], zip_of: Callable[..., bytes]) -> Callable[..., Functions]:
    """`functions_of(gateway)`: the functions of a gateway of the test's own."""
    return lambda running: Functions(client_for(running.url, "lambda"), zip_of)


@pytest.fixture(scope="session")
def isolated() -> None:
    """Skips a rule that this machine cannot keep; `doctor` says so too."""
    if reason := why_not_isolated():
        pytest.skip(f"functions are plain processes here: {reason}")


@pytest.fixture
def refused() -> Callable[..., Any]:
    """`refused(call, …)` is the error response of a call that must be answered with a 4xx."""
    from botocore.exceptions import ClientError

    def call(operation: Callable[..., Any], **parameters: Any) -> Any:
        with pytest.raises(ClientError) as raised:
            operation(**parameters)
        response = raised.value.response
        assert 400 <= response["ResponseMetadata"]["HTTPStatusCode"] < 500, response
        return response

    return call
