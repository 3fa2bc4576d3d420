"""What a function leaves running pauses while its environment idles and goes on in the next invocation, as on AWS.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html: background processes or callbacks that did not
complete when the function ended resume if Lambda reuses the execution environment.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.scenario

TICKS = """
import threading, time
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    time.sleep(event)
    found = ticks[:]
    pauses = [later - earlier for earlier, later in zip(found, found[1:])]
    del ticks[:-1]
    return [max(pauses, default=0), sum(1 for pause in pauses if pause < 0.1)]
"""
COUNTS_IN_NODE = """
let count = 0;
exports.handler = async (event) => {
  if (count === 0) setInterval(() => { count += 1; }, 10).unref();
  await new Promise((resolve) => setTimeout(resolve, event));
  return count;
};
"""
COUNTS_IN_A_CHILD = """
import os, subprocess
def handler(event, context):
    if not os.path.exists("/tmp/count"):
        subprocess.Popen(["sh", "-c", "while :; do echo >>/tmp/count; sleep 0.01; done"], start_new_session=True)
        while not os.path.exists("/tmp/count"):
            pass
    return os.path.getsize("/tmp/count")
"""
IDLE_S = 1.0


def test_a_thread_pauses_while_its_function_idles_and_goes_on_in_the_next_invoke(deploy, result):
    name = deploy(TICKS)
    result(name, 0.2)
    time.sleep(IDLE_S)
    longest_pause, short_ones = result(name, 0.3)
    assert longest_pause > IDLE_S / 2, "it was stopped some 100 ms after the first invoke"
    assert_grows(lambda: short_ones + result(name, 0.3)[1], short_ones)  # It runs again while its function does.


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_a_timer_of_nodejs_pauses_too(deploy, result):
    name = deploy({"index.js": COUNTS_IN_NODE}, runtime="nodejs20.x")
    first = result(name, 300)
    time.sleep(IDLE_S)
    assert result(name, 0) - first < 60, "a hundred would have been due"


def test_a_process_that_a_function_started_pauses_too(deploy, result):
    name = deploy(COUNTS_IN_A_CHILD)
    first = result(name)
    time.sleep(IDLE_S)
    second = result(name)
    assert second - first < 60, "a hundred would have been due"
    assert_grows(lambda: result(name), second)


def test_freezing_can_be_turned_off(own_gateway, functions_of):
    functions = functions_of(own_gateway(LAMBDA_FREEZE_MS="0"))
    name = functions.create("ticks", TICKS)
    functions.result(name, 0.2)
    time.sleep(IDLE_S)
    longest_pause, short_ones = functions.result(name, 0)
    assert longest_pause < IDLE_S / 2
    assert short_ones > 10


def test_a_frozen_function_answers_again_and_again(deploy, result):
    name = deploy()
    for number in range(5):
        assert result(name, number) == number
        time.sleep(0.15)


def assert_grows(measure: Callable[[], Any], above: Any) -> None:
    """Fails when it does not for long."""
    until = time.monotonic() + 20
    while measure() <= above:
        assert time.monotonic() < until, f"still {above}"
