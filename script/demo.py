"""The demo behind `script/demo`: three functions deployed and invoked through boto3, every answer checked."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

PYTHON = """
import os, platform
print("loading on Python", platform.python_version())

def handler(event, context):
    print("got", event)
    return {"hello": event["name"], "version": context.function_version, "memory": context.memory_limit_in_mb}
"""

# Any executable will do for provided.al2023. This one speaks HTTP by bash alone, because a machine without Docker may have
# neither curl nor a compiler, and a sandbox shows nothing of a Python that is installed in somebody's home.
BOOTSTRAP = r"""#!/bin/bash
api=${AWS_LAMBDA_RUNTIME_API/://} path=/2018-06-01/runtime/invocation
while exec 3<>"/dev/tcp/$api"; do
    printf 'GET %s/next HTTP/1.1\r\nHost: runtime\r\n\r\n' "$path" >&3
    while IFS= read -r line <&3 && line=${line%$'\r'} && [ -n "$line" ]; do
        case ${line,,} in
            lambda-runtime-aws-request-id:*) id=${line#*: } ;;
            content-length:*) length=${line#*: } ;;
        esac
    done
    LC_ALL=C IFS= read -r -N "$length" event <&3
    name=${event#*: \"} name=${name%\"*}
    answer="{\"hello\": \"$name\", \"version\": \"$AWS_LAMBDA_FUNCTION_VERSION\"}"
    exec 3<>"/dev/tcp/$api"
    printf 'POST %s/%s/response HTTP/1.1\r\nHost: runtime\r\nContent-Length: %d\r\n\r\n%s' \
        "$path" "$id" "${#answer}" "$answer" >&3
    IFS= read -r line <&3
done
"""

NODE = """
export const handler = async (event, context) => ({hello: event.name, version: context.functionVersion});
"""

ROLE = "arn:aws:iam::000000000000:role/demo"


class Demo:
    """Runs steps, prints each with its time, and remembers what differed."""

    def __init__(self, url: str) -> None:
        self.failures = 0
        self.client = boto3.session.Session().client(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="000000000000",
            aws_secret_access_key="demo",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
        )

    def step(self, text: str, expected: Any, call: Any) -> Any:
        """Call, compare the answer with what is expected, and say how it went."""
        started = time.perf_counter()
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001 - a demo goes on and reports what differed
            answer = f"{type(error).__name__}: {error}"
        elapsed_ms = (time.perf_counter() - started) * 1000
        same = answer == expected
        print(f"  {'ok  ' if same else 'DIFF'} {elapsed_ms:8.1f} ms  {text}", flush=True)
        if not same:
            self.failures += 1
            print(f"         expected  {expected}\n         answered  {answer}", flush=True)
        return answer

    def deploy(self, name: str, runtime: str, handler: str, files: Mapping[str, str]) -> str:
        self.client.create_function(
            FunctionName=name, Runtime=runtime, Handler=handler, Role=ROLE, Timeout=10, Code={"ZipFile": zip_of(files)}
        )
        self.client.get_waiter("function_active_v2").wait(FunctionName=name)
        return str(self.client.get_function_configuration(FunctionName=name)["State"])

    def invoke(self, name: str, **parameters: Any) -> Any:
        response = self.client.invoke(FunctionName=name, Payload=json.dumps({"name": "world"}), **parameters)
        answer = json.load(response["Payload"])
        return f"{response['FunctionError']}: {answer}" if "FunctionError" in response else answer

    def log_tail(self, name: str) -> bool:
        response = self.client.invoke(FunctionName=name, Payload=b'{"name": "log"}', LogType="Tail")
        lines = base64.b64decode(response["LogResult"]).decode().splitlines()
        for line in lines:
            print(f"                   | {line.expandtabs(2)}")
        return any(line.startswith("START RequestId: ") for line in lines) and "got {'name': 'log'}" in lines

    def publish(self, name: str, alias: str) -> tuple[str, str]:
        version = self.client.publish_version(FunctionName=name)["Version"]
        created = self.client.create_alias(FunctionName=name, Name=alias, FunctionVersion=version)
        return version, created["AliasArn"]

    def run(self) -> None:
        print("A Python function")
        self.step(
            "create, wait until it is active",
            "Active",
            lambda: self.deploy("demo-python", "python3.12", "index.handler", {"index.py": PYTHON}),
        )
        hello = {"hello": "world", "version": "$LATEST", "memory": "128"}
        self.step("invoke, cold", hello, lambda: self.invoke("demo-python"))
        self.step("invoke, warm", hello, lambda: self.invoke("demo-python"))
        self.step("invoke with the end of the log", True, lambda: self.log_tail("demo-python"))
        arn = "arn:aws:lambda:us-east-1:000000000000:function:demo-python:live"
        self.step(
            "publish version 1, point the alias live at it", ("1", arn), lambda: self.publish("demo-python", "live")
        )
        hello = {**hello, "version": "1"}
        self.step("invoke the alias, cold", hello, lambda: self.invoke("demo-python", Qualifier="live"))
        self.step("invoke the alias, warm", hello, lambda: self.invoke("demo-python", Qualifier="live"))

        hello = {"hello": "world", "version": "$LATEST"}
        print("A custom runtime: provided.al2023 with an executable bootstrap")
        self.step(
            "create, wait until it is active",
            "Active",
            lambda: self.deploy("demo-provided", "provided.al2023", "bootstrap", {"bootstrap": BOOTSTRAP}),
        )
        self.step("invoke, cold", hello, lambda: self.invoke("demo-provided"))
        self.step("invoke, warm", hello, lambda: self.invoke("demo-provided"))

        if shutil.which("node") is None:
            print("A Node.js function: skipped, there is no Node.js on this machine")
            return
        print("A Node.js function")
        self.step(
            "create, wait until it is active",
            "Active",
            lambda: self.deploy("demo-node", "nodejs20.x", "index.handler", {"index.mjs": NODE}),
        )
        self.step("invoke, cold", hello, lambda: self.invoke("demo-node"))
        self.step("invoke, warm", hello, lambda: self.invoke("demo-node"))


def zip_of(files: Mapping[str, str]) -> bytes:
    """A zip of these files, all executable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def main() -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBDA_"))}
    started = time.perf_counter()
    gateway = subprocess.Popen(
        [sys.executable, "-m", "lambda_provider.cli", "start", "--port", "0", "--log-level", "warning"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert gateway.stdout is not None
    try:
        line = gateway.stdout.readline()
        match = re.search(r"http://\S+", line)
        if match is None:
            print(f"the gateway did not start: {line!r}", file=sys.stderr)
            return 1
        print(f"Gateway at {match.group()}, ready after {time.perf_counter() - started:.2f} s")
        demo = Demo(match.group())
        demo.run()
    finally:
        gateway.send_signal(signal.SIGTERM)
        status = gateway.wait(30)
    if status != 0:
        print(f"the gateway ended with {status}", file=sys.stderr)
        return 1
    total_s = time.perf_counter() - started
    print(f"{'All as expected' if not demo.failures else f'{demo.failures} differed'}, {total_s:.1f} s in all.")
    return 1 if demo.failures else 0


if __name__ == "__main__":
    sys.exit(main())
