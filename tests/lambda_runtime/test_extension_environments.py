"""Environments with extensions, driven through the service with fake processes and real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.service import RuntimeService

from .fakes import Exit, ExtensionClient, FakeExecutor, Logs, RuntimeClient, echo, function_version, invocation, until

REGISTER, NEXT = "/2020-01-01/extension/register", "/2020-01-01/extension/event/next"


class Listener:
    """An extension that takes note of its events."""

    def __init__(self, name: str = "ext", *events: str) -> None:
        self.name = name
        self.subscribed_to = events or ("INVOKE", "SHUTDOWN")
        self.events: list[dict] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.busy = asyncio.Event()

    async def __call__(self, client: ExtensionClient) -> None:
        await client.register(self.name, *self.subscribed_to)
        while True:
            event = await client.next_event()
            self.events.append(event)
            if event["eventType"] == "SHUTDOWN":
                return
            self.busy.set()
            await self.may_go_on.wait()

    @property
    def kinds(self) -> list[str]:
        return [event.get("shutdownReason", event["eventType"]) for event in self.events]


@pytest.fixture
def config() -> RuntimeConfig:
    return RuntimeConfig(shutdown_timeout_s=0.6)


async def test_an_extension_gets_every_invocation_and_the_shutdown(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    listener = executor.extensions["ext"] = Listener()
    await service.deploy(function_version(timeout_s=7))
    for _ in range(2):
        await service.invoke(invocation(trace_header="Root=1-2-3"))
    await service.stop()
    assert listener.kinds == ["INVOKE", "INVOKE", "spindown"]
    assert len(executor.started) == 1
    assert listener.events[0]["requestId"] == invocation().request_id
    assert listener.events[0]["invokedFunctionArn"] == invocation().invoked_arn
    assert listener.events[0]["tracing"] == {"type": "X-Amzn-Trace-Id", "value": "Root=1-2-3"}
    assert "EXTENSION\tName: ext\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in logs.entries


async def test_the_runtime_starts_when_the_extensions_have_registered(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    order: list[str] = []

    async def extension(client: ExtensionClient) -> None:
        await client.request("GET", "/elsewhere")
        order.append("extension")
        await client.register("ext", "INVOKE")
        while True:
            await client.next_event()

    async def runtime(client: RuntimeClient) -> None:
        order.append("runtime")
        await echo(client)

    executor.extensions["ext"], executor.script = extension, runtime
    await service.deploy(function_version())
    await service.invoke(invocation())
    assert order == ["extension", "runtime"]


async def test_the_environment_is_initialised_when_the_extension_is_too(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    may_wait, runtime_waits, handled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def extension(client: ExtensionClient) -> None:
        await client.register("ext")
        await may_wait.wait()
        await client.next_event()

    async def runtime(client: RuntimeClient) -> None:
        runtime_waits.set()
        request_id, _, body = await client.next()
        handled.set()
        await client.respond(request_id, body)
        await echo(client)

    executor.extensions["ext"], executor.script = extension, runtime
    await service.deploy(function_version())
    answer = asyncio.create_task(service.invoke(invocation()))
    await runtime_waits.wait()
    await asyncio.sleep(0.02)  # A wrong invocation would come now.
    assert not handled.is_set()
    may_wait.set()
    assert (await answer).payload == b"{}"


async def test_a_slow_extension_holds_up_the_environment_and_not_the_response(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    listener = executor.extensions["ext"] = Listener()
    listener.may_go_on.clear()
    await service.deploy(function_version())
    await service.invoke(invocation(b"1"))
    listener.may_go_on.set()  # The first environment is free again…
    await until(lambda: "REPORT" in logs.text)
    listener.may_go_on.clear()
    await service.invoke(invocation(b"2"))
    assert len(executor.started) == 1
    await service.invoke(invocation(b"3"))  # … and now it is not.
    assert len(executor.started) == 2


async def test_the_report_waits_for_the_extension_and_counts_its_time(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    listener = executor.extensions["ext"] = Listener()
    listener.may_go_on.clear()
    await service.deploy(function_version())
    result = await service.invoke(invocation(want_log_tail=True))
    assert b"REPORT RequestId" in result.log_tail, "the caller's report is of the function"
    await asyncio.sleep(0.05)
    assert "REPORT" not in logs.text
    listener.may_go_on.set()
    await until(lambda: "REPORT" in logs.text)
    duration = float(logs.text.partition("\tDuration: ")[2].partition(" ms")[0])
    assert duration >= 50


async def test_an_extension_that_takes_longer_than_the_time_limit_ends_the_environment(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    listener = executor.extensions["ext"] = Listener()
    listener.may_go_on.clear()
    await service.deploy(function_version(timeout_s=0.1))
    assert (await service.invoke(invocation(b"1"))).function_error is None
    await until(lambda: "Status: timeout" in logs.text)
    assert "Task timed out after 0.10 seconds" in logs.text
    listener.may_go_on.set()
    await until(lambda: "timeout" in listener.kinds)


async def test_a_function_that_times_out_is_told_to_the_extension(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    async def hang(client: RuntimeClient) -> None:
        await client.next()
        await asyncio.Event().wait()

    listener = executor.extensions["ext"] = Listener()
    executor.scripts = [hang]
    await service.deploy(function_version(timeout_s=0.1))
    assert (await service.invoke(invocation())).function_error == "Unhandled"
    await until(lambda: listener.kinds == ["INVOKE", "timeout"])


async def test_a_function_that_exits_is_told_to_the_extension(service: RuntimeService, executor: FakeExecutor) -> None:
    async def leave(client: RuntimeClient) -> None:
        await client.next()
        raise Exit(1)

    listener = executor.extensions["ext"] = Listener()
    executor.scripts = [leave]
    await service.deploy(function_version())
    assert json.loads((await service.invoke(invocation())).payload)["errorType"] == "Runtime.ExitError"
    await until(lambda: listener.kinds == ["INVOKE", "failure"])


async def test_an_extension_that_ends_in_an_invocation_fails_it(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    async def crash(client: ExtensionClient) -> None:
        await client.register("ext", "INVOKE")
        await client.next_event()
        raise Exit(1)

    async def hang(client: RuntimeClient) -> None:
        await client.next()
        await asyncio.Event().wait()

    executor.extensions["ext"], executor.script = crash, hang
    await service.deploy(function_version(timeout_s=30))
    result = await service.invoke(invocation())
    assert json.loads(result.payload) == {
        "errorType": "Extension.Crash",
        "errorMessage": f"RequestId: {invocation().request_id} Error: exit status 1",
    }
    await until(lambda: "REPORT" in logs.text)
    assert f"RequestId: {invocation().request_id} Error: exit status 1\nExtension.Crash\n" in logs.entries
    assert "Error Type: Extension.Crash" in logs.text


@pytest.mark.parametrize("registers", [True, False])
async def test_an_extension_that_ends_in_the_init_phase_fails_the_invocation(
    service: RuntimeService, executor: FakeExecutor, logs: Logs, registers: bool
) -> None:
    async def crash(client: ExtensionClient) -> None:
        if registers:
            await client.register("ext", "INVOKE")
        raise Exit(0)

    executor.extensions["ext"] = crash
    await service.deploy(function_version(timeout_s=30))
    result = await service.invoke(invocation())
    error = json.loads(result.payload)
    assert error["errorType"] == "Extension.Crash"
    assert error["errorMessage"] == f"RequestId: {invocation().request_id} Error: exit code 0"
    await until(lambda: "REPORT RequestId" in logs.text)
    assert "INIT_REPORT Init Duration: " in logs.text
    assert "Phase: invoke\tStatus: error\tError Type: Extension.Crash\n" in logs.text


async def test_an_extension_that_cannot_start_is_named_in_the_log(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    async def not_executable(client: ExtensionClient) -> None:
        raise Exit(126, entry_point_error="fork/exec /opt/extensions/ext: permission denied")

    executor.extensions["ext"] = not_executable
    await service.deploy(function_version())
    error = json.loads((await service.invoke(invocation())).payload)
    assert error["errorType"] == "Extension.LaunchError"
    assert error["errorMessage"].endswith(" Error: fork/exec /opt/extensions/ext: permission denied")
    await until(lambda: "REPORT RequestId" in logs.text)
    assert "EXTENSION\tName: ext\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n" in logs.entries


async def test_an_idle_environment_whose_extension_ends_is_replaced(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    executor.extensions["ext"] = Listener()
    await service.deploy(function_version())
    await service.invoke(invocation())
    await until(lambda: service.environment_count() == 1)
    executor.started[0].extension_tasks["ext"].cancel()
    await until(lambda: service.environment_count() == 0)
    assert (await service.invoke(invocation(b"2"))).payload == b"2"
    assert len(executor.started) == 2


async def test_shutdown_ends_the_runtime_first_and_kills_who_does_not_end(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    runtime_ended: list[bool] = []

    async def stubborn(client: ExtensionClient) -> None:
        await client.register("ext", "INVOKE", "SHUTDOWN")
        while (await client.next_event())["eventType"] != "SHUTDOWN":
            pass
        runtime_ended.append(client.sandbox.exited.done())
        await asyncio.Event().wait()

    executor.extensions["ext"] = stubborn
    await service.deploy(function_version())
    await service.invoke(invocation())
    began = asyncio.get_running_loop().time()
    await service.stop()
    assert 0.5 < asyncio.get_running_loop().time() - began < 2
    assert runtime_ended == [True]
    assert executor.started[0].killed


async def test_an_extension_that_does_not_want_shutdown_is_not_waited_for(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    executor.extensions["ext"] = Listener("ext", "INVOKE")
    await service.deploy(function_version())
    await service.invoke(invocation())
    began = asyncio.get_running_loop().time()
    await service.stop()
    assert asyncio.get_running_loop().time() - began < 0.3


async def test_an_internal_extension_registers_and_holds_up_the_environment(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    events: list[dict] = []
    refusals: list[tuple[int, dict]] = []

    async def inside(client: ExtensionClient) -> None:
        await client.connect()
        refusals.append(await client.call("POST", REGISTER, {"events": ["SHUTDOWN"]}, Lambda_Extension_Name="in"))
        await client.register("in", "INVOKE")
        while True:
            events.append(await client.next_event())

    async def runtime(client: RuntimeClient) -> None:
        internal = asyncio.create_task(inside(ExtensionClient(client.spec)))
        await until(lambda: "Registered" in str(refusals) or bool(refusals))
        try:
            await echo(client)
        finally:
            internal.cancel()

    executor.script = runtime
    await service.deploy(function_version())
    assert (await service.invoke(invocation(b"1"))).payload == b"1"
    assert (await service.invoke(invocation(b"2"))).payload == b"2"
    await until(lambda: len(events) == 2)
    assert refusals[0][0] == 403
    assert refusals[0][1]["errorType"] == "Extension.InvalidEventType"
    assert "EXTENSION\tName: in\tState: Ready\tEvents: [INVOKE]\n" in logs.entries


async def test_register_answers_with_what_the_function_is(service: RuntimeService, executor: FakeExecutor) -> None:
    answers: list[object] = []

    async def curious(client: ExtensionClient) -> None:
        answers.append(await client.call("POST", REGISTER, {"events": []}))
        answers.append(await client.call("GET", NEXT))
        accept = {"Lambda_Extension_Accept_Feature": "accountId"}
        answers.append(await client.call("POST", REGISTER, None, Lambda_Extension_Name="ext", **accept))
        answers.append(await client.call("POST", "/2020-01-01/extension/exit/error"))
        answers.append(await client.call("DELETE", REGISTER))
        await client.next_event()

    executor.extensions["ext"] = curious
    await service.deploy(function_version())
    await service.invoke(invocation())
    kinds = [(status, body.get("errorType")) for status, body in answers]
    assert kinds == [
        (403, "Extension.InvalidExtensionName"),
        (403, "Extension.MissingHeader"),
        (200, None),
        (403, "Extension.MissingHeader"),
        (404, "NotFound"),
    ]
    assert answers[2][1] == {
        "functionName": "fn",
        "functionVersion": "$LATEST",
        "handler": "index.handler",
        "accountId": "000000000000",
    }
