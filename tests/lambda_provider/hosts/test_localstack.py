"""What the LocalStack adapter is made of, without LocalStack; the rest is in tests/scenarios/test_localstack_host.py."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import distribution, entry_points
from typing import Any

import pytest

from lambda_provider.context import DEFAULT_ACCOUNT_ID
from lambda_provider.host import LogEvent
from lambda_provider.hosts import localstack
from lambda_provider.hosts.loop_thread import LoopThread
from lambda_provider.hosts.telemetry import AlwaysThere, Telemetry
from lambda_provider.hosts.threaded_body import ThreadedBody

ROLE = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/some"


@pytest.mark.skipif(importlib.util.find_spec("localstack") is not None, reason="LocalStack is installed")
def test_the_module_can_be_imported_without_localstack_and_says_who_loads_it() -> None:
    (host,) = (point.load() for point in entry_points(group="lambda_provider.hosts", name="localstack"))
    assert host is localstack.LocalStackHost
    with pytest.raises(LookupError, match="PROVIDER_OVERRIDE_LAMBDA=lambda-provider"):
        host()


def test_localstack_finds_every_plugin_by_an_entry_point_of_ours() -> None:
    ours = {
        (point.group, point.name, point.value.rpartition(":")[2])
        for point in distribution("lambda-provider").entry_points
        if point.group.startswith("localstack.")
    }
    assert ours == {
        ("localstack.aws.provider", f"lambda:{localstack.NAME}", "provider"),
        ("localstack.hooks.on_infra_start", "lambda_provider", "take_what_it_cannot_parse"),
        ("localstack.hooks.on_infra_ready", "lambda_provider", "restore"),
    }


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread("test")
    yield thread
    thread.stop()


class Chunks:
    """A body that knows whether it was closed."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.left = list(chunks)
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        if not self.left:
            raise StopAsyncIteration
        chunk = self.left.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    async def aclose(self) -> None:
        self.closed = True


def test_chunks_of_a_body_cross_one_by_one(thread: LoopThread) -> None:
    chunks = Chunks(b"one", b"two", b"three")
    body = iter(ThreadedBody(chunks, thread.run))
    assert next(body) == b"one"
    assert chunks.left == [b"two", b"three"]
    assert list(body) == [b"two", b"three"]


def test_a_body_that_nobody_reads_is_closed(thread: LoopThread) -> None:
    chunks = Chunks(b"one")
    ThreadedBody(chunks, thread.run).close()
    assert chunks.closed


def test_a_body_that_breaks_off_raises(thread: LoopThread) -> None:
    body = ThreadedBody(Chunks(b"one", ValueError("broken")), thread.run)
    assert next(body) == b"one"
    with pytest.raises(ValueError, match="broken"):
        next(body)


class SlowUpstream:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.arrived = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def request(self, method: bytes, target: bytes, headers: Any, body: bytes) -> Any:
        self.requests.append(body)
        self.arrived.set()
        await self.may_answer.wait()
        return self

    status = 200

    async def read(self) -> bytes:
        return b""

    def close(self) -> None:
        pass


async def test_deliveries_end_with_the_request_that_is_under_way() -> None:
    upstream = SlowUpstream()
    telemetry = Telemetry(AlwaysThere(), upstream)  # type: ignore[arg-type]
    metric = {"MetricName": "Invocations", "Value": 1.0}
    telemetry.add_metrics(DEFAULT_ACCOUNT_ID, "us-east-1", "AWS/Lambda", [metric])
    telemetry.add_metrics(DEFAULT_ACCOUNT_ID, "eu-west-1", "AWS/Lambda", [metric])
    await upstream.arrived.wait()
    ending = asyncio.ensure_future(telemetry.end())
    await asyncio.sleep(0)
    assert not ending.done()
    upstream.may_answer.set()
    await ending
    telemetry.add_metrics(DEFAULT_ACCOUNT_ID, "us-east-1", "AWS/Lambda", [metric])
    await telemetry.flush()
    assert len(upstream.requests) == 1
    await telemetry.stop()


async def test_what_is_dropped_while_others_are_delivered_stops_nothing() -> None:
    upstream = SlowUpstream()
    telemetry = Telemetry(AlwaysThere(), upstream, max_bytes=200)  # type: ignore[arg-type]

    def write(name: str) -> None:
        telemetry.add_logs(DEFAULT_ACCOUNT_ID, "us-east-1", "group", name, [LogEvent(0, name * 60)])

    for name in "ab":
        write(name)
    await upstream.arrived.wait()
    for name in "cd":
        write(name)
    assert telemetry.dropped_events == 2
    upstream.may_answer.set()
    assert telemetry._task is not None
    await telemetry._task
    lines = [event["message"][0] for body in map(json.loads, upstream.requests) for event in body.get("logEvents", ())]
    assert sorted(set(lines)) == ["a", "c", "d"]
    await telemetry.stop()


def test_roles_are_assumed_and_ended_sessions_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("moto")
    from moto.sts.models import sts_backends

    from lambda_provider.hosts import moto_sessions

    backend = sts_backends[DEFAULT_ACCOUNT_ID]["aws"]
    before = len(backend.assumed_roles)
    sessions = moto_sessions.RoleSessions()
    monkeypatch.setattr(moto_sessions, "SESSION_S", -1)
    first = sessions.assume(ROLE, "us-east-1", "session")
    second = sessions.assume(ROLE, "us-east-1", "session")
    assert first.access_key_id != second.access_key_id
    assert len(backend.assumed_roles) == before + 1
    role = backend.get_assumed_role_from_access_key(second.access_key_id)
    assert role is not None
    assert role.arn == f"arn:aws:sts::{DEFAULT_ACCOUNT_ID}:assumed-role/some/session"
    assert role.secret_access_key == second.secret_access_key
