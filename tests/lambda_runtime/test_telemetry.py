"""What subscribers of telemetry get, and how."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.runtime_api.routes import Refused
from lambda_runtime.runtime_api.telemetry import parse_subscription
from lambda_runtime.service import RuntimeService
from lambda_runtime.subscriptions import Event, Subscription, SubscriptionRequest

from .fakes import ExtensionClient, FakeExecutor, RuntimeClient, function_version, invocation, until

LOGS = "/2020-08-15/logs"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"


class Receiver:
    """A listener for telemetry."""

    def __init__(self) -> None:
        self.batches: list[list[dict]] = []
        self.heads: list[str] = []
        self.lines: list[dict] = []
        self.refuse = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.port = 0
        self._socket = socket.socket()
        self._servers: list[asyncio.Server] = []

    def bind(self) -> int:
        """Have a port at which nobody listens yet; `start` will."""
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        return self.port

    async def start(self, *, tcp: bool = False) -> int:
        if not self.port:
            self.bind()
        server = await asyncio.start_server(self._read_lines if tcp else self._serve, sock=self._socket)
        self._servers.append(server)
        return self.port

    def stop(self) -> None:
        for server in self._servers:
            server.close()
        self._socket.close()

    @property
    def events(self) -> list[dict]:
        return [event for batch in self.batches for event in batch]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("Content-Length"))
        batch = json.loads(await reader.readexactly(length))
        await self.gate.wait()
        if self.refuse:
            self.refuse -= 1
            writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        else:
            self.heads.append(head)
            self.batches.append(batch)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        writer.close()

    async def _read_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.lines.append(json.loads(line))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def config() -> RuntimeConfig:
    return RuntimeConfig(shutdown_timeout_s=0.6)


def subscriber(receiver: Receiver, answers: list | None = None, **changes: Any) -> Any:
    """An extension that subscribes and takes its events."""

    async def extension(client: ExtensionClient) -> None:
        await client.register("ext", "INVOKE", "SHUTDOWN")
        buffering = {"buffering": {"timeoutMs": 25}}
        answer = await client.subscribe(receiver.port, **{**buffering, **changes})
        if answers is not None:
            answers.append(answer)
        while (await client.next_event())["eventType"] != "SHUTDOWN":
            pass

    return extension


async def prints(client: RuntimeClient) -> None:
    while True:
        request_id, _, body = await client.next()
        client.sandbox.print(b"working\n")
        await client.respond(request_id, body)


async def test_the_events_of_an_environment_come_in_order(
    service: RuntimeService, executor: FakeExecutor, receiver: Receiver
) -> None:
    await receiver.start()
    answers: list[Any] = []
    executor.extensions["ext"], executor.script = subscriber(receiver, answers), prints
    await service.deploy(function_version())
    await service.invoke(invocation(b"[1]", trace_header="Root=1-2-3;Parent=4;Sampled=1"))
    await service.stop()
    assert answers == [(200, "OK")]
    assert receiver.types == [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "function",
        "platform.runtimeDone",
        "platform.report",
    ] or receiver.types[2:4] == ["platform.extension", "platform.initRuntimeDone"]
    records = {event["type"]: event["record"] for event in receiver.events}
    tracing = {"spanId": "4", "type": "X-Amzn-Trace-Id", "value": "Root=1-2-3;Parent=4;Sampled=1"}
    assert records["platform.initStart"]["functionName"] == "fn"
    assert records["platform.initReport"]["phase"] == "init"
    assert records["platform.extension"] == {"name": "ext", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
    assert records["platform.telemetrySubscription"] == {
        "name": "ext",
        "state": "Subscribed",
        "types": ["platform", "function", "extension"],
    }
    start = {"requestId": invocation().request_id, "version": "$LATEST", "tracing": tracing}
    assert records["platform.start"] == start
    assert records["function"] == "working"
    done = records["platform.runtimeDone"]
    assert (done["status"], done["metrics"]["producedBytes"], done["tracing"]) == ("success", 3, tracing)
    assert [span["name"] for span in done["spans"]] == ["responseLatency", "responseDuration", "runtimeOverhead"]
    metrics = records["platform.report"]["metrics"]
    assert (metrics["memorySizeMB"], metrics["maxMemoryUsedMB"]) == (128, 42)
    assert "POST /events HTTP/1.1" in receiver.heads[0]


async def test_the_runtime_is_done_before_the_extension_is(
    service: RuntimeService, executor: FakeExecutor, receiver: Receiver
) -> None:
    """Extensions wait for platform.runtimeDone before they ask for their next event."""
    await receiver.start()

    async def extension(client: ExtensionClient) -> None:
        await client.register("ext", "INVOKE")
        await client.subscribe(receiver.port, buffering={"timeoutMs": 25})
        for count in (1, 2, 3):
            await client.next_event()
            await until(lambda count=count: receiver.types.count("platform.runtimeDone") == count)
            assert receiver.types.count("platform.report") == count - 1

    executor.extensions["ext"] = extension
    await service.deploy(function_version())
    for count in (1, 2):
        await service.invoke(invocation())
        # Until then the environment is not free for the next.
        await until(lambda count=count: receiver.types.count("platform.report") == count)
    assert len(executor.started) == 1


async def test_only_the_types_that_were_asked_for_come(
    service: RuntimeService, executor: FakeExecutor, receiver: Receiver
) -> None:
    await receiver.start()
    executor.extensions["ext"], executor.script = subscriber(receiver, types=["function"]), prints
    await service.deploy(function_version())
    await service.invoke(invocation())
    await service.stop()
    assert receiver.types == ["function"]


async def test_lines_in_json_are_records_for_functions_that_log_in_json(
    service: RuntimeService, executor: FakeExecutor, receiver: Receiver
) -> None:
    async def logs_json(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        client.sandbox.print(b'{"level":"INFO"}\nplain\n[1]\n')
        await client.respond(request_id, body)
        await client.next()

    await receiver.start()
    executor.extensions["ext"], executor.script = subscriber(receiver, types=["function"]), logs_json
    await service.deploy(function_version(log_format="JSON"))
    await service.invoke(invocation())
    await service.stop()
    assert [event["record"] for event in receiver.events] == [{"level": "INFO"}, "plain", "[1]"]


async def test_the_logs_api_has_its_own_events(
    service: RuntimeService, executor: FakeExecutor, receiver: Receiver
) -> None:
    await receiver.start()

    async def extension(client: ExtensionClient) -> None:
        await client.register("ext", "INVOKE", "SHUTDOWN")
        request = {"types": ["platform", "function"], "buffering": {"timeoutMs": 25}}
        request["destination"] = {"protocol": "HTTP", "URI": f"http://sandbox:{receiver.port}", "method": "PUT"}
        assert (await client.call("PUT", LOGS, {**request, "schemaVersion": "2021-03-18"}))[0] == 200
        status, error = await client.subscribe(receiver.port)
        assert (status, error["errorType"]) == (403, "Telemetry.AlreadySubscribed")
        while (await client.next_event())["eventType"] != "SHUTDOWN":
            pass

    executor.extensions["ext"], executor.script = extension, prints
    await service.deploy(function_version())
    await service.invoke(invocation())
    await service.stop()
    assert receiver.types == [
        "platform.logsSubscription",
        "platform.extension",
        "platform.start",
        "function",
        "platform.runtimeDone",
        "platform.end",
        "platform.report",
    ]
    assert receiver.events[4]["record"] == {"requestId": invocation().request_id, "status": "success"}
    assert receiver.heads[0].startswith("PUT / ")


async def test_nobody_can_subscribe_after_the_init_phase(
    service: RuntimeService, executor: FakeExecutor, receiver: Receiver
) -> None:
    await receiver.start()
    answers: list[Any] = []

    async def late(client: ExtensionClient) -> None:
        await client.register("ext", "INVOKE")
        await client.next_event()
        answers.append(await client.subscribe(receiver.port))
        await client.next_event()

    executor.extensions["ext"] = late
    await service.deploy(function_version())
    await service.invoke(invocation())
    await until(lambda: bool(answers))
    assert (answers[0][0], answers[0][1]["errorType"]) == (403, "Telemetry.SubscriptionClosed")


async def test_subscribing_twice_brings_every_event_once(
    service: RuntimeService, executor: FakeExecutor, receiver: Receiver
) -> None:
    await receiver.start()

    async def twice(client: ExtensionClient) -> None:
        await client.register("ext", "SHUTDOWN")
        for _ in range(2):
            assert await client.subscribe(receiver.port, types=["platform"]) == (200, "OK")
        await client.next_event()

    executor.extensions["ext"] = twice
    await service.deploy(function_version())
    await service.invoke(invocation())
    await service.stop()
    assert len(receiver.types) == len(set(receiver.types))


# --- a subscription by itself


def request(port: int, **changes: Any) -> SubscriptionRequest:
    values: dict[str, Any] = {"max_items": 1000, "timeout_ms": 30_000, **changes}
    return SubscriptionRequest("telemetry", "2022-07-01", ("function",), port, values.pop("path", "/"), **values)


@pytest.fixture
async def subscribe(receiver: Receiver) -> AsyncIterator[Callable[..., Subscription]]:
    made: list[Subscription] = []

    def make(port: int, **changes: Any) -> Subscription:
        def render(event: Event, request: SubscriptionRequest) -> bytes:
            return json.dumps({"type": "function", "record": event.stream}).encode()

        loop = asyncio.get_running_loop()
        made.append(Subscription(request(port, **changes), render, lambda: "127.0.0.1", loop))
        return made[-1]

    yield make
    for subscription in made:
        subscription.close()


def add(subscription: Subscription, *names: str) -> None:
    for name in names:
        subscription.add(Event(name, 0.0, None, None))


def names(receiver: Receiver) -> list[list[str]]:
    return [[event["record"] for event in batch] for batch in receiver.batches]


async def test_a_batch_leaves_when_it_is_full(receiver: Receiver, subscribe: Callable[..., Subscription]) -> None:
    subscription = subscribe(await receiver.start(), max_items=2)
    add(subscription, "a", "b", "c")
    await subscription.flush()
    assert names(receiver) == [["a", "b"], ["c"]]


async def test_a_batch_leaves_when_it_is_large(receiver: Receiver, subscribe: Callable[..., Subscription]) -> None:
    subscription = subscribe(await receiver.start(), max_bytes=100)
    add(subscription, "x" * 50, "y" * 50)
    await until(lambda: len(receiver.batches) == 1)


async def test_a_batch_leaves_when_its_time_is_up(receiver: Receiver, subscribe: Callable[..., Subscription]) -> None:
    subscription = subscribe(await receiver.start(), timeout_ms=25)
    add(subscription, "a")
    assert receiver.batches == []
    await until(lambda: names(receiver) == [["a"]])
    add(subscription, "b", "c")
    await until(lambda: names(receiver) == [["a"], ["b", "c"]])


async def test_a_batch_that_was_refused_comes_again_before_the_next(
    receiver: Receiver, subscribe: Callable[..., Subscription]
) -> None:
    receiver.refuse = 2
    subscription = subscribe(await receiver.start())
    add(subscription, "a")
    delivered = subscription.flush()
    add(subscription, "b")
    await delivered
    assert [name for batch in names(receiver) for name in batch] == ["a", "b"]


async def test_a_listener_may_come_late(receiver: Receiver, subscribe: Callable[..., Subscription]) -> None:
    subscription = subscribe(receiver.bind())
    add(subscription, "a")
    delivered = subscription.flush()
    await asyncio.sleep(0.02)
    await receiver.start()
    await delivered
    assert names(receiver) == [["a"]]


async def test_what_does_not_fit_is_dropped_and_counted(
    receiver: Receiver, subscribe: Callable[..., Subscription]
) -> None:
    receiver.gate.clear()
    size = len(json.dumps({"type": "function", "record": "a"}))
    subscription = subscribe(await receiver.start(), max_bytes=size)  # One event a batch, eight may wait.
    add(subscription, *"abcdefghij")
    delivered = subscription.flush()
    receiver.gate.set()
    await delivered
    (first,), (dropped,), *rest = receiver.batches
    assert first["record"] == "a"
    assert dropped["type"] == "platform.logsDropped"
    assert (dropped["record"]["droppedRecords"], dropped["record"]["droppedBytes"]) == (2, 2 * size)
    assert [event["record"] for (event,) in rest] == list("bcdefgh")


async def test_tcp_gets_lines(receiver: Receiver, subscribe: Callable[..., Subscription]) -> None:
    subscription = subscribe(await receiver.start(tcp=True), path=None)
    add(subscription, "a", "b")
    await subscription.flush()
    add(subscription, "c")
    await subscription.flush()
    await until(lambda: [line["record"] for line in receiver.lines] == ["a", "b", "c"])


async def test_a_closed_subscription_tries_no_more(subscribe: Callable[..., Subscription]) -> None:
    subscription = subscribe(1)
    add(subscription, "a")
    delivery = subscription.flush()
    subscription.close()
    subscription.close()
    await asyncio.wait([delivery])
    assert delivery.cancelled()


# --- requests

FINE: dict[str, Any] = {
    "schemaVersion": "2022-07-01",
    "types": ["platform", "function", "platform"],
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/a?b=c"},
}


def test_a_request_and_its_defaults() -> None:
    parsed = parse_subscription("telemetry", json.dumps(FINE).encode())
    assert (parsed.port, parsed.path, parsed.types) == (8080, "/a?b=c", ("platform", "function"))
    assert (parsed.max_items, parsed.max_bytes, parsed.timeout_ms) == (10_000, 262_144, 1_000)


@pytest.mark.parametrize("uri", ["tcp://sandbox:8080", "sandbox.localdomain:8080"])
def test_a_tcp_destination(uri: str) -> None:
    destination = {"protocol": "TCP", "URI": uri}
    parsed = parse_subscription("telemetry", json.dumps({**FINE, "destination": destination}).encode())
    assert (parsed.port, parsed.path) == (8080, None)


def test_the_logs_api_has_a_default_version() -> None:
    body = {name: value for name, value in FINE.items() if name != "schemaVersion"}
    assert parse_subscription("logs", json.dumps(body).encode()).schema_version == "2020-08-15"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"destination": {"protocol": "HTTP", "URI": "http://sandbox"}, "types": []},
            "URI port is not provided; types sho",
        ),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox:1"}}, "scheme"),
        ({"destination": {"protocol": "HTTP", "URI": "http://example.com:80"}}, "host"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:9001"}}, "reserved"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:99999"}}, "port"),
        ({"destination": {"protocol": "UDP", "URI": "udp://sandbox:1"}}, "HTTP or TCP"),
        ({"destination": None}, "destination"),
        ({"schemaVersion": "2020-08-15"}, "schemaVersion"),
        ({"types": ["metrics"]}, "metrics"),
        ({"buffering": {"maxItems": 999}}, "maxItems should be between 1000 and 10000"),
        ({"buffering": {"maxBytes": 1_048_577}}, "maxBytes"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words) as raised:
        parse_subscription("telemetry", json.dumps({**FINE, **changes}).encode())
    assert (raised.value.status, raised.value.error_type) == (400, "ValidationError")
    with pytest.raises(Refused) as raised:
        parse_subscription("logs", b"[]")
    assert raised.value.error_type == "Logs.ValidationError"


async def test_a_failed_init_phase_is_told(service: RuntimeService, executor: FakeExecutor, receiver: Receiver) -> None:
    async def fails(client: RuntimeClient) -> None:
        await client.request("POST", "/2018-06-01/runtime/init/error", b"{}", {ERROR_TYPE: "Runtime.ImportModuleError"})

    await receiver.start()
    executor.extensions["ext"], executor.script = subscriber(receiver, types=["platform"]), fails
    await service.deploy(function_version())
    assert (await service.invoke(invocation())).function_error == "Unhandled"
    await until(lambda: "platform.report" in receiver.types)
    done = next(event["record"] for event in receiver.events if event["type"] == "platform.initRuntimeDone")
    assert (done["phase"], done["status"], done["errorType"]) == ("init", "error", "Runtime.ImportModuleError")
    assert "platform.initReport" in receiver.types
    assert [event["record"]["status"] for event in receiver.events if event["type"] == "platform.runtimeDone"] == [
        "error"
    ]
