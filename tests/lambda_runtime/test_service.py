"""The life of environments, driven through the service with a fake executor and real sockets."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from lambda_runtime.concurrency import ACCOUNT_LIMIT_EXCEEDED, RESERVED_LIMIT_EXCEEDED
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import EnvironmentNotStarted, ServiceStopped, Throttled
from lambda_runtime.service import RuntimeService

from .fakes import Exit, FakeExecutor, Logs, RuntimeClient, echo, function_version, invocation, until


async def test_invoke_hands_the_payload_over_and_returns_the_answer(service: RuntimeService) -> None:
    await service.deploy(function_version())
    result = await service.invoke(invocation(b'{"a": 1}'))
    assert (result.payload, result.function_error, result.executed_version) == (b'{"a": 1}', None, "$LATEST")


async def test_sequential_invokes_share_one_environment(service: RuntimeService, executor: FakeExecutor) -> None:
    await service.deploy(function_version())
    for number in range(400):  # longer than the grace for an environment that is about to be free
        assert (await service.invoke(invocation(b"%d" % number))).payload == b"%d" % number
    assert len(executor.started) == 1


async def test_concurrent_invokes_each_have_an_environment(service: RuntimeService, executor: FakeExecutor) -> None:
    all_running = asyncio.Barrier(5)

    async def meet(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        await all_running.wait()
        await client.respond(request_id, body)
        await client.next()

    executor.script = meet
    await service.deploy(function_version())
    await asyncio.gather(*(service.invoke(invocation()) for _ in range(5)))
    assert len(executor.started) == 5
    assert service.concurrency.in_use("000000000000", "us-east-1") == 0


async def test_next_carries_the_headers_of_the_runtime_api(service: RuntimeService, executor: FakeExecutor) -> None:
    seen: dict[str, str] = {}

    async def look(client: RuntimeClient) -> None:
        request_id, headers, body = await client.next()
        seen.update(headers)
        await client.respond(request_id, body)
        await client.next()

    executor.script = look
    await service.deploy(function_version(timeout_s=7))
    call = invocation(client_context='{"custom":{}}', tenant_id="blue", trace_header="Root=1-2-3;Sampled=0")
    await service.invoke(call)
    assert seen["lambda-runtime-aws-request-id"] == call.request_id
    assert seen["lambda-runtime-invoked-function-arn"] == call.invoked_arn
    assert seen["lambda-runtime-trace-id"] == "Root=1-2-3;Sampled=0"
    assert seen["lambda-runtime-client-context"] == '{"custom":{}}'
    assert seen["lambda-runtime-aws-tenant-id"] == "blue"
    assert int(seen["lambda-runtime-deadline-ms"]) > 1_700_000_000_000


async def test_handler_error_keeps_the_environment(service: RuntimeService, executor: FakeExecutor) -> None:
    async def fail_once(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        assert await client.fail(request_id, "ValueError", "no") == 202
        await echo(client)

    executor.script = fail_once
    await service.deploy(function_version())
    failed = await service.invoke(invocation())
    assert failed.function_error == "Unhandled"
    assert json.loads(failed.payload) == {"errorMessage": "no", "errorType": "ValueError"}
    assert (await service.invoke(invocation(b"2"))).payload == b"2"
    assert len(executor.started) == 1


async def test_timeout_ends_the_environment_and_says_how_long_it_ran(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    async def hang(client: RuntimeClient) -> None:
        await client.next()
        await asyncio.Event().wait()

    executor.scripts = [hang]
    await service.deploy(function_version(timeout_s=0.05))
    result = await service.invoke(invocation(want_log_tail=True))
    assert result.function_error == "Unhandled"
    assert json.loads(result.payload) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {invocation().request_id} Error: Task timed out after 0.05 seconds",
    }
    assert executor.started[0].killed
    assert b"Task timed out after 0.05 seconds" in result.log_tail
    assert re.search(rb"Duration: 50\.00 ms\tBilled Duration: \d+ ms\t.*\tStatus: timeout\n", result.log_tail)
    assert (await service.invoke(invocation(b"3"))).payload == b"3"


@pytest.mark.parametrize(
    ("code", "signal", "words"),
    [
        (0, None, "Runtime exited without providing a reason"),
        (7, None, "Runtime exited with error: exit status 7"),
        (None, 11, "Runtime exited with error: signal: segmentation fault"),
    ],
)
async def test_exit_during_an_invocation_has_awss_words(
    service: RuntimeService, executor: FakeExecutor, code: int | None, signal: int | None, words: str
) -> None:
    async def die(client: RuntimeClient) -> None:
        await client.next()
        raise Exit(code, signal)

    executor.scripts = [die]
    await service.deploy(function_version())
    result = await service.invoke(invocation())
    assert json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {invocation().request_id} Error: {words}",
    }
    assert (await service.invoke(invocation(b"4"))).payload == b"4"


async def test_failed_init_is_repeated_as_part_of_the_invocation(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    async def bad_import(client: RuntimeClient) -> None:
        client.sandbox.print(b"[ERROR] no module\n")
        body = b'{"errorMessage": "no module", "errorType": "Runtime.ImportModuleError"}'
        headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"}
        await client.request("POST", "/2018-06-01/runtime/init/error", body, headers)
        raise Exit(1)

    executor.script = bad_import
    await service.deploy(function_version())
    result = await service.invoke(invocation())
    assert result.function_error == "Unhandled"
    assert json.loads(result.payload)["errorType"] == "Runtime.ImportModuleError"
    assert len(executor.started) == 2
    assert service.environment_count() == 0
    assert "Phase: init\tStatus: error\tError Type: Runtime.ImportModuleError" in logs.text
    assert "Phase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError" in logs.text
    assert logs.text.count("[ERROR] no module") == 2


def first_words(log_tail: bytes | None) -> list[str]:
    """Of each line of a log that has no time in it."""
    return [re.split(r"[ \t]", line)[0] for line in (log_tail or b"").decode().splitlines() if line]


async def test_an_init_that_is_part_of_an_invocation_is_logged_before_its_start(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    async def fails(client: RuntimeClient) -> None:
        client.sandbox.print(b"importing\n")
        headers = {"Lambda-Runtime-Function-Error-Type": "MyException"}
        await client.request("POST", "/2018-06-01/runtime/init/error", b'{"errorType": "MyException"}', headers)
        raise Exit(1)

    executor.script = fails
    await service.deploy(function_version())
    result = await service.invoke(invocation(want_log_tail=True))
    assert first_words(result.log_tail) == ["importing", "INIT_REPORT", "START", "END", "REPORT"]
    assert result.log_tail is not None
    assert result.log_tail.count(b"\tStatus: error\tError Type: Runtime.Unknown") == 2


async def test_what_the_platform_says_of_a_failed_init_belongs_to_the_invocation(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    async def exits(client: RuntimeClient) -> None:
        raise Exit(126, entry_point_error="fork/exec /var/task/bootstrap: exec format error")

    executor.script = exits
    await service.deploy(function_version(runtime="provided.al2023"))
    tail = (await service.invoke(invocation(want_log_tail=True))).log_tail
    assert first_words(tail) == ["INIT_REPORT", "START", "RequestId:", "Runtime.InvalidEntrypoint", "END", "REPORT"]
    assert (
        f"RequestId: {invocation().request_id} Error: fork/exec /var/task/bootstrap: exec format error\n".encode()
        in (tail or b"")
    )


async def test_a_timeout_in_the_init_of_an_invocation_is_one_of_both(executor: FakeExecutor, logs: Logs) -> None:
    async def never(client: RuntimeClient) -> None:
        await asyncio.Event().wait()

    executor.script = never
    service = RuntimeService(RuntimeConfig(init_timeout_s=0.02), executor, log_sink=logs)
    await service.start()
    await service.deploy(function_version(timeout_s=0.03))
    tail = (await service.invoke(invocation(want_log_tail=True))).log_tail or b""
    await service.stop()
    assert [word for word in first_words(tail) if not word.startswith("20")] == [
        "INIT_REPORT",
        "START",
        "END",
        "REPORT",
    ]
    assert b"Phase: invoke\tStatus: timeout\n" in tail
    assert tail.index(b"START") < tail.index(b"Task timed out after 0.03 seconds")


async def test_the_log_of_a_cold_invocation_has_what_its_init_wrote(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    async def talks(client: RuntimeClient) -> None:
        client.sandbox.print(b"loading\n")
        while True:
            request_id, _, body = await client.next()
            await client.respond(request_id, body)

    executor.script = talks
    await service.deploy(function_version())
    asking = invocation(want_log_tail=True)
    assert first_words((await service.invoke(asking)).log_tail) == ["loading", "START", "END", "REPORT"]
    assert first_words((await service.invoke(asking)).log_tail) == ["START", "END", "REPORT"]


async def test_exit_in_init_is_reported_with_the_request_id(service: RuntimeService, executor: FakeExecutor) -> None:
    async def die(client: RuntimeClient) -> None:
        raise Exit(127)

    executor.script = die
    await service.deploy(function_version())
    result = await service.invoke(invocation())
    assert json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {invocation().request_id} Error: Runtime exited with error: exit status 127",
    }


async def test_entry_point_that_cannot_be_executed_has_its_own_error(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    async def not_executable(client: RuntimeClient) -> None:
        raise Exit(126, entry_point_error="fork/exec /var/task/bootstrap: exec format error")

    executor.script = not_executable
    await service.deploy(function_version(runtime="provided.al2023"))
    assert json.loads((await service.invoke(invocation())).payload) == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {invocation().request_id} Error: fork/exec /var/task/bootstrap: exec format error",
    }


async def test_init_time_limit_then_timeout_of_the_function(executor: FakeExecutor, logs: Logs) -> None:
    async def never(client: RuntimeClient) -> None:
        await asyncio.Event().wait()

    executor.script = never
    service = RuntimeService(RuntimeConfig(init_timeout_s=0.02), executor, log_sink=logs)
    await service.start()
    await service.deploy(function_version(timeout_s=0.03))
    result = await service.invoke(invocation())
    await service.stop()
    assert json.loads(result.payload)["errorType"] == "Sandbox.Timedout"
    assert "Phase: init\tStatus: timeout" in logs.text


async def test_log_has_platform_lines_in_order(service: RuntimeService, executor: FakeExecutor, logs: Logs) -> None:
    async def talk(client: RuntimeClient) -> None:
        client.sandbox.print(b"loading\n")
        while True:
            request_id, _, body = await client.next()
            client.sandbox.print(b"working\nstill without newline")
            await client.respond(request_id, body)

    executor.script = talk
    await service.deploy(function_version())
    await service.invoke(invocation())
    tail = (await service.invoke(invocation(want_log_tail=True))).log_tail.decode()
    await service.retire(function_version().arn)
    await executor.started[0].exited
    once = ["START", "working", "still", "END", "REPORT"]
    assert [entry.split()[0] for entry in logs.entries] == ["INIT_START", "loading", *once, *once]
    assert [line.split()[0] for line in tail.splitlines()] == once
    assert "Init Duration" in logs.entries[6] and "Init Duration" not in logs.entries[11]
    assert "Max Memory Used: 42 MB" in logs.entries[6]


async def test_response_above_the_limit_is_a_function_error(executor: FakeExecutor) -> None:
    statuses: list[int] = []

    async def long(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        statuses.append(await client.respond(request_id, b"x" * 1001))
        await client.next()

    executor.script = long
    service = RuntimeService(RuntimeConfig(max_response_bytes=1000), executor)
    await service.start()
    await service.deploy(function_version())
    result = await service.invoke(invocation())
    assert json.loads(result.payload) == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (1000 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    await until(lambda: bool(statuses))
    assert statuses == [413]
    await service.stop()


async def test_runtime_api_refuses_a_wrong_request_id_and_a_second_answer(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    statuses: list[int] = []
    tried = asyncio.Event()

    async def confused(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        statuses.append(await client.respond("22222222-2222-4222-8222-222222222222", body))
        statuses.append(await client.respond(request_id, body))
        statuses.append(await client.respond(request_id, b"again"))
        tried.set()
        await client.next()

    executor.script = confused
    await service.deploy(function_version())
    assert (await service.invoke(invocation(b"5"))).payload == b"5"
    await tried.wait()
    assert statuses == [400, 202, 403]


async def test_answers_to_requests_sent_ahead_come_in_their_order(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    statuses: list[int] = []

    async def hurry(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        path = f"/2018-06-01/runtime/invocation/{request_id}/response".encode()
        client.writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1" % path)
        client.writer.write(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
        statuses.append((await client.response())[0])
        status, headers, _ = await client.response()
        statuses.append(status)
        await client.respond(headers["lambda-runtime-aws-request-id"], b"2")
        await client.next()

    async def never_ready(client: RuntimeClient) -> None:
        await asyncio.Event().wait()

    executor.scripts = [hurry, never_ready]
    await service.deploy(function_version())
    results = await asyncio.gather(service.invoke(invocation()), service.invoke(invocation()))
    assert [result.payload for result in results] == [b"1", b"2"]
    assert statuses == [202, 200]


async def test_client_that_closes_its_connection_after_each_request_is_served(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    async def one_by_one(client: RuntimeClient) -> None:
        next_request = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        while True:
            client.writer.write(next_request)
            head, _, body = (await client.reader.read()).partition(b"\r\n\r\n")  # to the end of the connection
            request_id = head.lower().partition(b"request-id: ")[2].partition(b"\r\n")[0].decode()
            await client.connect()
            await client.respond(request_id, body)
            await client.connect()

    executor.script = one_by_one
    await service.deploy(function_version())
    for number in (b"1", b"2"):
        assert (await service.invoke(invocation(number))).payload == number
    assert len(executor.started) == 1


async def test_streamed_response_begins_before_the_handler_ends(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    first_seen = asyncio.Event()

    async def stream(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        head = f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nHost: x\r\n"
        head += "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        client.writer.write(head.encode())
        await first_seen.wait()
        client.writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await client.response()
        await client.next()

    executor.script = stream
    await service.deploy(function_version())
    result = await service.invoke(invocation(streaming=True))
    assert result.stream is not None
    chunks = []
    async for chunk in result.stream:
        chunks.append(chunk)
        first_seen.set()
    assert chunks == [b"one", b"two"]
    assert result.function_error is None
    assert service.concurrency.in_use("000000000000", "us-east-1") == 0


async def test_error_in_mid_stream_is_known_at_the_end(service: RuntimeService, executor: FakeExecutor) -> None:
    async def stream(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        trailers = {"Lambda-Runtime-Function-Error-Type": "Boom", "Lambda-Runtime-Function-Error-Body": "eyJhIjoxfQ=="}
        await client.stream(request_id, [b"part"], trailers)
        await client.next()

    executor.script = stream
    await service.deploy(function_version())
    result = await service.invoke(invocation(streaming=True))
    assert [chunk async for chunk in result.stream] == [b"part"]
    assert (result.function_error, result.payload) == ("Unhandled", b'{"a":1}')


async def test_who_reads_a_response_whose_environment_is_stopped_knows_that_it_is_not_whole(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    async def stream(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        head = f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nHost: x\r\n"
        head += "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        client.writer.write(head.encode())
        await asyncio.Event().wait()

    executor.script = stream
    await service.deploy(function_version())
    result = await service.invoke(invocation(streaming=True))
    assert result.stream is not None
    chunks = []
    async for chunk in result.stream:
        chunks.append(chunk)
        await service.reset()
    assert chunks == [b"one"]
    assert result.function_error == "Unhandled"
    assert json.loads(result.payload)["errorType"] == "Runtime.TruncatedResponse"
    assert service.concurrency.in_use("000000000000", "us-east-1") == 0


async def test_buffered_caller_of_a_streaming_handler_gets_it_whole(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    async def stream(client: RuntimeClient) -> None:
        request_id, _, _ = await client.next()
        await client.stream(request_id, [b'"a', b'b"'])
        await client.next()

    executor.script = stream
    await service.deploy(function_version())
    assert (await service.invoke(invocation())).payload == b'"ab"'


async def test_slow_reader_holds_up_the_function_and_loses_nothing(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    written = 0

    async def flood(client: RuntimeClient) -> None:
        nonlocal written
        request_id, _, _ = await client.next()
        head = f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nHost: x\r\n"
        head += "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.writer.write(head.encode())
        for _ in range(400):
            client.writer.write(b"10000\r\n" + b"z" * 65536 + b"\r\n")
            await client.writer.drain()
            written += 65536
        client.writer.write(b"0\r\n\r\n")
        await client.response()
        await client.next()

    executor.script = flood
    await service.deploy(function_version())
    result = await service.invoke(invocation(streaming=True))
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.02)
    assert written < 400 * 65536
    assert sum([len(chunk) async for chunk in result.stream]) == 400 * 65536


@pytest.mark.parametrize("failure", [OSError("no processes left"), KeyError("no processes left")])
async def test_machine_that_cannot_start_a_sandbox_says_so(
    service: RuntimeService, executor: FakeExecutor, failure: Exception
) -> None:
    executor.fail_start = failure
    await service.deploy(function_version())
    with pytest.raises(EnvironmentNotStarted, match="no processes left"):
        await service.invoke(invocation())
    assert service.concurrency.in_use("000000000000", "us-east-1") == 0
    assert service.environment_count() == 0


async def test_account_pool_and_reserve_throttle_with_their_reasons(executor: FakeExecutor) -> None:
    gate = asyncio.Event()

    async def wait(client: RuntimeClient) -> None:
        while True:
            request_id, _, body = await client.next()
            await gate.wait()
            await client.respond(request_id, body)

    executor.script = wait
    service = RuntimeService(RuntimeConfig(concurrency_limit=2), executor)
    await service.start()
    version = function_version()
    await service.deploy(version)
    running = [asyncio.create_task(service.invoke(invocation())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Throttled, match=ACCOUNT_LIMIT_EXCEEDED):
        await service.invoke(invocation())
    service.concurrency.set_reserved("000000000000", "us-east-1", version.function_arn, 0)
    with pytest.raises(Throttled, match=RESERVED_LIMIT_EXCEEDED):
        await service.invoke(invocation())
    gate.set()
    await asyncio.gather(*running)
    service.concurrency.set_reserved("000000000000", "us-east-1", version.function_arn, None)
    assert (await service.invoke(invocation(b"7"))).payload == b"7"
    await service.stop()


async def test_idle_environment_is_stopped(executor: FakeExecutor) -> None:
    service = RuntimeService(RuntimeConfig(idle_timeout_s=0.02), executor)
    await service.start()
    await service.deploy(function_version())
    await service.invoke(invocation())
    await executor.started[0].exited
    assert service.environment_count() == 0
    assert (await service.invoke(invocation(b"8"))).payload == b"8"
    await service.stop()


async def test_environment_that_dies_while_idle_is_not_used_again(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    await service.deploy(function_version())
    await service.invoke(invocation())
    executor.started[0].kill()
    await executor.started[0].exited
    assert (await service.invoke(invocation(b"9"))).payload == b"9"
    assert len(executor.started) == 2


async def test_caller_that_goes_away_does_not_stop_the_function(
    service: RuntimeService, executor: FakeExecutor
) -> None:
    gate, answered = asyncio.Event(), asyncio.Event()

    async def wait(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        await gate.wait()
        assert await client.respond(request_id, body) == 202
        answered.set()
        await echo(client)

    executor.script = wait
    await service.deploy(function_version())
    call = asyncio.create_task(service.invoke(invocation()))
    await until(lambda: bool(executor.started))
    call.cancel()
    gate.set()
    await answered.wait()
    assert (await service.invoke(invocation(b"10"))).payload == b"10"
    assert len(executor.started) == 1


async def test_stop_fails_what_runs_and_refuses_what_comes(executor: FakeExecutor) -> None:
    async def hang(client: RuntimeClient) -> None:
        await client.next()
        await asyncio.Event().wait()

    executor.script = hang
    service = RuntimeService(RuntimeConfig(), executor)
    await service.start()
    await service.deploy(function_version())
    call = asyncio.create_task(service.invoke(invocation()))
    await until(lambda: bool(executor.started))
    await service.stop()
    with pytest.raises((EnvironmentNotStarted, ServiceStopped)):
        await call
    with pytest.raises(ServiceStopped):
        await service.invoke(invocation())
    assert not executor.running


async def test_after_a_reset_nothing_of_before_is_logged(
    service: RuntimeService, executor: FakeExecutor, logs: Logs
) -> None:
    await service.deploy(function_version())
    await service.invoke(invocation())
    (sandbox,) = executor.started
    sandbox.spec.on_output(b"before\n")
    await service.reset()
    assert "before\n" in logs.entries
    sandbox.spec.on_output(b"after\n")
    await service.deploy(function_version())
    await service.invoke(invocation())
    executor.started[-1].spec.on_output(b"of the next\n")
    await service.reset()
    assert "of the next\n" in logs.entries
    assert "after\n" not in logs.entries
