"""An executor whose sandboxes are coroutines of the test: they speak the real Runtime API over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.base import Capability, ExitStatus, PreparedVersion, SandboxSpec
from lambda_runtime.logs import LogEntry
from lambda_runtime.runtime_api.connection import Exchange, RuntimeApiConnection
from lambda_runtime.runtime_api.routes import Headers, Trailers
from lambda_runtime.types import FunctionVersion, Invocation


class Exit(Exception):
    """Raised by a fake runtime to end its process."""

    def __init__(self, code: int | None = 0, signal: int | None = None, entry_point_error: str | None = None) -> None:
        self.status = ExitStatus(code, signal, entry_point_error=entry_point_error)


class RuntimeClient:
    """What a runtime client library does, in a few lines."""

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec
        self.sandbox: FakeSandbox
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def connect(self) -> None:
        host, port = self.spec.runtime_api.split(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return await self.response()

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        status = int((await self.reader.readline()).split()[1])
        found = {}
        while (line := await self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            found[name.strip().lower()] = value.strip()
        return status, found, await self.reader.readexactly(int(found.get("content-length", 0)))

    async def next(self) -> tuple[str, dict[str, str], bytes]:
        status, headers, body = await self.request("GET", "/2018-06-01/runtime/invocation/next")
        assert status == 200, (status, body)
        return headers["lambda-runtime-aws-request-id"], headers, body

    async def respond(self, request_id: str, body: bytes, **headers: str) -> int:
        path = f"/2018-06-01/runtime/invocation/{request_id}/response"
        return (await self.request("POST", path, body, headers))[0]

    async def fail(self, request_id: str, error_type: str, message: str) -> int:
        body = json.dumps({"errorMessage": message, "errorType": error_type}).encode()
        path = f"/2018-06-01/runtime/invocation/{request_id}/error"
        return (await self.request("POST", path, body, {"Lambda-Runtime-Function-Error-Type": error_type}))[0]

    async def stream(self, request_id: str, chunks: list[bytes], trailers: dict[str, str] | None = None) -> int:
        """A chunked response; a chunk of b"" stands for the end of the body."""
        head = f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nHost: x\r\n"
        head += "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
        if trailers:
            head += "Trailer: " + ", ".join(trailers) + "\r\n"
        self.writer.write(head.encode() + b"\r\n")
        for chunk in chunks:
            self.writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await self.writer.drain()
        self.writer.write(b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in (trailers or {}).items()).encode() + b"\r\n")
        return (await self.response())[0]


class ExtensionClient(RuntimeClient):
    """What an extension does."""

    identifier = ""

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """A request as this extension; the status and the JSON of the answer."""
        fixed = {"Lambda-Extension-Identifier": self.identifier} if self.identifier else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = b"" if body is None else json.dumps(body).encode()
        status, found, answer = await self.request(method, path, content, {**fixed, **named})
        self.identifier = found.get("lambda-extension-identifier", self.identifier)
        return status, json.loads(answer)

    async def register(self, name: str, *events: str) -> Any:
        path = "/2020-01-01/extension/register"
        status, answer = await self.call("POST", path, {"events": events}, Lambda_Extension_Name=name)
        assert status == 200, answer
        return answer

    async def next_event(self) -> Any:
        status, answer = await self.call("GET", "/2020-01-01/extension/event/next")
        assert status == 200, answer
        return answer

    async def subscribe(self, port: int, **changes: Any) -> tuple[int, Any]:
        request = {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"]}
        request |= {"destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}/events"}}
        return await self.call("PUT", "/2022-07-01/telemetry", {**request, **changes})


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something that no event tells has happened; the test's own time limit is the bound."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


Client = TypeVar("Client", bound=RuntimeClient)
Script = Callable[[RuntimeClient], Awaitable[None]]
ExtensionScript = Callable[[ExtensionClient], Awaitable[None]]


async def echo(client: RuntimeClient) -> None:
    """A runtime whose handler returns its event."""
    while True:
        request_id, _, body = await client.next()
        await client.respond(request_id, body)


class Gate:
    """A runtime that answers when it is let; `running` counts the invocations that wait."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.running = 0

    async def __call__(self, client: RuntimeClient) -> None:
        while True:
            request_id, _, body = await client.next()
            self.running += 1
            await self.open.wait()
            self.running -= 1
            await client.respond(request_id, body)


class Logs:
    """A log sink that keeps the messages of all streams."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def __call__(self, version: FunctionVersion, stream: str, entries: Sequence[LogEntry]) -> None:
        self.entries += [message for _, message in entries]

    @property
    def text(self) -> str:
        return "".join(self.entries)


class Answers:
    """A router of the Runtime API's server that answers everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, connection: RuntimeApiConnection, method: bytes, path: bytes, headers: Headers) -> Exchange:
        self.asked.append(path)
        return _Answer(connection)


class _Answer:
    def __init__(self, connection: RuntimeApiConnection) -> None:
        self._connection = connection

    def body(self, chunk: bytes) -> None:
        pass

    def end(self, trailers: Trailers) -> None:
        self._connection.reply(200, b"", b"{}")

    def aborted(self) -> None:
        pass


