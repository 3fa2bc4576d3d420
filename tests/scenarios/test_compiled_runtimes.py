"""Functions that are compiled: Go with AWS's client, and a runtime in C, both as `bootstrap` of an OS-only runtime."""

from __future__ import annotations

import re

import pytest

from .compiled import c_bootstrap, go_bootstrap

pytestmark = pytest.mark.scenario


@pytest.fixture(scope="module")
def go() -> bytes:
    return go_bootstrap()


@pytest.fixture(scope="module")
def c() -> bytes:
    return c_bootstrap()


@pytest.fixture
def in_go(deploy, go):
    """`in_go()` deploys the function of `tests/functions/go`."""
    return lambda **parameters: deploy({"bootstrap": go}, runtime="provided.al2023", **parameters)


@pytest.fixture
def in_c(deploy, c):
    """`in_c()` deploys the runtime of `tests/functions/c`."""
    return lambda **parameters: deploy({"bootstrap": c}, runtime="provided.al2023", **parameters)


def test_go_runs_cold_and_warm(in_go, invoke, aws_client):
    name = in_go(Timeout=30)
    cold = invoke(name, {"text": "ä✓"}, LogType="Tail")
    warm = invoke(name, {"text": "again"}, LogType="Tail")
    assert [cold.payload["text"], warm.payload["text"]] == ["ä✓", "again"]
    assert [cold.payload["invocations"], warm.payload["invocations"]] == [1, 2], "one process for both"
    assert "Init Duration" in cold.log and "Init Duration" not in warm.log
    assert warm.payload["requestId"] == warm.request_id
    assert warm.payload["arn"] == aws_client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert 25_000 < warm.payload["remainingMs"] <= 30_000
    assert warm.payload["runtime"] == "", "OS-only runtimes have no AWS_EXECUTION_ENV"


@pytest.mark.usefixtures("isolated")
def test_go_runs_as_the_user_of_aws(in_go, result):
    assert result(in_go(), {})["uid"] == 993


def test_errors_of_go_have_their_types_and_the_process_goes_on(in_go, invoke):
    name = in_go()
    assert invoke(name, {"do": "fail", "text": "as it should"}).payload == {
        "errorMessage": "as it should",
        "errorType": "errorString",
    }
    typed = invoke(name, {"do": "fail with a type", "text": "it"})
    assert (typed.error, typed.payload) == (
        "Unhandled",
        {"errorMessage": "it was not found", "errorType": "notFound"},
    )
    assert invoke(name, {}).payload["invocations"] == 3


def test_a_panic_of_go_is_told_with_its_stack_and_the_next_invoke_is_cold(in_go, invoke):
    name = in_go()
    outcome = invoke(name, {"do": "panic", "text": "oh no"})
    assert (outcome.error, outcome.payload["errorMessage"]) == ("Unhandled", "oh no")
    assert outcome.payload["errorType"] == "string"
    assert any(
        frame["label"] == "handle" and frame["path"].endswith("main.go") for frame in outcome.payload["stackTrace"]
    )
    assert invoke(name, {}).payload["invocations"] == 1


def test_an_exit_of_go_is_an_exit_of_the_runtime(in_go, invoke):
    name = in_go()
    outcome = invoke(name, {"do": "exit"})
    assert outcome.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {outcome.request_id} Error: Runtime exited with error: exit status 3",
    }
    assert invoke(name, {}).payload["invocations"] == 1


def test_a_panic_of_go_at_its_start_is_a_failed_init_with_its_trace_in_the_log(in_go, invoke):
    name = in_go(Environment={"Variables": {"FAIL_INIT": "1"}})
    outcome = invoke(name, {}, LogType="Tail")
    assert outcome.payload["errorType"] == "Runtime.ExitError"
    assert "exit status 2" in outcome.payload["errorMessage"]
    assert "panic: cannot start" in outcome.log


def test_go_is_ended_by_its_timeout(in_go, invoke):
    name = in_go(Timeout=1)
    outcome = invoke(name, {"do": "sleep"})
    assert outcome.payload["errorType"] == "Sandbox.Timedout"
    assert outcome.payload["errorMessage"].endswith("Task timed out after 1.00 seconds")


def test_lines_of_go_are_in_its_log(in_go, invoke):
    log = invoke(in_go(), {"do": "print", "text": "a line"}, LogType="Tail").log
    assert "\na line\n" in log
    assert re.search(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d logged: a line$", log, re.MULTILINE)


def test_c_runs_cold_and_warm(in_c, invoke):
    name = in_c(handler="any.name")
    outcomes = [invoke(name, {"number": number}, LogType="Tail") for number in range(3)]
    assert [outcome.payload["invocations"] for outcome in outcomes] == [1, 2, 3]
    assert outcomes[2].payload["event"] == {"number": 2}
    assert ["Init Duration" in outcome.log for outcome in outcomes] == [True, False, False]
    assert "a line of C in any.name\n" in invoke(name, "print", LogType="Tail").log


def test_errors_of_c(in_c, invoke):
    name = in_c()
    outcome = invoke(name, "fail", LogType="Tail")
    assert (outcome.error, outcome.payload) == ("Unhandled", {"errorMessage": "it failed", "errorType": "C.Failure"})
    assert invoke(name, "go on").payload["invocations"] == 2


def test_a_crash_of_c_tells_the_signal(in_c, invoke):
    name = in_c()
    outcome = invoke(name, "crash")
    message = f"RequestId: {outcome.request_id} Error: Runtime exited with error: signal: aborted"
    assert outcome.payload == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert invoke(name, "go on").payload["invocations"] == 1


def test_c_tells_why_it_cannot_be_initialised(in_c, invoke):
    outcome = invoke(in_c(Environment={"Variables": {"FAIL_INIT": "1"}}), {})
    assert (outcome.error, outcome.payload) == ("Unhandled", {"errorMessage": "cannot start", "errorType": "C.Init"})
