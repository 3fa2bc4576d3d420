"""Everything at once for a while (`--soak SECONDS`, on the command line with tests/scenarios); in the end nothing is left."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import http, machine
from .http import FUNCTIONS, health

pytestmark = pytest.mark.scenario

WORKERS = 8
STEADY = 3
BEHAVES = """
import os, subprocess, sys, time
kept = bytearray(1 << 20)
def handler(event, context):
    kind = event["kind"]
    if kind == "raise":
        raise ValueError(event["id"])
    if kind == "time out":
        subprocess.Popen(["sleep", "1000"])
        time.sleep(60)
    if kind == "exit":
        os._exit(4)
    if kind == "crash":
        os.abort()
    if kind == "large":
        return "x" * 7_000_000
    if kind == "print":
        print("line\\n" * 500)
    if kind == "child":
        subprocess.Popen(["sleep", "1000"])
    return [event["id"], os.environ["GENERATION"]]
"""
KINDS = ["ok"] * 12 + ["raise", "raise", "print", "child", "exit", "crash", "large", "time out"]
EXPECTED = {
    "raise": "ValueError",
    "time out": "Sandbox.Timedout",
    "exit": "Runtime.ExitError",
    "crash": "Runtime.ExitError",
}
EXPECTED |= {"large": "Function.ResponseSizeTooLarge"}


class Soak:
    """Workers that do whatever users do, to one gateway."""

    def __init__(self, functions, port, seconds):
        self.functions = functions
        self.client = functions.client
        self.port = port
        self.until = time.monotonic() + seconds
        self.done = Counter()
        self.failures = []
        self.numbers = iter(range(10**9))
        self.mutex = threading.Lock()

    def run(self):
        for number in range(STEADY):
            self.create(f"steady-{number}")
        self.create("hasty", Timeout=1)
        with ThreadPoolExecutor(WORKERS) as pool:
            for future in [pool.submit(self.work, random.Random(seed)) for seed in range(WORKERS)]:
                future.result()

    def create(self, name, **parameters):
        parameters = {"Timeout": 30, **parameters}
        self.functions.create(name, BEHAVES, Environment={"Variables": {"GENERATION": "0"}}, **parameters)

    def work(self, chance):
        while time.monotonic() < self.until:
            action = chance.choices(
                [self.invoke, self.event, self.update, self.short_lived, self.hang_up, self.burst], [60, 8, 4, 4, 4, 2]
            )[0]
            action(chance)
            with self.mutex:
                self.done[action.__name__] += 1

    def unique(self):
        with self.mutex:
            return next(self.numbers)

    def invoke(self, chance, name=None):
        kind, number = chance.choice(KINDS), self.unique()
        name = "hasty" if kind == "time out" else name or f"steady-{chance.randrange(STEADY)}"
        event, log_type = {"kind": kind, "id": number}, chance.choice(["Tail", "None"])
        outcome = self.functions.invoke(name, event, LogType=log_type)
        if kind in EXPECTED:
            right = outcome.error == "Unhandled" and outcome.payload["errorType"] == EXPECTED[kind]
        else:
            right = outcome.error is None and outcome.payload[0] == number
        if not right:
            self.failures.append((kind, number, outcome))

    def event(self, chance):
        kind = chance.choice(["ok", "print", "child"])  # One that fails is tried again for minutes.
        event = json.dumps({"kind": kind, "id": self.unique()})
        self.client.invoke(FunctionName=f"steady-{chance.randrange(STEADY)}", InvocationType="Event", Payload=event)

    def update(self, chance):
        name = f"steady-{chance.randrange(STEADY)}"
        try:
            generation = str(self.unique())
            self.client.update_function_configuration(
                FunctionName=name, Environment={"Variables": {"GENERATION": generation}}
            )
        except self.client.exceptions.ResourceConflictException:
            return  # Another worker's update is under way.

    def short_lived(self, chance):
        name = f"short-{self.unique()}"
        self.create(name)
        self.invoke(chance, name)
        event = json.dumps({"kind": "ok", "id": 0})
        self.client.invoke(FunctionName=name, InvocationType="Event", Payload=event)
        self.client.delete_function(FunctionName=name)

    def hang_up(self, chance):
        path = f"{FUNCTIONS}/steady-{chance.randrange(STEADY)}/invocations"
        with http.connect(self.port) as connection:
            connection.sendall(http.request("POST", path, json.dumps({"kind": "ok", "id": 0})))

    def burst(self, chance):
        name = f"steady-{chance.randrange(STEADY)}"
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda number: self.functions.result(name, {"kind": "ok", "id": number}), range(10)))


def test_after_a_mix_of_everything_nothing_is_left(request, own_gateway, functions_of, tmp_path):
    running = own_gateway()
    soak = Soak(functions_of(running), running.port, request.config.getoption("--soak", default=5.0))
    soak.create("before")
    soak.invoke(random.Random(1), "before")
    mounts, open_files = machine.mounts(), machine.open_files(running.process.pid)
    soak.run()
    assert soak.failures == []
    assert min(soak.done[name] for name in ("invoke", "event", "update", "short_lived")) > 0, soak.done

    for function in soak.client.list_functions()["Functions"]:
        soak.client.delete_function(FunctionName=function["FunctionName"])
    machine.eventually(lambda: health(running.port)["environments"] == 0, "every environment ended")
    assert health(running.port)["functions"] == 0
    soak.client.close()
    # Its connections to moto may be more than before.
    machine.eventually(lambda: machine.open_files(running.process.pid) <= open_files + 10, "every file is closed")
    # What is left are the zygote, its spare environment, and moto.
    machine.eventually(lambda: len(machine.descendants(running.process.pid)) <= 6, "every process ended")
    machine.eventually(
        lambda: not any(path.endswith((".py", ".zip")) for path in machine.files(tmp_path / "tmp")),
        "all code is deleted",
    )
    assert machine.mounts() == mounts

    functions = functions_of(running)
    functions.create("afterwards", BEHAVES, Environment={"Variables": {"GENERATION": "0"}})
    assert functions.result("afterwards", {"kind": "ok", "id": 1}) == [1, "0"]
