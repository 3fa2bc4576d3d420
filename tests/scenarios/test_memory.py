"""A function that needs more memory than it has, as its caller and its log see it; and one that forks without end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

EXECUTORS = ("process", "docker")

ALLOCATES = """
kept = []
def handler(event, context):
    for _ in range(event):
        kept.append(bytearray(b"x") * (1 << 20))
    return len(kept)
"""
FORKS = """
import os, time
def handler(event, context):
    started = 0
    try:
        while started < 5000:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            started += 1
    except BlockingIOError:
        pass
    return started
"""


def test_out_of_memory_is_told_as_on_aws(deploy: Callable[..., str], invoke: Callable[..., Any]) -> None:
    name = deploy(ALLOCATES, MemorySize=128, Timeout=20)
    outcome = invoke(name, 1000, LogType="Tail")
    assert outcome.error == "Unhandled"
    message = f"RequestId: {outcome.request_id} Error: Runtime exited with error: signal: killed"
    assert outcome.payload == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert f"{message}\nRuntime.ExitError\n" in outcome.log
    report = next(line for line in outcome.log.splitlines() if line.startswith("REPORT"))
    assert "Memory Size: 128 MB\tMax Memory Used: 128 MB" in report
    assert report.rstrip().endswith("Status: error\tError Type: Runtime.OutOfMemory")


def test_the_next_invoke_has_a_new_environment_with_all_its_memory(
    deploy: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    name = deploy(ALLOCATES, MemorySize=128, Timeout=20)
    assert invoke(name, 1000).error == "Unhandled"
    outcome = invoke(name, 20, LogType="Tail")
    assert outcome.payload == 20
    used = int(outcome.log.partition("Max Memory Used: ")[2].partition(" MB")[0])
    assert 20 < used < 128


@pytest.mark.process_only  # What a container used is known after its end at best.
def test_the_report_of_a_runtime_that_ends_at_once_tells_what_it_used(
    deploy: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    outcome = invoke(deploy("import os\ndef handler(event, context): os._exit(1)\n"), LogType="Tail")
    assert int(outcome.log.partition("Max Memory Used: ")[2].partition(" MB")[0]) > 5, outcome.log


def test_out_of_memory_while_initialising(deploy: Callable[..., str], invoke: Callable[..., Any]) -> None:
    name = deploy("kept = []\nwhile True: kept.append(bytearray(b'x') * (1 << 20))\n", MemorySize=128, Timeout=20)
    outcome = invoke(name, LogType="Tail")
    assert outcome.payload["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert "Error Type: Runtime.OutOfMemory" in outcome.log


def test_a_fork_bomb_hits_its_limit_and_is_gone_with_its_environment(
    isolated: None, deploy: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    other = deploy()
    name = deploy(FORKS, MemorySize=3008, Timeout=20)
    started = invoke(name).payload
    assert 100 < started < 1024
    assert invoke(other, "still here").payload == "still here"
