"""SnapStart, driven through the service with a fake executor and real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import (
    EnvironmentNotStarted,
    ServiceStopped,
    SnapshotNotRegenerated,
    SnapStartFailed,
    SnapStartTimedOut,
    VersionFailed,
)
from lambda_runtime.executors.base import PreparedVersion, SandboxSpec
from lambda_runtime.logs import LogEntry
from lambda_runtime.platform_events import InvokeReport, JsonPlatformLog, TextPlatformLog
from lambda_runtime.service import RuntimeService
from lambda_runtime.types import FunctionVersion, Invocation

from .fakes import (
    Exit,
    ExtensionClient,
    FakeExecutor,
    FakeSandbox,
    RuntimeClient,
    Script,
    echo,
    function_version,
    invocation,
    until,
)

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:fn"
PATH = "/2018-06-01/runtime/"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "ASIA1", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}


def version(**changes: Any) -> FunctionVersion:
    return function_version(**{"arn": f"{FUNCTION}:1", "version": "1", "snap_start": True, **changes})


def call(payload: bytes = b"{}", **more: Any) -> Invocation:
    return invocation(payload, version_arn=f"{FUNCTION}:1", **more)


class FakeSnapshot:
    """Its sandboxes run `script`."""

    def __init__(self, executor: SnapshotFakeExecutor, prepared: PreparedVersion) -> None:
        self.taken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.alive = True
        self._executor = executor
        self._prepared = prepared

    async def start_sandbox(self, spec: SandboxSpec) -> FakeSandbox:
        if not self.alive:
            raise OSError("the snapshot has ended")
        return await self._executor.start_sandbox(self._prepared, spec)


class SnapshotFakeExecutor(FakeExecutor):
    """`initialise` is what runs for a snapshot, which is taken with `obstacle` when that comes to `take`."""

    def __init__(self) -> None:
        super().__init__()
        self.initialise: Script = self.take
        self.obstacle = ""
        self.known_obstacle = ""
        self.snapshots: list[FakeSnapshot] = []
        self.making: list[FakeSandbox] = []

    async def prepare(self, version: FunctionVersion) -> PreparedVersion:
        prepared = await super().prepare(version)
        prepared.snapshot_obstacle = self.known_obstacle
        return prepared

    async def start_snapshot(self, prepared: PreparedVersion, spec: SandboxSpec) -> tuple[FakeSandbox, FakeSnapshot]:
        if self.fail_start is not None:
            raise self.fail_start
        snapshot = FakeSnapshot(self, prepared)
        self.snapshots.append(snapshot)
        sandbox = FakeSandbox(spec, self.initialise, self)
        sandbox.exited.add_done_callback(lambda _: setattr(snapshot, "alive", False))
        self.running.add(sandbox)
        self.making.append(sandbox)
        return sandbox, snapshot

    async def take(self, client: RuntimeClient) -> None:
        self.snapshots[-1].taken.set_result(self.obstacle)
        await asyncio.Event().wait()


@pytest.fixture
def executor() -> SnapshotFakeExecutor:
    return SnapshotFakeExecutor()


@pytest.fixture
def lines() -> dict[str, list[str]]:
    """What was logged, by stream."""
    return {}


@pytest.fixture
async def service(executor: SnapshotFakeExecutor, lines: dict[str, list[str]]) -> AsyncIterator[RuntimeService]:
    def sink(version: FunctionVersion, stream: str, entries: list[LogEntry]) -> None:
        lines.setdefault(stream, []).extend(message for _, message in entries)

    service = RuntimeService(
        RuntimeConfig(restore_timeout_s=0.6, provisioned_init_timeout_s=1.2),
        executor,
        log_sink=sink,  # type: ignore[arg-type]
        credentials=lambda version: CREDENTIALS,
    )
    await service.start()
    yield service
    await service.stop()
    assert not executor.running


def failing(path: str, error_type: str) -> Script:
    async def run(client: RuntimeClient) -> None:
        headers = {"Lambda-Runtime-Function-Error-Type": error_type}
        status, _, _ = await client.request("POST", PATH + path, b'{"errorMessage": "m"}', headers)
        assert status == 202
        raise Exit(65)

    return run


async def silent(client: RuntimeClient) -> None:
    await asyncio.Event().wait()


async def restored_by_request(client: RuntimeClient) -> None:
    """A runtime that initialises where there is no snapshot."""
    client.sandbox.print(b"before\n")
    status, _, body = await client.request("GET", PATH + "restore/next")
    assert (status, body) == (200, b"")
    client.sandbox.print(b"after\n")
    await echo(client)


def kinds(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines]


def _reports(service: RuntimeService, lines: dict[str, list[str]]) -> int:
    service.deliver_telemetry()
    return sum(line.startswith("REPORT") for stream in lines.values() for line in stream)


async def test_a_version_is_deployed_when_its_snapshot_is_taken(
    service: RuntimeService, executor: SnapshotFakeExecutor, lines: dict[str, list[str]]
) -> None:
    executor.initialise = silent
    deploying = asyncio.create_task(service.deploy(version(timeout_s=5)))
    await until(lambda: bool(executor.snapshots))
    await asyncio.sleep(0.01)
    assert not deploying.done()
    executor.snapshots[0].taken.set_result("")
    await deploying
    assert service.has_snapshot(f"{FUNCTION}:1")
    assert service.environment_count() == 0
    assert (await service.invoke(call(b"1"))).payload == b"1"
    assert (await service.invoke(call(b"2"))).payload == b"2"
    assert len(executor.snapshots) == len(executor.started) == 1
    assert not executor.making[0].works
    await until(lambda: _reports(service, lines) == 2)
    made, restored = lines.values()
    assert kinds(made) == ["INIT_START", "INIT_REPORT"]
    assert kinds(restored) == ["RESTORE_START", "RESTORE_REPORT", "START", "END", "REPORT", "START", "END", "REPORT"]
    assert ["Restore Duration" in line for line in restored] == [False, True, False, False, True, False, False, False]
    assert not any("Init Duration" in line for line in restored)


async def test_environments_know_the_kind_of_their_start_but_not_their_log(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    await service.deploy(version())
    await service.invoke(call())
    for sandbox in (executor.making[0], executor.started[0]):
        variables = sandbox.spec.variables
        assert variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
        assert not {"AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", *CREDENTIALS} & variables.keys()
        uri = f"http://{sandbox.spec.runtime_api}/2021-04-23/credentials"
        assert variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == uri


async def test_credentials_are_given_to_who_has_the_token(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    answers: list[Any] = []

    async def ask(client: RuntimeClient) -> None:
        token = client.spec.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        for method, given in (("GET", token), ("GET", "other"), ("POST", token)):
            status, _, body = await client.request(method, "/2021-04-23/credentials", b"", {"Authorization": given})
            answers.append((status, json.loads(body)))
        await echo(client)

    executor.script = ask
    await service.deploy(version())
    await service.invoke(call())
    given = answers[0][1]
    assert given.pop("Expiration") > "2026"
    assert given == {"AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "t"}
    assert [(status, body.get("errorType")) for status, body in answers] == [
        (200, None),
        (403, "AccessDenied"),
        (405, "MethodNotAllowed"),
    ]


async def test_a_hook_that_fails_is_an_error_of_each_invoke(
    service: RuntimeService, executor: SnapshotFakeExecutor, lines: dict[str, list[str]]
) -> None:
    executor.script = failing("restore/error", "Runtime.AfterRestoreError")
    await service.deploy(version())
    for _ in range(2):
        with pytest.raises(SnapStartFailed):
            await service.invoke(call())
    assert service.in_use()["environments"] == 0
    *_, last = lines.values()
    assert kinds(last) == ["RESTORE_START", "RESTORE_REPORT"]
    assert last[1].endswith("\tStatus: error\tError Type: Runtime.AfterRestoreError\n")


async def test_a_restore_has_a_limit(
    service: RuntimeService, executor: SnapshotFakeExecutor, lines: dict[str, list[str]]
) -> None:
    executor.script = silent
    await service.deploy(version())
    with pytest.raises(SnapStartTimedOut):
        await service.invoke(call())
    *_, last = lines.values()
    assert last[1].endswith(" ms\tStatus: timeout\n")


async def test_a_runtime_that_ends_while_it_is_restored(
    service: RuntimeService, executor: SnapshotFakeExecutor, lines: dict[str, list[str]]
) -> None:
    async def exits(client: RuntimeClient) -> None:
        raise Exit(7)

    executor.script = exits
    await service.deploy(version())
    with pytest.raises(SnapStartFailed):
        await service.invoke(call())
    *_, last = lines.values()
    assert last[1].endswith("\tStatus: error\tError Type: Runtime.ExitError\n")


@pytest.mark.parametrize(
    ("script", "status"),
    [(failing("init/error", "Runtime.BeforeSnapshotError"), "error"), (silent, "timeout")],
    ids=["error", "timeout"],
)
async def test_a_version_that_does_not_initialise_fails(
    service: RuntimeService, executor: SnapshotFakeExecutor, lines: dict[str, list[str]], script: Script, status: str
) -> None:
    executor.initialise = script
    with pytest.raises(VersionFailed, match=r"^An error occurred during function initialization\.$") as raised:
        await service.deploy(version(timeout_s=0.1))
    assert raised.value.code == "FunctionError"
    assert executor.released == ["r1"]
    await until(lambda: not executor.running)
    (made,) = lines.values()
    assert f"Phase: init\tStatus: {status}" in made[1]
    assert not service.has_snapshot(f"{FUNCTION}:1")


async def test_a_machine_that_starts_nothing_is_no_fault_of_the_function(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    executor.fail_start = OSError("out of processes")
    with pytest.raises(VersionFailed, match="out of processes") as raised:
        await service.deploy(version())
    assert raised.value.code == "InternalError"


async def test_a_deployment_that_is_cancelled_leaves_nothing(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    executor.initialise = silent
    deploying = asyncio.create_task(service.deploy(version(timeout_s=5)))
    await until(lambda: bool(executor.snapshots))
    deploying.cancel()
    await asyncio.gather(deploying, return_exceptions=True)
    await until(lambda: not executor.running)
    assert executor.released == ["r1"]


@pytest.mark.parametrize("how", ["told", "not asked", "asked by request"])
async def test_without_a_snapshot_every_environment_initialises(
    service: RuntimeService, executor: SnapshotFakeExecutor, lines: dict[str, list[str]], how: str
) -> None:
    executor.obstacle = "it has a thread running"
    if how != "told":
        executor.initialise = echo if how == "not asked" else restored_by_request
    executor.script = restored_by_request
    await service.deploy(version())
    assert not service.has_snapshot(f"{FUNCTION}:1")
    await until(lambda: not executor.running)
    await service.invoke(call())
    await until(lambda: _reports(service, lines) == 1)
    *_, own = lines.values()
    why = executor.obstacle if how == "told" else "its runtime does not wait to be restored"
    assert own[1] == (
        f"[WARN] lambda-provider: SnapStart: there is no snapshot of this version ({why}), "
        "so every environment is initialised by itself.\n"
    )
    phases = ["before", "INIT_REPORT", "RESTORE_START", "after", "RESTORE_REPORT", "START", "END", "REPORT"]
    assert kinds(own) == ["INIT_START", "[WARN]", *phases]
    assert "Restore Duration" in own[-1]


async def test_an_executor_that_makes_no_snapshots_is_named(lines: dict[str, list[str]]) -> None:
    executor = FakeExecutor(restored_by_request)
    written = lines.setdefault("it", [])
    service = RuntimeService(
        RuntimeConfig(), executor, log_sink=lambda version, stream, entries: written.extend(m for _, m in entries)
    )
    await service.start()
    await service.deploy(version())
    await service.invoke(call())
    await service.stop()
    assert any("(the executor fake makes none)" in line for line in written)


async def test_a_restore_that_fails_without_a_snapshot_is_one_too(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    async def fails_later(client: RuntimeClient) -> None:
        await client.request("GET", PATH + "restore/next")
        await failing("restore/error", "Runtime.AfterRestoreError")(client)

    executor.obstacle = "it has a thread running"
    executor.script = fails_later
    await service.deploy(version())
    with pytest.raises(SnapStartFailed):
        await service.invoke(call())


async def test_the_endpoints_of_a_restore_are_for_restores(executor: SnapshotFakeExecutor) -> None:
    answers = []

    async def asks(client: RuntimeClient) -> None:
        for method, path in (("GET", "restore/next"), ("POST", "restore/next")):
            answers.append((await client.request(method, PATH + path))[0])
        await echo(client)

    service = RuntimeService(RuntimeConfig(), executor)
    await service.start()
    executor.script = asks
    await service.deploy(version(snap_start=False))
    await service.invoke(call())
    await service.stop()
    assert answers == [403, 404]


async def test_a_lost_snapshot_is_made_again_at_once(service: RuntimeService, executor: SnapshotFakeExecutor) -> None:
    await service.deploy(version())
    executor.making[0].kill()
    await until(lambda: len(executor.snapshots) == 2 and executor.snapshots[1].taken.done())
    assert (await service.invoke(call(b"1"))).payload == b"1"
    assert len(executor.snapshots) == 2


async def test_invokes_wait_for_the_next_snapshot(service: RuntimeService, executor: SnapshotFakeExecutor) -> None:
    await service.deploy(version(timeout_s=5))
    executor.initialise = silent
    executor.making[0].kill()
    await until(lambda: len(executor.snapshots) == 2)
    invoking = [asyncio.create_task(service.invoke(call(b"%d" % number))) for number in range(3)]
    await asyncio.sleep(0.01)
    assert not executor.started
    executor.snapshots[1].taken.set_result("")
    assert [(await each).payload for each in invoking] == [b"0", b"1", b"2"]


async def test_a_restore_that_was_under_way_is_repeated_from_the_next_snapshot(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    executor.scripts = [silent]
    await service.deploy(version())
    invoking = asyncio.create_task(service.invoke(call(b"1")))
    await until(lambda: len(executor.started) == 1)
    executor.making[0].kill()
    executor.started[0].kill()
    assert (await invoking).payload == b"1"
    assert len(executor.snapshots) == 2


async def test_a_snapshot_that_cannot_be_made_again_is_tried_at_each_invoke(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    await service.deploy(version())
    executor.initialise = failing("init/error", "Runtime.Unknown")
    executor.making[0].kill()
    for _ in range(2):
        with pytest.raises(SnapshotNotRegenerated):
            await service.invoke(call())
    executor.initialise = executor.take
    assert (await service.invoke(call(b"1"))).payload == b"1"
    assert service.in_use()["environments"] == 1


async def test_a_snapshot_ends_when_its_version_has_no_work_any_more(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    release = asyncio.Event()

    async def holds(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        await release.wait()
        await client.respond(request_id, body)
        await echo(client)

    executor.script = holds
    await service.deploy(version())
    invoking = asyncio.create_task(service.invoke(call(b"1")))
    await until(lambda: bool(executor.started))
    await asyncio.sleep(0.01)
    await service.retire(f"{FUNCTION}:1")
    assert not executor.making[0].killed
    release.set()
    assert (await invoking).payload == b"1"
    await until(lambda: not executor.running)
    assert executor.making[0].killed
    assert len(executor.snapshots) == 1


async def test_stopping_the_service_while_a_snapshot_is_made_again(
    service: RuntimeService, executor: SnapshotFakeExecutor
) -> None:
    await service.deploy(version(timeout_s=5))
    executor.initialise = silent
    executor.making[0].kill()
    await until(lambda: len(executor.snapshots) == 2)
    invoking = asyncio.create_task(service.invoke(call()))
    await asyncio.sleep(0.01)
    await service.stop()
    with pytest.raises((ServiceStopped, EnvironmentNotStarted)):
        await invoking
    assert not executor.running


async def test_extensions_are_told_of_the_restore(
    service: RuntimeService, executor: SnapshotFakeExecutor, telemetry_port: Callable[[], Any]
) -> None:
    """Extensions are processes of their own, so such a version has no snapshot; the phases are the same."""
    listener = await telemetry_port()

    async def extension(client: ExtensionClient) -> None:
        await client.register("e", "INVOKE")
        await client.subscribe(listener.port, types=["platform"], buffering={"timeoutMs": 25})
        while True:
            await client.next_event()

    executor.extensions = {"e": extension}
    executor.known_obstacle = "its external extensions are processes of their own"
    executor.script = restored_by_request
    await service.deploy(version())
    await service.invoke(call())
    events = ["platform.restoreStart", "platform.restoreRuntimeDone", "platform.restoreReport", "platform.report"]
    await listener.until(lambda: set(events) <= {event["type"] for event in listener.events})
    found = [event["type"] for event in listener.events]
    assert [each for each in found if each in (*events, "platform.initReport", "platform.initRuntimeDone")] == [
        "platform.initRuntimeDone",
        "platform.initReport",
        *events,
    ]
    by_type = {event["type"]: event["record"] for event in listener.events}
    assert by_type["platform.initReport"]["initializationType"] == "snap-start"
    assert by_type["platform.restoreStart"]["functionName"] == "fn"
    assert by_type["platform.restoreRuntimeDone"] == {"status": "success"}
    assert by_type["platform.restoreReport"]["metrics"]["durationMs"] >= 0
    assert by_type["platform.report"]["metrics"]["restoreDurationMs"] >= 0


class Listener:
    """Takes what is delivered to a subscriber."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.port = 0
        self._came = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                (length,) = [int(line.split(b":")[1]) for line in head if line.startswith(b"content-length:")]
                self.events += json.loads(await reader.readexactly(length))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                self._came.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def telemetry_port() -> AsyncIterator[Callable[[], Any]]:
    servers = []

    async def listen() -> Listener:
        listener = Listener()
        server = await asyncio.start_server(listener.take, "127.0.0.1", 0)
        listener.port = server.sockets[0].getsockname()[1]
        servers.append(server)
        return listener

    yield listen
    for server in servers:
        server.close()


