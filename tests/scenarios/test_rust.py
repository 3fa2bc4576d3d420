"""Functions in Rust with AWS's client, streamed responses among them, as `bootstrap` of an OS-only runtime."""

from __future__ import annotations

import time

import pytest

from .compiled import rust_bootstrap
from .urls import call, give_url

pytestmark = pytest.mark.scenario


@pytest.fixture(scope="module")
def rust() -> bytes:
    return rust_bootstrap()


@pytest.fixture
def in_rust(deploy, rust):
    """`in_rust()` deploys the function of `tests/functions/rust`."""
    return lambda **parameters: deploy({"bootstrap": rust}, runtime="provided.al2023", **parameters)


def test_rust_runs_cold_and_warm(in_rust, invoke, aws_client):
    name = in_rust(Timeout=30, MemorySize=256)
    cold = invoke(name, {"text": "ä✓"}, LogType="Tail")
    warm = invoke(name, {"text": "again"}, LogType="Tail")
    assert [cold.payload["text"], warm.payload["text"]] == ["ä✓", "again"]
    assert [cold.payload["invocations"], warm.payload["invocations"]] == [1, 2], "one process for both"
    assert "Init Duration" in cold.log and "Init Duration" not in warm.log
    assert "a line: again\n" in warm.log
    assert warm.payload["requestId"] == warm.request_id
    assert warm.payload["arn"] == aws_client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert warm.payload["memoryMb"] == 256
    assert 25_000 < warm.payload["remainingMs"] <= 30_000


def test_errors_and_panics_of_rust_are_told_and_the_process_goes_on(in_rust, invoke):
    name = in_rust()
    failed = invoke(name, {"do": "fail", "text": "as it should"})
    assert (failed.error, failed.payload["errorMessage"]) == ("Unhandled", "as it should")
    assert "dyn core::error::Error" in failed.payload["errorType"]
    panicked = invoke(name, {"do": "panic", "text": "oh no"})
    assert panicked.error == "Unhandled"
    assert "oh no" in panicked.payload["errorMessage"]
    assert invoke(name, {}).payload["invocations"] == 3


def test_an_exit_of_rust_is_an_exit_of_the_runtime(in_rust, invoke):
    outcome = invoke(in_rust(), {"do": "exit"})
    message = f"RequestId: {outcome.request_id} Error: Runtime exited with error: exit status 3"
    assert outcome.payload == {"errorType": "Runtime.ExitError", "errorMessage": message}


def test_rust_that_ends_at_its_start_failed_to_initialise(in_rust, invoke):
    outcome = invoke(in_rust(Environment={"Variables": {"FAIL_INIT": "1"}}), {})
    assert outcome.payload["errorType"] == "Runtime.ExitError"
    assert outcome.payload["errorMessage"].endswith("Error: Runtime exited with error: exit status 1")


def test_rust_is_ended_by_its_timeout(in_rust, invoke):
    assert invoke(in_rust(Timeout=1), {"do": "sleep"}).payload["errorType"] == "Sandbox.Timedout"


def test_rust_streams_its_response_as_it_is_made(in_rust, aws_client):
    name = in_rust(Environment={"Variables": {"STREAM": "1"}}, Timeout=10)
    client, parts, moments = aws_client("lambda"), [], []
    response = client.invoke_with_response_stream(FunctionName=name, Payload=b'{"count": 4}')
    for event in response["EventStream"]:
        if "PayloadChunk" in event:
            parts.append(event["PayloadChunk"]["Payload"])
            moments.append(time.monotonic())
    # The client begins with what an HTTP response starts with, which is passed on unless it goes to a function URL.
    assert b"".join(parts).rpartition(bytes(8))[2] == b"part 0\npart 1\npart 2\npart 3\n"
    assert moments[-1] - moments[0] > 0.4, "the first part is there before the last one is made"
    whole = client.invoke(FunctionName=name, Payload=b'{"count": 2}')["Payload"].read()
    assert whole.rpartition(bytes(8))[2] == b"part 0\npart 1\n", "a caller that wants it whole gets it whole"


def test_rust_streams_http_to_a_function_url(in_rust, aws_client, gateway):
    client = aws_client("lambda")
    name = in_rust(Environment={"Variables": {"STREAM": "1"}}, Timeout=10)
    answer = call(gateway, give_url(client, name, InvokeMode="RESPONSE_STREAM"))
    assert (answer.status, answer.body) == (200, b"part 0\npart 1\npart 2\n")


def test_a_program_for_another_processor_cannot_be_executed(deploy, invoke, rust):
    # The machine that a program is for stands in its header; this one is for AArch64 (elf(5): e_machine 183), or x86-64 (62).
    foreign = 62 if rust[18:20] == (183).to_bytes(2, "little") else 183
    program = rust[:18] + foreign.to_bytes(2, "little") + rust[20:]
    outcome = invoke(deploy({"bootstrap": program}, runtime="provided.al2023"), {})
    assert outcome.payload == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {outcome.request_id} Error: fork/exec /var/task/bootstrap: exec format error",
    }
