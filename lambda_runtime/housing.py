"""What an execution environment lives in, however many invocations it takes at once."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from lambda_runtime.blueprint import Blueprint
from lambda_runtime.errors import EnvironmentNotStarted, RuntimeServiceError
from lambda_runtime.executors.base import ExitStatus, ResettableSandbox, Sandbox, SandboxSpec
from lambda_runtime.extension_side import ExtendedEnvironment, ExtensionSide
from lambda_runtime.failures import TIMED_OUT, InitFailure, error_body
from lambda_runtime.logs import EnvironmentLog, new_log_stream
from lambda_runtime.platform_events import JsonPlatformLog, TextPlatformLog
from lambda_runtime.reporter import EnvironmentReporter
from lambda_runtime.resets import Reset
from lambda_runtime.runtime_api.connection import Router
from lambda_runtime.runtime_api.extensions import ExtensionsRouter
from lambda_runtime.runtime_api.routes import RuntimeApiRouter, RuntimeEvents
from lambda_runtime.runtime_api.server import RuntimeApiServer
from lambda_runtime.variables import environment_variables, extension_variables

logger = logging.getLogger(__name__)


class HousedEnvironment(RuntimeEvents, ExtendedEnvironment, ABC):
    """A sandbox, the listener of its Runtime API, its log, its extensions, and the time limit of what is under way in it.

    `_open` starts them and `_shut_down` ends them. What happens between is told to the subclass, which is the state machine: by
    the Runtime API (`RuntimeEvents`), by the extensions (`ExtendedEnvironment`), by the sandbox (`_exited`), and when the time
    for the initialisation is over (`_init_failed`). A base class, because all of it is used in every invocation.

    Extensions hold up the initialisation (`ExtensionSide`), and their shutdown phase goes on for a moment after the environment
    has stopped, in a task of `shutdowns`, for which the service waits. Touched only on the runtime loop.
    """

    def __init__(
        self, blueprint: Blueprint, initialization_type: str, *, logs_json: bool, predecessor: Reset | None = None
    ) -> None:
        self.version = blueprint.prepared.version
        self.initialization_type = initialization_type
        self.idle_since = 0.0
        self.max_response_bytes = blueprint.config.max_response_bytes
        self.id = secrets.token_hex(16)
        stream = new_log_stream(self.version, time.time(), self.id) if predecessor is None else predecessor.log_stream
        self._predecessor = predecessor
        self._prepared = blueprint.prepared
        self._executor = blueprint.executor
        self._config = blueprint.config
        self._credentials = blueprint.credentials
        self._shutdowns = blueprint.shutdowns
        self._loop = asyncio.get_running_loop()
        self._server = RuntimeApiServer(RuntimeApiRouter(self, self._other_apis()))
        self._sandbox: Sandbox | None = None
        self._log = EnvironmentLog(self.version, stream, blueprint.log_sink, self._loop)
        level = self.version.system_log_level or "INFO"
        platform = JsonPlatformLog(level, initialization_type) if logs_json else TextPlatformLog()
        self._reporter = EnvironmentReporter(self.version, self._log, platform)
        self._extensions = self._new_extension_side() if self._prepared.extensions else None
        self._began = 0.0
        """When the initialisation began, or the invocation that has the environment to itself; of the monotonic clock."""
        self._timer: asyncio.TimerHandle | None = None

    # --- what the subclass is

    @property
    @abstractmethod
    def _initialising(self) -> bool:
        """It has not been ready yet: extensions may register."""

    @abstractmethod
    def stop(self, reason: str = "spindown") -> None:
        """End the processes inside. In any state, twice, and while a start is under way; never raises."""

    @abstractmethod
    def _init_failed(self, failure: InitFailure) -> None:
        """It will not be ready; nothing happens once it is, or was stopped."""

    @abstractmethod
    def _exited(self, exited: asyncio.Future[ExitStatus]) -> None:
        """The runtime has ended, for whatever reason."""

    # --- from the first process to the last

    async def _open(self) -> Sandbox:
        """Start the sandbox, which tells from now on what happens in it.

        Raises EnvironmentNotStarted when the machine cannot; the environment is stopped then, and when this is cancelled.
        """
        try:
            runtime_api = await self._server.open(self._executor.runtime_api_host(self._prepared))
            spec = SandboxSpec(self.id, runtime_api, self._variables(runtime_api), self._log.output)
            spec.remains = self._predecessor.remains if self._predecessor is not None else None
            if self._extensions is not None:
                spec.extension_variables = extension_variables(spec.variables)
                spec.on_extension_output = self._log.extension_output
                spec.on_extension_exit = self._extensions.group.process_ended
            sandbox = await self._start_sandbox(spec)
        except (RuntimeServiceError, asyncio.CancelledError):
            self.stop()
            raise
        except Exception as error:
            if not isinstance(error, OSError):
                logger.exception("%s: the executor failed", self.version.arn)
            self.stop()
            raise EnvironmentNotStarted(f"cannot start an execution environment: {error}") from error
        self._sandbox = self._reporter.sandbox = sandbox
        self._server.admit(sandbox.admits)
        sandbox.exited.add_done_callback(self._exited)
        if self._extensions is not None:
            self._extensions.sandbox_started(sandbox)
        return sandbox

    async def _start_sandbox(self, spec: SandboxSpec) -> Sandbox:
        return await self._executor.start_sandbox(self._prepared, spec)

    def _shut_down(self, reason: str) -> None:
        """End the processes inside, extensions last, which are told the reason: `spindown`, `timeout` or `failure`."""
        if self._extensions is None or not self._extensions.any or self._sandbox is None:
            self._close()
            return
        self._reporter.write_due()
        phase = self._extensions.shut_down(self._sandbox, reason, self._config.shutdown_timeout_s, self._close)
        task = self._loop.create_task(phase)
        self._shutdowns.add(task)
        task.add_done_callback(self._shutdowns.discard)

    def _close(self) -> None:
        """Leave no process and no listener."""
        self._reporter.drain()
        if self._sandbox is not None:
            self._sandbox.kill()
        if self._predecessor is not None:
            self._predecessor.drop()
        self._server.close(self._sandbox.exited if self._sandbox is not None else None)
        self._reporter.close()

    def _leave(self) -> Reset | None:
        """What the environment that takes the place of this one may have; before `_shut_down`. None if nothing was started."""
        if self._sandbox is None:
            return None
        return Reset(self._log.stream, self._sandbox.keep() if isinstance(self._sandbox, ResettableSandbox) else None)

    def deliver_log(self) -> None:
        """Hand over what was written to the log so far, instead of in a moment."""
        self._reporter.drain()
        self._log.deliver()

    # --- the init phase

    @property
    def _init_timeout_s(self) -> float:
        if self.initialization_type == "on-demand":
            return self._config.init_timeout_s
        return max(self._config.provisioned_init_timeout_s, self.version.timeout_s)

    @property
    def _warnings(self) -> tuple[str, ...]:
        """What the user should know of how the version runs here."""
        return self._prepared.warnings

    def _begin_init(self) -> None:
        self._timer = self._loop.call_later(self._init_timeout_s, self._init_timed_out)
        self._reporter.init_started(self._prepared.runtime_version, self._warnings)
        if self.initialization_type == "on-demand":
            self._log.open_tail()  # Somebody waits, and may want to see what the initialisation writes.

    def _init_timed_out(self) -> None:
        message = f"Init phase timed out after {self._init_timeout_s:.2f} seconds"
        self._init_failed(InitFailure(TIMED_OUT, error_body(TIMED_OUT, message), "timeout"))

    def _write_init_failure(self, failure: InitFailure, phase: str) -> None:
        self._write_last_lines()
        self._reporter.init_failed(self._elapsed_ms, phase, failure)

    def _write_last_lines(self) -> None:
        """What processes wrote until an init that failed, and how far the extensions got."""
        self._reporter.drain()
        self._log.end_of_invocation()
        if self._extensions is not None:
            self._extensions.write_states()

    @property
    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self._began) * 1000

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- what the processes inside find

    def _variables(self, runtime_api: str) -> dict[str, str]:
        return environment_variables(
            self.version,
            runtime_api=runtime_api,
            log_stream=self._log.stream,
            credentials=self._credential_variables(runtime_api),
            executor_variables=self._prepared.variables,
            endpoint_url=self._config.current_endpoint_url(),
            initialization_type=self.initialization_type,
        )

    def _credential_variables(self, runtime_api: str) -> Mapping[str, str]:
        return self._credentials(self.version)

    def _other_apis(self) -> Router:
        """Who answers the requests that are not of the Runtime API."""
        return ExtensionsRouter(self._extension_side)

    def _extension_side(self) -> ExtensionSide:
        """Made at once when there are external extensions, else when an internal one shows up."""
        side = self._extensions
        if side is None:
            side = self._extensions = self._new_extension_side()
            if self._sandbox is not None:
                side.sandbox_started(self._sandbox)
            if not self._initialising:
                side.close()
        return side

    def _new_extension_side(self) -> ExtensionSide:
        platform, names = self._reporter.platform, self._prepared.extensions
        side = ExtensionSide(self, self.version, names, platform, self.initialization_type, self._log)
        self._reporter.platform = side.platform
        return side
