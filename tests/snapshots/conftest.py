"""Fixtures of the scenarios: whom they talk to, and functions deployed under names of their own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambda_runtime.executors.process.capabilities import why_not_isolated

from .harness import targets
from .harness.functions import archive
from .harness.plugin import *  # noqa: F403  (hooks and fixtures)
from .harness.steps import refused


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest) -> targets.Target:
    """The gateway of this test session, or AWS with `--target aws`."""
    target = request.config.stash.get(AWS_TARGET, None)  # noqa: F405
    return target or targets.gateway(request.getfixturevalue("gateway").url)


@pytest.fixture
def isolated(aws: targets.Target) -> None:
    """Skips a scenario that sees AWS's paths, users or limits where this machine cannot show them to a function."""
    if not aws.is_aws and (reason := why_not_isolated()):
        pytest.skip(f"functions are plain processes here: {reason}")


@pytest.fixture
def new_name(aws: targets.Target) -> Iterator[Callable[..., str]]:
    """Names of functions that nobody else uses; what is deployed under them goes when the test ends."""
    names: list[str] = []

    def new(prefix: str = "scenario") -> str:
        names.append(f"{prefix}-{uuid.uuid4().hex[:10]}")
        return names[-1]

    yield new
    for name in names:
        with contextlib.suppress(aws.lambda_.exceptions.ResourceNotFoundException):
            aws.lambda_.delete_function(FunctionName=name)


@pytest.fixture
def create(aws: targets.Target, new_name: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """`create("echo.py", Timeout=5)` creates a function of a file of tests/functions and answers CreateFunction's response.

    Without `Code` the file is zipped as `handler.py` (or the handler's module); `wait=True` waits until it is active.
    """

    def create_function(source: str = "echo.py", *, wait: bool = True, **parameters: Any) -> dict[str, Any]:
        parameters.setdefault("FunctionName", new_name())
        parameters.setdefault("Role", aws.role_arn)
        if "ImageUri" not in parameters.get("Code", {}):
            parameters.setdefault("Runtime", "python3.12")
            parameters.setdefault("Handler", "handler.handler")
        if "Code" not in parameters:
            parameters["Code"] = {"ZipFile": archive(source, parameters["Handler"])}
        response = aws.lambda_.create_function(**parameters)
        if wait:
            active(aws, response["FunctionName"])
        return response

    return create_function


@pytest.fixture
def refused_create(aws: targets.Target, new_name: Callable[..., str]) -> Callable[..., ClientError]:
    """`refused_create(Runtime="go1.x")` is the error for a function that would be fine without these parameters."""

    def create_function(**parameters: Any) -> ClientError:
        fine = {
            "FunctionName": new_name(),
            "Runtime": "python3.12",
            "Handler": "handler.handler",
            "Role": aws.role_arn,
            "Code": {"ZipFile": archive("echo.py")},
        }
        return refused(aws.lambda_.create_function, **(fine | parameters))

    return create_function


def active(aws: targets.Target, name: str) -> None:
    """Wait until a function can be invoked and updated."""
    aws.lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
