"""What stays when an invocation ends with its environment: /tmp and the log stream, as on AWS, and nothing else.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib
"""

from __future__ import annotations

import pytest

from . import machine

pytestmark = pytest.mark.scenario

KEEPS = """
import os, subprocess, time
calls = 0
def handler(event, context):
    global calls
    calls += 1
    with open("/tmp/calls", "a") as file:
        file.write(event[0])
    if event == "time out":
        subprocess.Popen(["sleep", "1000"])
        time.sleep(60)
    if event == "exit":
        os._exit(3)
    if event == "kill":
        os.kill(os.getpid(), 9)
    processes = sum(name.isdigit() and open(f"/proc/{name}/comm").read() == "sleep\\n" for name in os.listdir("/proc"))
    return [open("/tmp/calls").read(), calls, processes, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
"""
LIMIT_S = 3
"""Of functions that have to exceed it, and to keep within it on a busy machine, too."""
NODE = """
const fs = require('fs');
exports.handler = async (event) => {
  fs.appendFileSync('/tmp/calls', event);
  if (event === 'x') process.exit(3);
  return fs.readFileSync('/tmp/calls', 'utf8');
};
"""
EXTENSION = """#!/usr/bin/env python3
import json, os, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
def call(method, path, body=None, **headers):
    return urllib.request.urlopen(urllib.request.Request(API + path, body, headers, method=method))
answer = call("POST", "register", b'{"events":["INVOKE","SHUTDOWN"]}', **{"Lambda-Extension-Name": "notes"})
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
while True:
    event = json.loads(call("GET", "event/next", **me).read())
    if event["eventType"] == "SHUTDOWN":
        open("/tmp/calls", "a").write("(" + event["shutdownReason"] + ")")
        break
"""


@pytest.fixture
def running(isolated, own_gateway):
    return own_gateway()


@pytest.fixture
def functions(running, functions_of):
    return functions_of(running)


@pytest.mark.parametrize("how", ["time out", "exit", "kill"])
def test_the_next_environment_goes_on_with_tmp_and_log_stream(functions, how):
    name = functions.create("keeps", KEEPS, Timeout=LIMIT_S if how == "time out" else 30)
    _, _, _, stream = functions.result(name, "a")
    assert functions.invoke(name, how).error == "Unhandled"
    assert functions.result(name, "b") == [f"a{how[0]}b", 1, 0, stream]
    assert functions.result(name, "c") == [f"a{how[0]}bc", 2, 0, stream]


def test_the_first_invocation_may_be_the_one_that_fails_and_so_may_be_many(functions):
    name = functions.create("keeps", KEEPS)
    for _ in range(5):
        assert functions.invoke(name, "exit").payload["errorType"] == "Runtime.ExitError"
    assert functions.result(name, "b")[0] == "eeeeeb"


def test_a_repeated_init_is_in_the_log_stream_of_the_one_that_failed(functions, running, client_for):
    name = functions.create(
        "broken", "import os\nopen('/tmp/x', 'a').write('x')\nos._exit(len(open('/tmp/x').read()))\n"
    )
    outcome = functions.invoke(name, "a")
    assert outcome.payload["errorMessage"].endswith("exit status 2"), "the second attempt finds what the first one left"
    logs = client_for(running.url, "logs")
    machine.eventually(lambda: len(_events(logs, name)) == 2, "both are in the log")
    assert len({event["logStreamName"] for event in _events(logs, name)}) == 1


def test_extensions_are_shut_down_before_the_next_environment_starts(functions):
    archive = functions.zip_of({"extensions/notes": EXTENSION}, executable=("extensions/notes",))
    layer = functions.client.publish_layer_version(LayerName="notes", Content={"ZipFile": archive})["LayerVersionArn"]
    name = functions.create("extended", KEEPS, Layers=[layer], Timeout=LIMIT_S)
    assert functions.invoke(name, "time out").payload["errorType"] == "Sandbox.Timedout"
    assert functions.result(name, "b")[:3] == ["t(timeout)b", 1, 0]
    assert functions.invoke(name, "exit").payload["errorType"] == "Runtime.ExitError"
    assert functions.result(name, "c")[:3] == ["t(timeout)be(failure)c", 1, 0]


def test_provisioned_environments_keep_theirs(functions):
    name = functions.create("keeps", KEEPS)
    functions.client.publish_version(FunctionName=name)
    functions.client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    machine.eventually(lambda: _status(functions, name) == "READY", "the environment is allocated")
    assert functions.invoke(name, "exit", Qualifier="1").error == "Unhandled"
    assert functions.result(name, "b", Qualifier="1")[:2] == ["eb", 1]


@pytest.mark.node
def test_programs_keep_theirs(functions):
    name = functions.create("node", {"index.js": NODE}, Runtime="nodejs20.x")
    assert functions.invoke(name, "x").error == "Unhandled"
    assert functions.result(name, "b") == "xb"


def test_other_functions_versions_and_tenants_get_nothing_of_it(functions):
    name = functions.create("keeps", KEEPS)
    assert functions.invoke(name, "exit").error == "Unhandled"
    assert functions.result(functions.create("other", KEEPS), "b")[0] == "b"
    functions.client.update_function_configuration(FunctionName=name, Description="changed")
    functions.client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert functions.result(name, "b")[0] == "b", "what runs is new with each update"
    isolated = functions.create("isolated", KEEPS, TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    assert functions.invoke(isolated, "exit", TenantId="blue").error == "Unhandled"
    assert functions.result(isolated, "b", TenantId="red")[0] == "b"
    assert functions.result(isolated, "b", TenantId="blue")[0] == "eb"


def _events(logs, name):
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event for event in events if event["message"].startswith("INIT_REPORT")]


def _status(functions, name):
    found = functions.client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    return found["Status"]
