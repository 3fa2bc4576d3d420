"""Small words that scenarios are written in."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from .targets import Target

NOT_BUILT_YET = 501
SETTLING_S = 0.25
"""A change settles here in 0.3 seconds, if nobody looks (docs/decisions/0004-settling.md)."""
T = TypeVar("T")


def refused(call: Any, **parameters: Any) -> ClientError:
    """The error that AWS answers a call with; fails when there is none."""
    try:
        response = call(**parameters)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == NOT_BUILT_YET:
            raise
        return error
    raise AssertionError(f"no error but {response}")


def while_it_settles(target: Target, calls: Callable[[], T], undo: Callable[[], object]) -> T:
    """What a change and the call behind it answer. On a busy machine they may be so far apart that the change is through by then:
    it is undone in that case, and made again.
    """
    for _ in range(20):
        began = time.monotonic()
        answers = calls()
        if target.is_aws or time.monotonic() - began < SETTLING_S:
            return answers
        undo()
    raise AssertionError("this machine is too slow to see a change settle")


def updated(target: Target, name: str) -> None:
    """Wait until a function's update is through."""
    target.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def allocated(target: Target, timeout_s: float = 60, **config: Any) -> dict[str, Any]:
    """What became of a provisioned concurrency config, once its allocation is no longer in progress."""
    pause, deadline = threading.Event(), time.monotonic() + timeout_s * (60 if target.is_aws else 1)
    while time.monotonic() < deadline:
        answer: dict[str, Any] = target.lambda_.get_provisioned_concurrency_config(**config)
        if answer["Status"] != "IN_PROGRESS":
            return answer
        pause.wait(5 if target.is_aws else 0.05)
    raise AssertionError(f"still in progress: {answer}")


def all_pages(target: Target, operation: str, member: str, **parameters: Any) -> list[dict[str, Any]]:
    """The members of all pages of a listing."""
    pages = target.lambda_.get_paginator(operation).paginate(**parameters)
    return list(pages.build_full_result()[member])


def payload(response: dict[str, Any]) -> Any:
    """The parsed payload of an Invoke that must not have failed."""
    text = response["Payload"].read()
    assert "FunctionError" not in response, text
    return json.loads(text)


def log_lines(response: dict[str, Any], *, keepends: bool = False) -> list[str]:
    """The lines of an Invoke's LogResult."""
    return base64.b64decode(response["LogResult"]).decode().splitlines(keepends)


def wait_for_log(target: Target, name: str, text: str, count: int = 1, timeout_s: float = 60) -> list[dict[str, Any]]:
    """The events of a function's log group, once `text` stands in `count` of them."""
    logs, pause = target.client("logs"), threading.Event()
    deadline, found = time.monotonic() + timeout_s * (10 if target.is_aws else 1), []
    while time.monotonic() < deadline:
        with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        if sum(text in event["message"] for event in found) >= count:
            return found
        pause.wait(2 if target.is_aws else 0.1)
    raise AssertionError(f"{text!r} is not {count} times in the log: {found}")
