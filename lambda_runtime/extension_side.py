"""What an environment with extensions has that others have not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from lambda_runtime.executors.base import Sandbox
from lambda_runtime.extensions import Extension, ExtensionGroup
from lambda_runtime.logs import EnvironmentLog
from lambda_runtime.platform_events import InvokeReport
from lambda_runtime.runtime_api.routes import Refused
from lambda_runtime.shutdown import shut_down
from lambda_runtime.subscriptions import SubscriptionRequest
from lambda_runtime.telemetry import AnyPlatformLog, TelemetryPlatformLog
from lambda_runtime.types import FunctionVersion, Invocation


class ExtendedEnvironment(Protocol):
    """The environment, as its extension side sees it."""

    def proceed(self) -> None:
        """The extensions are ready; if the runtime is, the environment is."""
        ...

    def extension_failed(self, error_type: str, message: str) -> None:
        """The environment cannot go on; the message is AWS's, e.g. `exit status 1`."""
        ...


class ExtensionSide:
    """The extensions of an environment, what they are told, and what is written of them.

    The environment asks it whether it is `ready`, and has its platform log written by `platform`. Touched only on the runtime
    loop.
    """

    def __init__(
        self,
        environment: ExtendedEnvironment,
        version: FunctionVersion,
        external: Sequence[str],
        platform: AnyPlatformLog,
        initialization_type: str,
        log: EnvironmentLog,
    ) -> None:
        self.version = version
        self.group = ExtensionGroup(self, external)
        self.platform = TelemetryPlatformLog(platform, version, initialization_type, self._address)
        self._environment = environment
        self._log = log
        self._sandbox: Sandbox | None = None
        self._written = False
        log.observer = self.platform.output

    @property
    def any(self) -> bool:
        """Whether there is an extension."""
        return any(True for _ in self.group)

    @property
    def ready(self) -> bool:
        """Whether every extension has asked for its next event."""
        return self.group.registered and self.group.ready

    def sandbox_started(self, sandbox: Sandbox) -> None:
        """The processes exist; those of the runtime wait if extensions have still to register."""
        self._sandbox = sandbox
        if self.group.registered:
            sandbox.start_runtime()

    def close(self) -> None:
        """Nobody can register or subscribe any more."""
        self.group.close_registration()
        self.platform.close_subscriptions()

    def runtime_initialised(self, phase: str) -> None:
        """The runtime asked for its first event."""
        self.group.close_registration()
        self.platform.runtime_initialised(time.time(), phase)

    def initialised(self, duration_ms: float, phase: str) -> None:
        """The runtime and the extensions are ready for the first time."""
        self.write_states()
        self.platform.initialised(time.time(), duration_ms, phase)
        self.platform.close_subscriptions()

    def invoke(self, invocation: Invocation, deadline_ms: int) -> None:
        """An invocation went to the runtime."""
        self.group.invoke(deadline_ms, invocation.request_id, invocation.invoked_arn, invocation.trace_header)

    def runtime_done(self, report: InvokeReport) -> None:
        """The runtime asked for its next event."""
        self.platform.runtime_done(time.time(), report)

    async def shut_down(self, sandbox: Sandbox, reason: str, limit_s: float, on_end: Callable[[], None]) -> None:
        """The shutdown phase; see `lambda_runtime.shutdown`."""

        def end() -> None:
            on_end()
            self.platform.close()

        self.group.stop_judging()
        await shut_down(sandbox, self.group, self.platform, reason, limit_s, end)

    # --- what the group tells (ExtensionsOwner)

    def extensions_registered(self) -> None:
        if self._sandbox is not None:
            self._sandbox.start_runtime()

    def extensions_ready(self) -> None:
        self._environment.proceed()

    def extension_failed(self, extension: Extension, error_type: str, message: str) -> None:
        self.write_states()
        self._environment.extension_failed(error_type, message)

    # --- what the Extensions API calls (ExtensionsHost)

    def subscribe(self, extension: Extension, request: SubscriptionRequest) -> None:
        """Send telemetry to an extension from now on. Raises Refused after the init phase, and for a second API."""
        name = "Logs" if request.api == "logs" else "Telemetry"
        if self.platform.closed:
            raise Refused(403, f"{name}.SubscriptionClosed", f"{name} API subscription is closed already")
        other = self.platform.subscribed_to(extension.name)
        if other not in (None, request.api):
            text = f"{extension.name} is subscribed by the {other} API already"
            raise Refused(403, f"{name}.AlreadySubscribed", text)
        self.platform.subscribe(extension.name, request)
        if other is None:
            moment = time.time()
            self._log.write(self.platform.subscription(moment, request.api, extension.name, request.types))

    def write_states(self) -> None:
        """A line for each extension, once, at the end of the init phase."""
        if self._written:
            return
        self._written = True
        for each in self.group:
            error = each.error_type
            self._log.write(self.platform.extension(time.time(), each.name, each.state.value, each.events, error))

    def _address(self) -> str:
        return self._sandbox.address if self._sandbox is not None else "127.0.0.1"
