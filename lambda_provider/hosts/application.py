"""Lambda for one host: provider, runtime and the application in front of them, started and stopped in the right order.

Everybody who answers requests runs this: the gateway, the applications that servers mount, and the test kit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from lambda_provider import __version__
from lambda_provider.api.coverage import implemented_operations, operation_names
from lambda_provider.asgi import Behind, LambdaApplication
from lambda_provider.host import Host, complete
from lambda_provider.hosts.assembly import Assembly, assemble
from lambda_provider.hosts.credentials import account_of
from lambda_provider.hosts.identities import Identities
from lambda_provider.hosts.internal import Health, InternalRoutes, json_response
from lambda_provider.hosts.nothing_behind import NothingBehind
from lambda_provider.hosts.service_invokes import actions_for_services
from lambda_provider.hosts.state_routes import StateRoutes
from lambda_provider.urls.callers import Callers, TestCallers
from lambda_provider.urls.serving import FunctionUrls
from lambda_provider.wire.http import HttpRequest, HttpResponse


class GatewayHost(Host, Protocol):
    """A host that brings no server of its own: what it may have beyond the Host protocol, each part optional for us."""

    behind: Behind
    """Answers what is not Lambda's. Without it: 501."""
    identities: Identities
    """Knows the accounts of access keys. Without it: a key of 12 digits is the account, others the default account's."""
    service_token: str
    """What the host's other services show when they run a function; see `service_invokes`. Without it they cannot."""

    async def start(self, url: str) -> None:
        """The gateway listens at `url`; it is empty where that is not known yet."""
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

    async def reachable_at(self, url: str) -> None:
        """`start` did not know the URL: this is it, before anything needs it."""
        ...

    async def reset(self) -> None:
        """Forget everything that the other services hold."""
        ...

    def keep_in(self, directory: Path) -> None:
        """There is a state directory: what the host wants to have again after a restart goes into one of its own there."""
        ...


class HostedLambda:
    """A provider that answers requests at `application`, between `start` and `stop`.

    `host` may lack any part of the protocol: `complete` says what holds then. Touched only on the loop that `start` is awaited
    on.
    """

    application: LambdaApplication

    def __init__(self, host: Any, *, executor: str = "process", state_dir: Path | None = None) -> None:
        self.host = complete(host)
        self._parts = host
        self._executor = executor
        self._state_dir = state_dir
        self._assembly: Assembly | None = None
        self._resetting = asyncio.Lock()

    @property
    def assembly(self) -> Assembly:
        """What was put together. Raises RuntimeError before `start`."""
        if self._assembly is None:
            raise RuntimeError("Lambda was not started")
        return self._assembly

    async def start(self, url: str = "") -> None:
        """Take requests from now on; clients reach us at `url`.

        Raises LookupError for an unknown executor, ValueError for a setting and StateError for a state directory that cannot be
        used; nothing is left running then.
        """
        host = self._parts
        identities: Identities | None = getattr(host, "identities", None)
        knows = account_of if identities is None else identities.account_of
        if self._state_dir is not None and (keep_in := getattr(host, "keep_in", None)) is not None:
            keep_in(self._state_dir)
        try:
            await self._tell("start", url)
            assembly = self._assembly = assemble(
                self.host, executor=self._executor, state_dir=self._state_dir, account_of=knows
            )
            if (before_reading := getattr(host, "before_reading", None)) is not None:
                before_reading(assembly.runtime.deliver_telemetry)
                before_reading(assembly.provider.event_sources.deliver_telemetry)
            await assembly.start()
        except BaseException:
            await self.stop()
            raise
        provider = assembly.provider
        callers: Callers = TestCallers(knows) if identities is None else identities
        urls = FunctionUrls(provider.store, provider, callers, provider.config.payload_size)
        internal = self._internal(assembly)
        self.application = LambdaApplication(
            assembly.wire,
            behind=getattr(host, "behind", None) or NothingBehind(self.host.name),
            internal=internal,
            learn=None if identities is None else identities.learn,
            urls=urls,
        )
        if (route := getattr(host, "route_function_urls", None)) is not None:
            route(self.application)

    async def reachable_at(self, url: str) -> None:
        """Where clients and functions reach us, if that was not known at the start."""
        await self._tell("reachable_at", url)

    async def stop(self) -> None:
        """End everything that was started, the host last. May be called twice, and after a `start` that failed."""
        assembly, self._assembly = self._assembly, None
        try:
            if assembly is not None:
                await assembly.stop()
        finally:
            await self._tell("stop")

    async def reset(self) -> None:
        """Forget every function and, where the host can, what the other services hold: as if just started."""
        async with self._resetting:
            assembly = self.assembly
            await asyncio.to_thread(assembly.provider.on_before_state_reset)
            assembly.runtime.metrics.flush()
            await self._tell("reset")
            await asyncio.to_thread(assembly.provider.on_after_state_reset)

    def _tell(self, moment: str, *arguments: Any) -> Awaitable[Any]:
        told = getattr(self._parts, moment, None)
        return asyncio.sleep(0) if told is None else told(*arguments)

    def _internal(self, assembly: Assembly) -> InternalRoutes:
        services = getattr(self._parts, "services", None)

        def facts() -> Mapping[str, Any]:
            in_use = assembly.runtime.in_use()
            return {
                "version": __version__,
                "executor": self._executor,
                "functions": assembly.provider.store.function_count,
                "environments": in_use["environments"],
                "queued_events": len(assembly.runtime.events),
                "in_use": in_use,
                "preparing_versions": assembly.provider.transitions.pending,
                "services": {"lambda": {"state": "running"}} if services is None else services(),
            }

        async def operations(request: HttpRequest) -> HttpResponse:
            implemented = implemented_operations(assembly.provider)
            return json_response(200, {name: name in implemented for name in operation_names()})

        async def code(request: HttpRequest) -> HttpResponse:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, assembly.provider.download_code, request.path, request.query)

        async def reset(request: HttpRequest) -> HttpResponse:
            await self.reset()
            return json_response(200, {"message": "everything was forgotten"})

        state = StateRoutes(assembly.provider)
        token = getattr(self._parts, "service_token", None)
        return InternalRoutes(
            {"health": Health(facts), "operations": operations, "code": code, "state": state.export},
            {"state": state.take, "reset": reset} | actions_for_services(assembly.provider, token),
        )
