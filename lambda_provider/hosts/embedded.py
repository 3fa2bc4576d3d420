"""Lambda as an ASGI application that somebody else's server runs, or mounts at a path.

Importing this and making an application costs nothing and starts nothing: what it needs is imported when it starts.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lambda_provider.urls.addresses import address_of

if TYPE_CHECKING:
    from lambda_provider.hosts.application import HostedLambda

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class EmbeddedApplication:
    """An ASGI application that has everything of the gateway but the server.

    It starts with the server's lifespan; or, where the server sends none, as for an application that is mounted in another
    one, at the first request. It ends with the lifespan, or with the event loop. One application belongs to one loop.

    What is not given is read from the environment, or from `settings`, which are taken before it: `host` (LAMBDA_HOST_ADAPTER, by
    default `standalone`) is a host, or the name of a plugin; `executor` (LAMBDA_EXECUTOR, `process`); `state_dir`
    (LAMBDA_STATE_DIR, none). `url` is where clients and functions reach the application, for functions' `AWS_ENDPOINT_URL`;
    unless it is given, or LAMBDA_FUNCTION_ENDPOINT_URL is set, it is learned from the first request.
    """

    def __init__(
        self,
        *,
        host: Any = None,
        executor: str | None = None,
        state_dir: str | Path | None = None,
        settings: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> None:
        if settings is not None and host is not None and not isinstance(host, str):
            raise TypeError("a host has its own settings: give it them, or name the host for these to be given to it")
        self._host = host
        self._executor = executor
        self._state_dir = state_dir
        self._settings = settings
        self._url = url or ""
        self._hosted: HostedLambda | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._until_loop_ends: AsyncGenerator[None, None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._hosted is None or self._loop is not asyncio.get_running_loop():
            await self._start_late()
        assert self._hosted is not None
        if not self._url:
            self._url = url_of(scope)
            await self._hosted.reachable_at(self._url)
        await self._hosted.application(as_if_at_the_root(scope), receive, send)

    async def start(self) -> None:
        """Take requests from now on, on this event loop. May be called twice.

        Raises LookupError for an unknown host or executor, ValueError for a setting and StateError for a state directory that
        cannot be used.
        """
        if self._hosted is not None:
            return
        hosted = self._assembled()
        await hosted.start(self._url)
        self._hosted, self._loop = hosted, asyncio.get_running_loop()

    async def stop(self) -> None:
        """End functions, and what else was started. May be called twice; `start` may follow."""
        hosted, self._hosted, self._loop = self._hosted, None, None
        if hosted is not None:
            await hosted.stop()

    @property
    def hosted(self) -> HostedLambda:
        """What runs. Raises RuntimeError before the start."""
        if self._hosted is None:
            raise RuntimeError("the application was not started")
        return self._hosted

    @asynccontextmanager
    async def lifespan(self, application: Any = None) -> AsyncIterator[None]:
        """`start` and `stop` for the application that mounts this one: `Starlette(lifespan=this.lifespan, …)`."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    def _assembled(self) -> HostedLambda:
        from lambda_provider.hosts.application import HostedLambda

        settings = {**os.environ, **(self._settings or {})}
        host = self._host or settings.get("LAMBDA_HOST_ADAPTER") or "standalone"
        state_dir = self._state_dir or settings.get("LAMBDA_STATE_DIR")
        return HostedLambda(
            make_host(host, settings) if isinstance(host, str) else host,
            executor=self._executor or settings.get("LAMBDA_EXECUTOR") or "process",
            state_dir=Path(state_dir) if state_dir else None,
        )

    async def _start_late(self) -> None:
        """Start at the first request; others that come meanwhile wait for it."""
        if self._hosted is not None:
            raise RuntimeError(
                "this application was started on another event loop and cannot change it: run it on one loop, with the "
                "lifespan of its server, or make one for each loop with create_app()"
            )
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start_with_loop())
        try:
            await asyncio.shield(self._starting)
        finally:
            if self._starting is not None and self._starting.done():
                self._starting = None

    async def _start_with_loop(self) -> None:
        await self.start()
        # Event loops close their asynchronous generators before they end: nobody else tells us.
        self._until_loop_ends = self._stop_at_the_end()
        await anext(self._until_loop_ends)

    async def _stop_at_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.stop()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:  # The server ends, and says why.
            logger.error("Lambda cannot start: %s", error, exc_info=logger.isEnabledFor(logging.DEBUG))
            await send({"type": "lifespan.startup.failed", "message": f"Lambda cannot start: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


def make_host(name: str, settings: Mapping[str, str]) -> Any:
    """The host that is registered under this name, with these settings if it takes any. Raises PluginError."""
    from lambda_provider.plugins import HOSTS, load_plugin

    kind = load_plugin(HOSTS, name)
    return kind(settings) if inspect.signature(kind).parameters else kind()


def url_of(scope: Scope) -> str:
    """Where the server of a request is reached, with the path that this application is mounted at.

    The path ends in a slash: routers take `/aws/` for the root of what is mounted at `/aws`, and some redirect from `/aws`.
    """
    scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
    root_path = scope.get("root_path", "").rstrip("/")
    prefix = f"{quote(root_path)}/" if root_path else ""
    server = scope.get("server")
    if server and server[1] and not server[0].endswith(".invalid"):
        name: str = server[0]
        host = _UNSPECIFIED.get(name, f"[{name}]" if ":" in name else name)
        port = "" if _DEFAULT_PORTS.get(scheme) == server[1] else f":{server[1]}"
        return f"{scheme}://{host}{port}{prefix}"
    # A server that listens on a Unix socket, or does not say where: the client knows the way.
    host = dict(scope["headers"]).get(b"host", b"localhost").decode("latin-1")
    if (address := address_of(host, "")) is not None:
        host = host.partition(f".{address.region}.")[2]
    return f"{scheme}://{host}{prefix}"


def as_if_at_the_root(scope: Scope) -> Scope:
    """The request as it would be if the application were not mounted at a path, and with everything that we read.

    Where it came from is in the headers that a proxy would send.
    """
    raw_path: bytes = scope.get("raw_path") or quote(scope["path"], safe="/~:@!$&'()*+,;=").encode("ascii")
    root_path = scope.get("root_path", "").rstrip("/")
    scheme = scope.get("scheme", "http")
    if not root_path and scheme == "http" and scope.get("raw_path"):
        return scope
    headers = dict(scope["headers"])
    added: dict[bytes, bytes] = {}
    if root_path:
        prefix = quote(root_path).encode("ascii")
        rest = raw_path.removeprefix(prefix)
        raw_path = rest if rest.startswith(b"/") else b"/" + rest
        added[b"x-forwarded-prefix"] = headers.get(b"x-forwarded-prefix", b"").rstrip(b"/") + prefix
    if scheme == "https" and b"x-forwarded-proto" not in headers:
        added[b"x-forwarded-proto"] = b"https"
    kept = [header for header in scope["headers"] if header[0] not in added]
    return {**scope, "raw_path": raw_path, "root_path": "", "headers": [*kept, *added.items()]}