def test_the_report_has_the_restore_and_bills_its_hooks() -> None:
    """Billed are the handler and the restored runtime, each rounded up (snapstart-monitoring.html)."""
    report = InvokeReport("id", 553.09, 1024, 206, restore_duration_ms=705.42, restored_in_ms=255.3)
    assert TextPlatformLog().report(0, report) == (
        "REPORT RequestId: id\tDuration: 553.09 ms\tBilled Duration: 810 ms\tMemory Size: 1024 MB\tMax Memory Used: 206 MB\t"
        "Restore Duration: 705.42 ms\tBilled Restore Duration: 256 ms\t\n"
    )
    metrics = report.metrics()
    assert (metrics["restoreDurationMs"], metrics["billedRestoreDurationMs"]) == (705.42, 256)


def test_restores_in_json_are_filtered_by_the_system_log_level() -> None:
    warn = JsonPlatformLog("WARN", "snap-start")
    assert warn.restore_started(0, "python:3.12.v1", "arn", "1") is None
    assert warn.restored(0, 1.5, "success", None) is None
    assert json.loads(warn.restored(0, 1.5, "error", "Runtime.AfterRestoreError") or "")["record"] == {
        "status": "error",
        "errorType": "Runtime.AfterRestoreError",
        "metrics": {"durationMs": 1.5},
    }
