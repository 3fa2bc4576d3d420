"""A standalone host behind a real server in a thread, with a wire that answers what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from lambda_provider.asgi import LambdaApplication
from lambda_provider.hosts.server import GatewayServer, listen, new_event_loop, url_of
from lambda_provider.hosts.standalone import StandaloneHost
from lambda_provider.wire.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class EchoWire:
    """Answers the body of the request; `handler` may be replaced by a test."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.handler: Handler = self._echo

    def matches(self, method: str, path: str) -> bool:
        return path.startswith("/2015-03-31/")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return await self.handler(request)

    def refuse_too_large(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(413, [], b"too large")

    async def _echo(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, [("content-type", "application/json"), ("x-path", request.path)], request.body)


class LocalGateway:
    """The server, its host and its loop in a thread of their own."""

    def __init__(self) -> None:
        self.wire = EchoWire()
        self._listener = listen("127.0.0.1", 0)
        self.url = url_of(self._listener, "127.0.0.1")
        self.port = int(self.url.rpartition(":")[2])
        self.host = StandaloneHost({})
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the gateway's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function on the gateway's loop and return its result."""

        async def work() -> Any:
            return function()

        return self.run(work())

    @contextlib.contextmanager
    def connect(self) -> Iterator[socket.socket]:
        """A raw connection, with a time limit so that a hanging gateway fails the test."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            yield connection

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.host.start(self.url)
        application = LambdaApplication(self.wire, behind=self.host.behind, learn=self.host.identities.learn)
        self._server = GatewayServer(application, self._ready.set)
        try:
            await self._server.serve([self._listener])
        finally:
            await self.host.stop()


@pytest.fixture
def local_gateway() -> Iterator[LocalGateway]:
    """A gateway for one test, whose moto was not started yet."""
    gateway = LocalGateway()
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def moto_gateway() -> Iterator[LocalGateway]:
    """A gateway for a module: its moto is started once, tests use names of their own."""
    gateway = LocalGateway()
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def client() -> Callable[..., Any]:
    """`client(gateway, "s3", account=…, region=…)`: a boto3 client without retries."""
    import boto3
    from botocore.config import Config

    def make(
        gateway: LocalGateway, service: str, account: str = "000000000000", region: str = "us-east-1", **config: Any
    ) -> Any:
        credentials = {name: config.pop(name) for name in list(config) if name.startswith("aws_")}
        settings = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, "read_timeout": 60}
        return boto3.session.Session().client(
            service,
            region_name=region,
            endpoint_url=gateway.url,
            config=Config(**{**settings, **config}),
            **{"aws_access_key_id": account, "aws_secret_access_key": "test", **credentials},
        )

    return make


def read_response(connection: socket.socket, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
    """One HTTP response from a raw connection: status, headers with lower-case names, body."""
    from http.client import HTTPResponse

    response = HTTPResponse(connection, method="HEAD" if head else "GET")
    response.begin()
    body = response.read()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body


@pytest.fixture(scope="session")
def read() -> Callable[..., tuple[int, dict[str, str], bytes]]:
    return read_response
