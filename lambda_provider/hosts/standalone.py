"""The Host protocol for the standalone gateway: every other AWS service is moto's, in a child process."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lambda_provider.asgi import Receive, Scope, Send
from lambda_provider.host import ContainerImage, FunctionCredentials, LogEvent, ServiceUnavailable
from lambda_provider.hosts.activity import ActivityFeed
from lambda_provider.hosts.clients import make_client
from lambda_provider.hosts.credentials import RoleSession, issue_credentials
from lambda_provider.hosts.identities import Identities
from lambda_provider.hosts.moto_buckets import bucket_in_host
from lambda_provider.hosts.moto_process import MotoProcess
from lambda_provider.hosts.proxy import MotoProxy
from lambda_provider.hosts.registry.gateway import GatewayRegistry
from lambda_provider.hosts.services.link import Way
from lambda_provider.hosts.telemetry import Telemetry
from lambda_provider.hosts.upstream import Header, Upstream, UpstreamError


class StandaloneHost:
    """The host when there is no emulator around us.

    Settings are the process's environment variables. Requests that are not Lambda's go to `behind`; the first one starts moto,
    and so does the first client. Without moto installed these raise `ServiceUnavailable`, answer 503, and logs stay in memory,
    the oldest dropped. Methods may be called from any thread once `start` is done.
    """

    name = "standalone"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.settings: Mapping[str, str] = dict(os.environ if settings is None else settings)
        self.moto = MotoProcess(self.settings)
        self._upstream = Upstream("127.0.0.1", self.moto.port)
        self.telemetry = Telemetry(self.moto, self._upstream)
        self.activity = ActivityFeed()
        self.moto.on_ready.append(self.activity.began)
        self.moto.on_report = self.activity.feed
        self.registry = GatewayRegistry(self.settings, self._ask_ecr)
        self.behind = self._route
        self._proxy = MotoProxy(self.moto, self._upstream, self.telemetry)
        self._is_bucket = bucket_in_host(self.settings)
        self.identities = Identities(self.moto, self._upstream)
        self.service_token = secrets.token_urlsafe(24)
        self._url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Future[None] | None = None
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._clients_lock = threading.Lock()

    async def start(self, url: str) -> None:
        """`url` is where the gateway listens. Starts no process."""
        self._url = url
        self._loop = asyncio.get_running_loop()
        self.moto.tell(Way(url.rstrip("/"), self.service_token, self.function_endpoint_url() or url))
        self.moto.tell(self.registry.open(url))

    def keep_in(self, directory: Path) -> None:
        """Images of ECR are kept in the state directory. Before `start`."""
        self.registry.keep_in(directory / "registry")

    async def reachable_at(self, url: str) -> None:
        """The gateway's URL, if `start` was not told it. Before anything needs it."""
        await self.start(url)

    async def reset(self) -> None:
        """Empty the other services, if they run, and forget what functions wrote and who issued which key."""
        await self.telemetry.forget()
        if self.moto.wanted:
            with contextlib.suppress(ServiceUnavailable):
                await self._empty_moto()
        await self.registry.forget()
        self.identities.forget()

    async def stop(self) -> None:
        """End moto, and with it what the other services held. May be called twice."""
        await self.telemetry.stop()
        self._upstream.close()
        await self.moto.stop()
        await self.registry.close()

    def before_reading(self, hand_over: Callable[[], None]) -> None:
        """Call this on the gateway's loop whenever somebody is about to read logs or metrics."""
        self.telemetry.on_read.append(hand_over)

    def services(self) -> Mapping[str, Any]:
        """What runs, for the health page."""
        moto: dict[str, Any] = {"state": "running" if self.moto.running else "starting" if self.moto.wanted else "idle"}
        if importlib.util.find_spec("moto") is None:
            moto["state"] = "not installed"
        moto.update(pid=self.moto.pid, starts=self.moto.starts, dropped_log_events=self.telemetry.dropped_events)
        return {"lambda": {"state": "running"}, "moto": moto}

    # The Host protocol

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        """A botocore client that talks to moto directly, kept for the next caller; for `lambda`, to the gateway.

        The first call for a service takes some 50 ms, and the first request waits for moto to start.
        """
        if service != "lambda":
            if importlib.util.find_spec("moto") is None:
                raise ServiceUnavailable(f"{service} needs moto: pip install 'lambda-provider[standalone]'")
            self._on_loop(self._start_moto)
        key = (service, account_id, region)
        with self._clients_lock:
            if key not in self._clients:
                url = self._url if service == "lambda" else self.moto.url
                self._clients[key] = make_client(service, account_id, region, url)
            return self._clients[key]

    def find_image(self, uri: str) -> ContainerImage | None:
        """The image of the gateway's ECR, as its registry has it; moto is not asked."""
        return self.registry.find_image(uri)

    def function_endpoint_url(self) -> str | None:
        """The gateway itself, or `LAMBDA_FUNCTION_ENDPOINT_URL` for functions that see it under another name."""
        return self.settings.get("LAMBDA_FUNCTION_ENDPOINT_URL") or self._url or None

    def issue_credentials(
        self, *, role_arn: str, account_id: str, region: str, session_name: str
    ) -> FunctionCredentials:
        """Temporary credentials that the gateway sees as `account_id`'s and moto as those of the role; nothing is stored."""
        return issue_credentials(account_id, RoleSession(role_arn, session_name, region))

    def put_log_events(
        self, *, account_id: str, region: str, log_group: str, log_stream: str, events: Sequence[LogEvent]
    ) -> None:
        """Append to a stream; see `telemetry` for when it is delivered."""
        self._on_loop(self.telemetry.add_logs, account_id, region, log_group, log_stream, events)

    def put_metric_data(
        self, *, account_id: str, region: str, namespace: str, metrics: Sequence[Mapping[str, Any]]
    ) -> None:
        """Record metrics; see `telemetry` for when they are delivered."""
        self._on_loop(self.telemetry.add_metrics, account_id, region, namespace, metrics)

    async def _route(self, scope: Scope, receive: Receive, send: Send, *, service: str = "") -> None:
        """What Docker asks is for the registry, everything else for moto."""
        if self.registry.takes(scope, service, self._is_bucket):
            await self.registry(scope, receive, send)
            return
        await self._proxy(scope, receive, send, service=service)
        if service in GatewayRegistry.CHANGED_BY:
            self.registry.changed()

    async def _ask_ecr(self, headers: list[Header], body: bytes) -> tuple[int, bytes]:
        await self.moto.ready()
        try:
            response = await self._upstream.request(b"POST", b"/", headers, body)
            try:
                return response.status, await response.read()
            finally:
                response.close()
        except (UpstreamError, OSError) as error:
            raise ServiceUnavailable(f"ECR does not answer: {error}") from error

    async def _empty_moto(self) -> None:
        await self.moto.ready()
        headers = [(b"host", b"localhost"), (b"content-length", b"0")]
        response = await self._upstream.request(b"POST", b"/moto-api/reset", headers)
        try:
            answer = await response.read()
        finally:
            response.close()
        if response.status != 200:
            raise RuntimeError(f"moto could not be emptied: {answer.decode('utf-8', 'replace')}")

    def _start_moto(self) -> None:
        self._starting = asyncio.ensure_future(self.moto.ready())
        # Who needs moto asks for it and gets the error then.
        self._starting.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _on_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._loop is None:
            raise RuntimeError("the host was not started")
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)
