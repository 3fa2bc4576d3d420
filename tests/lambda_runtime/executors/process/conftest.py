"""A Runtime API of a few lines, real processes, and versions made from source text."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors.base import Sandbox, SandboxSpec, Snapshot
from lambda_runtime.executors.process import PreparedProcessVersion, ProcessExecutor
from lambda_runtime.executors.process.capabilities import why_not_isolated
from lambda_runtime.types import CodeArchive, FunctionVersion

DEADLINE_S = 60
EVALUATES = """
def handler(event, context):
    return eval(event)
"""


class RuntimeApi:
    """Gives events to one environment and takes its answers, one at a time."""

    def __init__(self) -> None:
        self.first_next = asyncio.Event()
        self.requests: list[str] = []
        self._events: asyncio.Queue[bytes] = asyncio.Queue()
        self._answers: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def invoke(self, event: object) -> tuple[str, Any]:
        """The last part of the path that the answer was sent to (`response`, `error`), and the answer."""
        self.give(event)
        async with asyncio.timeout(DEADLINE_S):
            path, body = await self._answers.get()
        return path.rpartition("/")[2], json.loads(body)

    def give(self, event: object) -> None:
        """Invoke it, and do not wait for an answer."""
        self._events.put_nowait(json.dumps(event).encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                self.requests.append(f"{method} {path}")
                lengths = [int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")]
                body = await reader.readexactly(lengths[0]) if lengths else b""
                if method == "POST":
                    await self._answers.put((path, body))
                    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                    continue
                self.first_next.set()
                event = await self._events.get()
                headers = (
                    "Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                    "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
                    "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:f",
                    "Lambda-Runtime-Deadline-Ms: 4102444800000",
                    "Content-Type: application/json",
                    f"Content-Length: {len(event)}",
                )
                writer.write(("HTTP/1.1 200 OK\r\n" + "\r\n".join(headers) + "\r\n\r\n").encode() + event)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # The environment ended, or the test.
        finally:
            self._tasks.discard(task)
            writer.close()


@dataclass
class Environment:
    """One started sandbox with its own Runtime API."""

    sandbox: Sandbox
    api: RuntimeApi
    output: bytearray

    async def invoke(self, event: object = None) -> Any:
        """The function's response; fails when it is an error."""
        kind, answer = await self.api.invoke(event)
        assert kind == "response", answer
        return answer


@dataclass
class Taken:
    """The process of a version that becomes a snapshot. Its handler evaluates the event where the module's names are known."""

    machine: Machine
    prepared: PreparedProcessVersion
    sandbox: Sandbox
    snapshot: Snapshot
    output: bytearray

    async def restore(self, **variables: str) -> Environment:
        spec, api, output = await self.machine.make_spec(self.prepared, **variables)
        async with asyncio.timeout(DEADLINE_S):
            return Environment(await self.snapshot.start_sandbox(spec), api, output)

    async def obstacle(self) -> str:
        """Why it does not become one; empty if it does."""
        async with asyncio.timeout(DEADLINE_S):
            obstacle = await self.snapshot.taken
        # As the service does: from now on what descends from it is other environments, which are looked at for themselves.
        self.sandbox.work_ends()
        return obstacle


@dataclass
class Machine:
    """A started executor and everything that a test starts in it."""

    executor: ProcessExecutor
    directory: Path
    apis: list[RuntimeApi] = field(default_factory=list)

    def archive(self, files: Mapping[str, str | bytes], executable: tuple[str, ...] = ("bootstrap",)) -> CodeArchive:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (0o755 if name in executable else 0o644) << 16
                archive.writestr(info, content)
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = self.directory / f"{sha256}.zip"
        path.write_bytes(buffer.getvalue())
        return CodeArchive(sha256, path)

    async def prepare(
        self, source: str | Mapping[str, str | bytes], runtime: str = "python3.11", **fields: Any
    ) -> PreparedProcessVersion:
        files = {"index.py": source} if isinstance(source, str) else source
        arn = "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST"
        fields = {"handler": "index.handler", "code": self.archive(files), **fields}
        version = FunctionVersion(arn, "000000000000", "us-east-1", "f", "$LATEST", "r", runtime, **fields)
        return await self.executor.prepare(version)

    async def make_spec(
        self, prepared: PreparedProcessVersion, **variables: str
    ) -> tuple[SandboxSpec, RuntimeApi, bytearray]:
        """What an environment is started with, its Runtime API, and its output."""
        api, output = RuntimeApi(), bytearray()
        self.apis.append(api)
        found = {"_HANDLER": prepared.version.handler or "", "AWS_LAMBDA_FUNCTION_NAME": "f", **variables}
        if prepared.version.snap_start:
            found["AWS_LAMBDA_INITIALIZATION_TYPE"] = "snap-start"
        found = {**prepared.variables, **found}
        return SandboxSpec(f"environment-{len(self.apis)}", await api.start(), found, output.extend), api, output

    async def start(self, prepared: PreparedProcessVersion, **variables: str) -> Environment:
        spec, api, output = await self.make_spec(prepared, **variables)
        return Environment(await self.executor.start_sandbox(prepared, spec), api, output)

    async def initialise(self, source: str, **variables: str) -> Taken:
        """Start what is to become a snapshot."""
        prepared = await self.prepare(source + EVALUATES, snap_start=True)
        assert prepared.snapshot_obstacle == ""
        spec, _, output = await self.make_spec(prepared, **variables)
        return Taken(self, prepared, *await self.executor.start_snapshot(prepared, spec), output)

    async def take(self, source: str = "", **variables: str) -> Taken:
        """The snapshot of a function with this code."""
        taken = await self.initialise(source, **variables)
        assert await taken.obstacle() == "", taken.output.decode()
        return taken

    async def run(
        self, source: str | Mapping[str, str | bytes], runtime: str = "python3.11", **fields: Any
    ) -> Environment:
        return await self.start(await self.prepare(source, runtime, **fields))

    async def stop(self) -> None:
        await self.executor.stop()
        for api in self.apis:
            await api.stop()


NOT_ISOLATED = why_not_isolated()


@pytest.fixture
async def make_machine(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts an executor with the given configuration."""
    machines: list[Machine] = []

    async def make(**config: Any) -> Machine:
        executor = ProcessExecutor(RuntimeConfig(**config))
        await executor.start()
        machines.append(Machine(executor, tmp_path))
        return machines[-1]

    yield make
    for machine in machines:
        await machine.stop()


@pytest.fixture(params=["auto", "none"])
async def machine(request: pytest.FixtureRequest, make_machine: Callable[..., Any]) -> Machine:
    """With the isolation that this machine allows, and without any."""
    if request.param == "auto" and NOT_ISOLATED:
        pytest.skip(f"no namespaces: {NOT_ISOLATED}")
    machine: Machine = await make_machine(isolation=request.param)
    return machine


@pytest.fixture
async def isolated(make_machine: Callable[..., Any]) -> Machine:
    """With namespaces, or the test is skipped."""
    if NOT_ISOLATED:
        pytest.skip(f"no namespaces: {NOT_ISOLATED}")
    machine: Machine = await make_machine()
    return machine
