"""All that pytest sees: options, the `@recorded` decorator, the `snapshot` fixture's end, the report of recordings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from . import recordings, targets
from .session import SNAPSHOTS, Snapshot, SnapshotMismatch
from .steps import NOT_BUILT_YET

FILES = (
    *("lambda_api.json", "lambda.json", "lambda_common.json", "lambda_runtimes.json", "lambda_destinations.json"),
    *("lambda_integration_sqs.json", "lambda_integration_kinesis.json", "lambda_integration_dynamodbstreams.json"),
)
REPORT = "recording"
AWS_TARGET = pytest.StashKey[targets.Target]()
"""AWS, or the gateway that was named on the command line."""


def recorded(file: str, key: str) -> Callable[[Any], Any]:
    """This scenario repeats a recorded one. A parametrised test's id is appended: `key[id]`."""
    return pytest.mark.recorded(file, key)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the scenarios."""
    group = parser.getgroup("snapshots")
    group.addoption("--snapshot-update", action="store_true", help="rewrite snapshots/ with what the scenarios answer")
    group.addoption("--target", choices=("gateway", "aws"), default="gateway", help="whom the scenarios talk to")
    group.addoption("--endpoint-url", help="the gateway that the scenarios talk to; by default one of their own")
    group.addoption(
        "--recordings-report", action="store_true", help="print which recorded scenarios are covered and hold"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Marks of the scenarios."""
    config.addinivalue_line("markers", "recorded(file, key): the recording that a scenario repeats")
    if config.getoption("--target", default="gateway") == "aws":
        # Now, because the tests' own fixtures take the developer's credentials out of the environment.
        config.stash[AWS_TARGET] = targets.aws()
    elif url := config.getoption("--endpoint-url", default=None):
        config.stash[AWS_TARGET] = targets.gateway(url)


@pytest.fixture
def snapshot(request: pytest.FixtureRequest, aws: Any) -> Snapshot:
    """The steps of this scenario, held against snapshots/<module>.json and the recording when the test ends."""
    area = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    return Snapshot(
        file=SNAPSHOTS / f"{area}.json",
        scenario=request.node.name,
        update=request.config.getoption("--snapshot-update", default=False),
        recorded=recording_of(request.node),
        constants=aws.constants,
    )


def recording_of(item: pytest.Item) -> tuple[str, str] | None:
    """File and key of the recording that a test repeats."""
    mark = item.get_closest_marker("recorded")
    if mark is None:
        return None
    file, key = mark.args
    callspec = getattr(item, "callspec", None)
    return file, f"{key}[{callspec.id}]" if callspec and "[" not in key else key


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """The comparison belongs to the test: a difference is its failure."""
    try:
        result = yield
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == NOT_BUILT_YET:
            pytest.skip(f"{error.operation_name} has no behaviour yet")
        raise
    session = pyfuncitem.funcargs.get("snapshot")
    if isinstance(session, Snapshot):
        session.finish()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A difference is shown as such, without the harness's own frames; the recording's outcome goes into the report."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, SnapshotMismatch):
        report.longrepr = str(call.excinfo.value)
    recording = recording_of(item)
    if recording and (call.when == "call" or not report.passed):
        report.user_properties.append((REPORT, (*recording, report.outcome)))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The report of recordings."""
    if not config.getoption("--recordings-report", default=False):
        return
    outcomes: dict[tuple[str, str], str] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, property_ in getattr(report, "user_properties", ()):
                if name == REPORT:
                    file, key, outcome = property_
                    outcomes[file, key] = outcome
    terminalreporter.section("recorded scenarios")
    for line in report_lines(outcomes):
        terminalreporter.write_line(line)


def report_lines(outcomes: dict[tuple[str, str], str]) -> list[str]:
    """For each file how many of its scenarios are covered and hold, then the ones that do not."""
    if recordings.folder() is None:
        return ["the recordings are not at hand: set LAMBDA_RECORDINGS"]
    lines = []
    for file in FILES:
        by_outcome: dict[str, list[str]] = defaultdict(list)
        for key in recordings.scenarios(file):
            by_outcome[outcomes.get((file, key), "uncovered")].append(key)
        total = sum(map(len, by_outcome.values()))
        counts = {outcome: len(by_outcome[outcome]) for outcome in ("passed", "failed", "skipped", "uncovered")}
        lines.append(
            f"{file}: {total} recorded, {counts['passed']} hold, {counts['failed']} differ, "
            f"{counts['skipped']} skipped here, {counts['uncovered']} not covered"
        )
        lines += [
            f"  {outcome}: {key}" for outcome in ("failed", "skipped", "uncovered") for key in by_outcome[outcome]
        ]
        unknown = [key for other, key in outcomes if other == file and key not in recordings.scenarios(file)]
        lines += [f"  no such recording: {key}" for key in unknown]
    return lines
