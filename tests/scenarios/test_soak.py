"""Everything at once for a while (`--soak SECONDS`, on the command line with tests/scenarios); in the end nothing is left."""

from __future__ import annotations

import gc
import json
import random
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import http, machine
from .http import FUNCTIONS, health
from .urls import give_url, opened

pytestmark = pytest.mark.scenario

WORKERS = 8
STEADY = 3
BEHAVES = """
import json, os, subprocess, sys, time
kept = bytearray(1 << 20)
def handler(event, context):
    if "rawPath" in event:
        event = {**json.loads(event["body"]), "event": event}
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
    if kind == "kill":
        os.kill(os.getpid(), 9)
    if kind == "kill the extension":
        for process in os.listdir("/proc"):
            if process.isdigit() and b"/opt/extensions/" in open(f"/proc/{process}/cmdline", "rb").read():
                os.kill(int(process), 9)
        time.sleep(0.2)
    if "rawPath" in event.get("event", {}):
        return {"statusCode": 200, "body": str(event["id"])}
    return [event["id"], os.environ["GENERATION"]]
"""
EXTENSION = """#!/usr/bin/env python3
import json, os, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
def call(method, path, body=None, **headers):
    return urllib.request.urlopen(urllib.request.Request(API + path, body, headers, method=method))
answer = call("POST", "register", b'{"events":["INVOKE","SHUTDOWN"]}', **{"Lambda-Extension-Name": "companion"})
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
while json.loads(call("GET", "event/next", **me).read())["eventType"] != "SHUTDOWN":
    pass
"""
STREAMS = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  for (let i = 0; i < 20; i++) stream.write(Buffer.alloc(1 << 14, 'x'));
  if (event.kind === 'exit') process.exit(4);
  if (event.kind === 'raise') throw new RangeError(event.id);
  stream.end();
});
"""
STREAMED_BYTES = 20 << 14
KINDS = ["ok"] * 12 + ["raise", "raise", "print", "child", "exit", "crash", "kill", "large", "time out"]
EXPECTED = {
    "raise": "ValueError",
    "time out": "Sandbox.Timedout",
    "exit": "Runtime.ExitError",
    "crash": "Runtime.ExitError",
    "kill": "Runtime.ExitError",
}
EXPECTED |= {"large": "Function.ResponseSizeTooLarge"}


class Soak:
    """Workers that do whatever users do, to one gateway."""

    def __init__(self, functions, gateway, seconds):
        self.functions = functions
        self.client = functions.client
        self.gateway = gateway
        self.port = gateway.port
        self.streams = shutil.which("node") is not None
        self.seconds = seconds
        self.done = Counter()
        self.failures = []
        self.numbers = iter(range(10**9))
        self.mutex = threading.Lock()

    def run(self):
        for number in range(STEADY):
            self.create(f"steady-{number}")
        self.create("hasty", Timeout=1)
        self.create("isolated", TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
        self.create("extended", Layers=[self.layer()])
        self.create("ahead")
        self.client.publish_version(FunctionName="ahead")
        self.client.create_alias(FunctionName="ahead", Name="live", FunctionVersion="1")
        self.client.put_provisioned_concurrency_config(
            FunctionName="ahead", Qualifier="live", ProvisionedConcurrentExecutions=2
        )
        self.url = give_url(self.client, "steady-0")
        if self.streams:
            self.functions.create("streams", {"index.js": STREAMS}, Runtime="nodejs20.x", Timeout=30)
            self.stream_url = give_url(self.client, "streams", InvokeMode="RESPONSE_STREAM")
        self.until = time.monotonic() + self.seconds
        with ThreadPoolExecutor(WORKERS) as pool:
            for future in [pool.submit(self.work, random.Random(seed)) for seed in range(WORKERS)]:
                future.result()

    def create(self, name, **parameters):
        parameters = {"Timeout": 30, **parameters}
        self.functions.create(name, BEHAVES, Environment={"Variables": {"GENERATION": "0"}}, **parameters)

    def layer(self):
        archive = self.functions.zip_of({"extensions/companion": EXTENSION}, executable=("extensions/companion",))
        answer = self.client.publish_layer_version(LayerName="companion", Content={"ZipFile": archive})
        return answer["LayerVersionArn"]

    def work(self, chance):
        actions = {self.invoke: 60, self.event: 8, self.update: 4, self.short_lived: 4, self.hang_up: 4, self.burst: 2}
        actions |= {self.tenant: 8, self.provisioned: 8, self.call_url: 8, self.extended: 6}
        if self.streams:
            actions |= {self.stream: 6, self.stream_by_url: 4}
        # Each does each once, however slow the machine is; what comes then is chance's.
        first = chance.sample(list(actions), len(actions))
        while first or time.monotonic() < self.until:
            action = first.pop() if first else chance.choices(list(actions), list(actions.values()))[0]
            action(chance)
            with self.mutex:
                self.done[action.__name__] += 1

    def unique(self):
        with self.mutex:
            return next(self.numbers)

    def invoke(self, chance, name=None):
        kind, number = chance.choice(KINDS), self.unique()
        name = "hasty" if kind == "time out" else name or f"steady-{chance.randrange(STEADY)}"
        self.expect(name, kind, number, LogType=chance.choice(["Tail", "None"]))

    def expect(self, name, kind, number, **parameters):
        outcome = self.functions.invoke(name, {"kind": kind, "id": number}, **parameters)
        if kind in EXPECTED:
            right = outcome.error == "Unhandled" and outcome.payload["errorType"] == EXPECTED[kind]
        else:
            right = outcome.error is None and outcome.payload[0] == number
        if not right:
            self.failures.append((kind, number, outcome))

    def tenant(self, chance):
        kind = chance.choice(["ok", "ok", "ok", "raise", "exit", "kill"])
        self.expect("isolated", kind, self.unique(), TenantId=chance.choice(["blue", "green", "red"]))

    def provisioned(self, chance):
        self.expect(
            "ahead", chance.choice(["ok", "ok", "ok", "raise", "exit", "kill"]), self.unique(), Qualifier="live"
        )

    def extended(self, chance):
        kind, number = chance.choice(["ok", "ok", "print", "exit", "kill the extension"]), self.unique()
        outcome = self.functions.invoke("extended", {"kind": kind, "id": number})
        # Who comes just after a crash may meet it, too.
        fine = outcome.error is None and outcome.payload[0] == number and kind != "exit"
        if not fine and outcome.payload["errorType"] not in ("Extension.Crash", "Runtime.ExitError"):
            self.failures.append((kind, number, outcome))

    def call_url(self, chance):
        kind, number = chance.choice(["ok", "ok", "raise", "exit"]), self.unique()
        event = json.dumps({"kind": kind, "id": number})
        with opened(self.gateway, self.url, "POST", event, {"Content-Type": "application/json"}) as response:
            if chance.random() < 0.1:
                return  # Without the body.
            right = (502, b"Internal Server Error") if kind in EXPECTED else (200, b"%d" % number)
            answer = (response.status, response.read())
            if answer != right:
                self.failures.append((kind, number, answer))

    def stream(self, chance):
        kind = chance.choice(["ok", "ok", "raise", "exit"])
        event = json.dumps({"kind": kind, "id": self.unique()})
        response = self.client.invoke_with_response_stream(FunctionName="streams", Payload=event)
        size = 0
        for part in response["EventStream"]:
            size += len(part.get("PayloadChunk", {}).get("Payload", b""))
            if chance.random() < 0.1:
                response["EventStream"].close()
                return
        failed = "ErrorCode" in part.get("InvokeComplete", {})
        if failed != (kind != "ok") or (kind == "ok" and size != STREAMED_BYTES):
            self.failures.append((kind, size, part))

    def stream_by_url(self, chance):
        with opened(self.gateway, self.stream_url) as response:
            if chance.random() < 0.3:
                response.read(100)
                return
            if (size := len(response.read())) != STREAMED_BYTES:
                self.failures.append(("stream by url", size, response.status))

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
    soak = Soak(functions_of(running), running, request.config.getoption("--soak", default=5.0))
    soak.create("before")
    soak.invoke(random.Random(1), "before")
    mounts, open_files = machine.mounts(), machine.open_files(running.process.pid)
    listeners = machine.listeners(running.process.pid) - health(running.port)["environments"]
    soak.run()
    assert soak.failures == []
    print(dict(soak.done))
    assert min(soak.done[name] for name in ("invoke", "event", "update", "short_lived", "tenant", "provisioned")) > 0

    for counter in ("on_demand", "unreserved", "provisioned", "counted", "events"):
        machine.eventually(lambda: health(running.port)["in_use"][counter] == 0, f"nothing is counted as {counter}")  # noqa: B023
    for function in soak.client.list_functions()["Functions"]:
        soak.client.delete_function(FunctionName=function["FunctionName"])
    soak.client.delete_layer_version(LayerName="companion", VersionNumber=1)
    machine.eventually(lambda: not any(health(running.port)["in_use"].values()), "every counter is at zero")
    assert health(running.port)["environments"] == 0
    machine.eventually(lambda: machine.listeners(running.process.pid) == listeners, "no Runtime API is left")
    assert health(running.port)["functions"] == 0
    soak.client.close()
    gc.collect()  # Streams that were not read to their end keep our side of a connection open until then.
    machine.eventually(lambda: machine.open_files(running.process.pid) <= open_files, "every file is closed")
    # What is left are the zygote, its spare environment, and moto.
    machine.eventually(lambda: len(machine.descendants(running.process.pid)) <= 6, "every process ended")
    machine.eventually(
        lambda: not any(path.endswith((".py", ".zip")) for path in machine.files(tmp_path / "tmp")),
        "all code is deleted",
    )
    machine.nothing_more_is_mounted(mounts)

    functions = functions_of(running)
    functions.create("afterwards", BEHAVES, Environment={"Variables": {"GENERATION": "0"}})
    assert functions.result("afterwards", {"kind": "ok", "id": 1}) == [1, "0"]
