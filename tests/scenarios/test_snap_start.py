"""SnapStart has no effect here, and nobody has to find that out by himself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_a_version_with_snap_start_says_that_it_has_no_effect(
    deploy: Callable[..., str], aws_client: Callable[..., Any], invoke: Callable[..., Any]
) -> None:
    client, logs = aws_client("lambda"), aws_client("logs")
    name = deploy(SnapStart={"ApplyOn": "PublishedVersions"})
    client.publish_version(FunctionName=name)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")

    def log() -> str:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        return "".join(event["message"] for event in events)

    assert invoke(name, 1).payload == 1
    assert "SnapStart" not in log()
    assert invoke(name, 1, Qualifier="1").payload == 1
    assert "[WARN] lambda-provider: SnapStart has no effect here" in log()
