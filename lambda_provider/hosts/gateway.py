"""The gateway from its first request to its last: host, provider and server started and stopped in the right order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lambda_provider import __version__
from lambda_provider.api.coverage import implemented_operations, operation_names
from lambda_provider.asgi import Behind, LambdaApplication
from lambda_provider.host import Host
from lambda_provider.hosts.assembly import Assembly, assemble
from lambda_provider.hosts.identities import Identities
from lambda_provider.hosts.internal import Health, InternalRoutes, json_response
from lambda_provider.hosts.server import GatewayServer, listen, stop_on_signals, url_of
from lambda_provider.hosts.service_invokes import ServiceInvokes
from lambda_provider.plugins import HOSTS, PluginError, load_plugin
from lambda_provider.urls.serving import FunctionUrls
from lambda_provider.wire.http import HttpRequest, HttpResponse


class GatewayHost(Host, Protocol):
    """A host that brings no server of its own: what the gateway needs beyond the Host protocol."""

    behind: Behind
    """Answers what is not Lambda's."""
    identities: Identities
    """Knows the accounts of access keys."""
    service_token: str
    """What the host's other services show when they run a function; see `service_invokes`."""

    async def start(self, url: str) -> None:
        """The gateway listens at `url`."""
        ...

    async def stop(self) -> None:
        """End what was started. May be called twice."""
        ...

    def services(self) -> Mapping[str, Any]:
        """What runs, for the health page."""
        ...

    def before_reading(self, hand_over: Callable[[], None]) -> None:
        """`hand_over` gives the host the log lines and metrics that are still collected; call it before they are read."""
        ...


@dataclass(frozen=True)
class GatewayOptions:
    """What `lambda-provider start` can be told. `port` 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 4566
    executor: str = "process"
    state_dir: Path | None = None
    host_adapter: str = "standalone"


class Gateway:
    """One gateway at one address.

    Creating it takes the address, so that a busy port is known at once: OSError. `serve` runs until `stop` is called on its
    loop or, with `signals`, until SIGINT or SIGTERM; a second stop does not wait for requests that are under way.
    """

    def __init__(self, options: GatewayOptions) -> None:
        self.options = options
        self._listener: socket.socket = listen(options.host, options.port)
        self.url = url_of(self._listener, options.host)
        self._server: GatewayServer | None = None

    async def serve(self, on_ready: Callable[[str], None] = lambda url: None, *, signals: bool = False) -> None:
        """Start everything, call `on_ready` with the URL, and return when all is stopped again.

        Raises LookupError for an unknown executor or host, ValueError for a setting and StateError for a state directory that
        cannot be used.
        """
        host = self._load_host()
        try:
            await host.start(self.url)
            assembly = assemble(
                host,
                executor=self.options.executor,
                state_dir=self.options.state_dir,
                account_of=host.identities.account_of,
            )
            host.before_reading(assembly.runtime.deliver_telemetry)
            try:
                await assembly.start()
                application = LambdaApplication(
                    assembly.wire,
                    behind=host.behind,
                    internal=self._internal(host, assembly),
                    learn=host.identities.learn,
                    urls=_function_urls(host, assembly),
                )
                self._server = GatewayServer(application, lambda: on_ready(self.url))
                if signals:
                    stop_on_signals(self._server)
                await self._server.serve([self._listener])
            finally:
                await assembly.stop()
        finally:
            self._listener.close()
            await host.stop()

    def stop(self) -> None:
        """End `serve`. Only on its loop."""
        if self._server is not None:
            self._server.stop()

    def _load_host(self) -> GatewayHost:
        name = self.options.host_adapter
        host: GatewayHost = load_plugin(HOSTS, name)()
        if not hasattr(host, "behind"):
            raise PluginError(f"the host {name!r} brings its own gateway; it is loaded by that, not by `start`")
        return host

    def _internal(self, host: GatewayHost, assembly: Assembly) -> InternalRoutes:
        def facts() -> Mapping[str, Any]:
            return {
                "version": __version__,
                "executor": self.options.executor,
                "functions": sum(1 for _ in assembly.provider.store.all_functions()),
                "environments": assembly.runtime.environment_count(),
                "queued_events": len(assembly.runtime.events),
                "services": host.services(),
            }

        async def operations(request: HttpRequest) -> HttpResponse:
            implemented = implemented_operations(assembly.provider)
            return json_response(200, {name: name in implemented for name in operation_names()})

        async def code(request: HttpRequest) -> HttpResponse:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, assembly.provider.download_code, request.path, request.query)

        return InternalRoutes(
            {"health": Health(facts), "operations": operations, "code": code},
            {"invoke": ServiceInvokes(assembly.provider, host.service_token)},
        )


def _function_urls(host: GatewayHost, assembly: Assembly) -> FunctionUrls:
    provider = assembly.provider
    return FunctionUrls(provider.store, provider, host.identities, provider.config.payload_size)
