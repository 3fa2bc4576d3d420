"""The pytest plugin: the fixtures `lambda_emulator` and `lambda_emulator_session`.

Pytest loads this in every run in which the package is installed: it imports nothing of ours until a test asks for a fixture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lambda_provider.testing.emulator import Emulator

_ON_OFF = {"on": True, "off": False}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lambda-provider", "AWS Lambda in tests (the fixture lambda_emulator)")
    group.addoption("--lambda-executor", metavar="NAME", help="where functions run (ini: lambda_executor, or process)")
    group.addoption(
        "--lambda-state-dir", metavar="DIR", help="keep the state of the last test here (ini: lambda_state_dir)"
    )
    group.addoption(
        "--lambda-other-services",
        choices=tuple(_ON_OFF),
        help="all other AWS services by moto, when a test asks for them (ini: lambda_other_services, or on)",
    )
    parser.addini("lambda_executor", "where functions run", default="process")
    parser.addini("lambda_state_dir", "keep the state of the last test here", default="")
    parser.addini("lambda_other_services", "all other AWS services by moto", type="string", default="on")
    parser.addini("lambda_settings", "settings of the emulator, NAME=VALUE a line", type="linelist")


@pytest.fixture(scope="session")
def lambda_emulator_session(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """The emulator of this session (with pytest-xdist: of this worker), started. What one test leaves, the next one sees."""
    from lambda_provider.testing.emulator import Emulator

    with Emulator(**emulator_options(request.config)) as emulator:
        yield emulator


@pytest.fixture
def lambda_emulator(lambda_emulator_session: Emulator) -> Iterator[Emulator]:
    """An emulator as if it had just been started, with AWS's environment variables leading to it."""
    # Before the test and not after it: what the last one leaves can be looked at in a state directory.
    lambda_emulator_session.reset()
    with lambda_emulator_session.in_environment():
        yield lambda_emulator_session


def emulator_options(config: pytest.Config) -> dict[str, Any]:
    """The arguments of `Emulator` that the command line and the ini file say. Raises pytest.UsageError."""
    other_services = config.getoption("lambda_other_services") or config.getini("lambda_other_services")
    if other_services not in _ON_OFF:
        raise pytest.UsageError(f"lambda_other_services is {other_services!r}; it has to be on or off")
    settings = {}
    for line in config.getini("lambda_settings"):
        name, separator, value = line.partition("=")
        if not separator:
            raise pytest.UsageError(f"lambda_settings has the line {line!r}; it has to be NAME=VALUE")
        settings[name.strip()] = value.strip()
    return {
        "executor": config.getoption("lambda_executor") or config.getini("lambda_executor"),
        "state_dir": _state_dir(config),
        "other_services": _ON_OFF[other_services],
        "settings": settings,
    }


def _state_dir(config: pytest.Config) -> Path | None:
    """Beside what the ini file or the command line says; one for each worker of pytest-xdist."""
    named = config.getoption("lambda_state_dir")
    directory = Path(named) if named else None
    if directory is None and (written := config.getini("lambda_state_dir")):
        directory = config.rootpath / written
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return directory / worker if directory is not None and worker else directory