class FakeSandbox:
    def __init__(self, spec: SandboxSpec, script: Script, executor: FakeExecutor) -> None:
        self.spec = spec
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.killed = False
        self.works = True
        self.pending_output = b""
        self.address = "127.0.0.1"
        self.admits = lambda peer, local: True
        self.rested = 0
        self.extension_tasks = {
            name: asyncio.create_task(self._run_extension(name, extension))
            for name, extension in executor.extensions.items()
        }
        self._may_start = asyncio.Event()
        if not self.extension_tasks:
            self._may_start.set()
        self._executor = executor
        self._task = asyncio.create_task(self._run(script))
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step never runs at all."""
        if all(extension.done() for extension in self.extension_tasks.values()):
            self._executor.running.discard(self)
        if not self.exited.done():
            self.exited.set_result(ExitStatus(None, 9))

    async def _run(self, script: Script) -> None:
        status = ExitStatus(0)
        try:
            status = await self._process(RuntimeClient(self.spec), script)
        finally:
            self.drain_output()
            if not self.exited.done():
                self.exited.set_result(status)

    async def _run_extension(self, name: str, script: ExtensionScript) -> None:
        status = ExitStatus(0)
        try:
            status = await self._process(ExtensionClient(self.spec), script)
        finally:
            if self._task.done() and self._others_done(name):
                self._executor.running.discard(self)
            self.spec.on_extension_exit(name, status)

    async def _process(self, client: Client, script: Callable[[Client], Awaitable[None]]) -> ExitStatus:
        """Run a script to its end, as a process of this sandbox."""
        client.sandbox = self
        try:
            if not isinstance(client, ExtensionClient):
                await self._may_start.wait()
            await client.connect()
            await script(client)
        except Exit as exit_:
            return exit_.status
        except asyncio.CancelledError:
            return ExitStatus(None, 9)
        except (OSError, asyncio.IncompleteReadError, IndexError):
            return ExitStatus(1)
        finally:
            if hasattr(client, "writer"):
                client.writer.close()
        return ExitStatus(0)

    def _others_done(self, name: str) -> bool:
        return all(task.done() for other, task in self.extension_tasks.items() if other != name)

    def start_runtime(self) -> None:
        self._may_start.set()

    def kill_runtime(self) -> None:
        self._task.cancel()

    def print(self, data: bytes) -> None:
        """What the function writes; it stays in the pipe until somebody reads."""
        self.pending_output += data

    def drain_output(self) -> None:
        data, self.pending_output = self.pending_output, b""
        if data:
            self.spec.on_output(data)

    def max_memory_mib(self) -> int | None:
        return 42

    def work_begins(self) -> None:
        self.works = True

    def work_ends(self) -> None:
        self.works = False

    def rests(self) -> None:
        assert not self.works
        self.rested += 1

    def terminate(self) -> None:
        self._task.cancel()

    def kill(self) -> None:
        self.killed = True
        for task in (self._task, *self.extension_tasks.values()):
            task.cancel()


class FakeExecutor:
    """Runs `script` as every sandbox, or what `scripts` holds for the next ones."""

    name = "fake"

    def __init__(self, script: Script = echo) -> None:
        self.script = script
        self.scripts: list[Script] = []
        self.started: list[FakeSandbox] = []
        self.running: set[FakeSandbox] = set()
        self.released: list[str] = []
        self.fail_prepare: VersionFailed | None = None
        self.fail_start: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.extensions: dict[str, ExtensionScript] = {}

    async def start(self) -> None: ...

    async def stop(self) -> None:
        for sandbox in list(self.running):
            sandbox.kill()
            with contextlib.suppress(asyncio.CancelledError):
                await sandbox.exited
            await asyncio.gather(*sandbox.extension_tasks.values(), return_exceptions=True)

    def capabilities(self) -> list[Capability]:
        return []

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        return "127.0.0.1"

    async def prepare(self, version: FunctionVersion) -> PreparedVersion:
        if self.gate is not None:
            await self.gate.wait()
        if self.fail_prepare is not None:
            raise self.fail_prepare
        return PreparedVersion(
            version, {"LAMBDA_TASK_ROOT": "/var/task"}, runtime_version="fake:1.v1", extensions=tuple(self.extensions)
        )

    async def release(self, prepared: PreparedVersion) -> None:
        self.released.append(prepared.version.revision)

    async def start_sandbox(self, prepared: PreparedVersion, spec: SandboxSpec) -> FakeSandbox:
        if self.fail_start is not None:
            raise self.fail_start
        sandbox = FakeSandbox(spec, self.scripts.pop(0) if self.scripts else self.script, self)
        self.started.append(sandbox)
        self.running.add(sandbox)
        return sandbox


def function_version(**changes: Any) -> FunctionVersion:
    """A version of the function `fn`."""
    values: dict[str, Any] = {
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:fn:$LATEST",
        "account_id": "000000000000",
        "region": "us-east-1",
        "function_name": "fn",
        "version": "$LATEST",
        "revision": "r1",
        "runtime": "python3.12",
        "handler": "index.handler",
        "code": None,
        "log_group": "/aws/lambda/fn",
    }
    return FunctionVersion(**{**values, **changes})


def invocation(
    payload: bytes = b"{}", request_id: str = "11111111-1111-4111-8111-111111111111", **more: Any
) -> Invocation:
    """A call of `function_version()`."""
    arn = function_version().arn
    return Invocation(more.pop("version_arn", arn), arn.rpartition(":")[0], payload, request_id, **more)
