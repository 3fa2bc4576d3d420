"""The provider: every operation that has behaviour, and the hooks by which a host drives its life."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from lambda_provider.api import LambdaApi
from lambda_provider.config import ProviderConfig
from lambda_provider.delivery.deliveries import Deliveries
from lambda_provider.event_sources.wiring import EventSourcePollers
from lambda_provider.host import Host
from lambda_provider.model.function import Function
from lambda_provider.operations.account import AccountOperations
from lambda_provider.operations.aliases import AliasOperations
from lambda_provider.operations.authorization import Authorizer
from lambda_provider.operations.capacity import Capacity
from lambda_provider.operations.capacity_providers import CapacityProviderOperations
from lambda_provider.operations.code_locations import CodeLocations, LocationError
from lambda_provider.operations.code_signing import CodeSigningOperations
from lambda_provider.operations.concurrency import ConcurrencyOperations
from lambda_provider.operations.deployment import Deployments
from lambda_provider.operations.event_invoke_configs import EventInvokeConfigOperations
from lambda_provider.operations.event_source_mappings import EventSourceMappingOperations
from lambda_provider.operations.invoke import InvokeOperations
from lambda_provider.operations.layer_permissions import LayerPermissionOperations
from lambda_provider.operations.layers import LayerOperations
from lambda_provider.operations.permissions import PermissionOperations
from lambda_provider.operations.provisioned_concurrency import ProvisionedConcurrencyOperations
from lambda_provider.operations.recursion import RecursionOperations
from lambda_provider.operations.resource_policies import ResourcePolicyOperations
from lambda_provider.operations.runtime_management import RuntimeManagementOperations
from lambda_provider.operations.scaling import ScalingOperations
from lambda_provider.operations.tags import TagOperations
from lambda_provider.operations.updates import UpdateOperations
from lambda_provider.operations.urls import UrlOperations
from lambda_provider.operations.versions import VersionOperations
from lambda_provider.store.archives import ArchiveStore
from lambda_provider.store.event_log import EventLog
from lambda_provider.store.journal import Journal
from lambda_provider.store.positions import Positions
from lambda_provider.store.store import Store
from lambda_provider.wire.http import HttpResponse
from lambda_runtime.errors import ServiceStopped
from lambda_runtime.event_queue import QueuedEvent
from lambda_runtime.service import RuntimeService


class LambdaProvider(
    UpdateOperations,
    VersionOperations,
    AliasOperations,
    InvokeOperations,
    AccountOperations,
    LayerOperations,
    LayerPermissionOperations,
    PermissionOperations,
    ResourcePolicyOperations,
    ConcurrencyOperations,
    ProvisionedConcurrencyOperations,
    EventSourceMappingOperations,
    UrlOperations,
    EventInvokeConfigOperations,
    CodeSigningOperations,
    TagOperations,
    RuntimeManagementOperations,
    RecursionOperations,
    ScalingOperations,
    CapacityProviderOperations,
    LambdaApi,
):
    """AWS Lambda's control plane over a store and a runtime.

    The order of a life: construct, start the runtime on its loop, `start`, requests, `stop`, stop the runtime. The host owns
    the runtime and starts and stops it. With `state_dir` everything that was acknowledged is there again after a restart;
    without, nothing but a temporary directory of code archives is on disk, and `stop` removes it.
    """

    def __init__(self, host: Host, runtime: RuntimeService, *, state_dir: Path | None = None) -> None:
        """Read the stored state, if there is any.

        Raises lambda_provider.store.errors.StateError for a state directory that cannot be used, and ValueError for a
        setting that makes no sense.
        """
        self.host = host
        self.runtime = runtime
        self.config = ProviderConfig.from_settings(host.settings)
        self._state_dir = state_dir
        self.archives = ArchiveStore(state_dir / "code" if state_dir is not None else None)
        self.store = Store(self.archives)
        self.positions = Positions()
        self._event_log: EventLog | None = None
        self._open_state()
        self.deployments = Deployments(
            self.store,
            self.archives,
            runtime,
            settle_s=self.config.settle_s,
            patience_s=self.config.reader_patience_s,
        )
        self.capacity = Capacity(self.store, runtime, self.config.concurrent_executions)
        self.store.on_change = self._function_changed
        self.deliveries = Deliveries(self.store, host, runtime.clock, self.invoke_for, runtime.count)
        self.event_sources = EventSourcePollers(
            self.store, host, runtime, self.positions, self.invoke_for_source, self.deliveries, self.config.payload_size
        )
        self.code_locations = CodeLocations()
        self.authorizer = Authorizer(host) if self.config.enforce_permissions else None

    # Life

    def start(self) -> None:
        """Bring the stored versions back to life, and poll for their mappings. The runtime must be running."""
        self._restore()
        self.event_sources.start()

    def stop(self) -> None:
        """End what is under way, and let go of files. The runtime is stopped by whoever started it. May be called twice."""
        self.event_sources.stop()
        self.deployments.forget_all()
        self.deliveries.close()
        self._close_state()
        self.archives.close()

    # The hooks of a host

    def on_after_init(self) -> None:
        """The host has loaded the provider and its runtime runs."""
        self.start()

    def on_before_stop(self) -> None:
        """The host is about to stop."""
        self.stop()

    def on_before_state_reset(self) -> None:
        """Everything is about to be forgotten: stop what runs."""
        self._retire_all()

    def on_after_state_reset(self) -> None:
        """Forget every function, in memory and on disk."""
        self.store.clear()
        self.positions.clear()
        if self._event_log is not None:
            self._event_log.clear()

    def on_before_state_save(self) -> None:
        """The host is about to copy the state directory: nothing may be half written."""
        self.store.checkpoint()

    def on_after_state_save(self) -> None:
        """The host has copied the state; work goes on."""

    def on_before_state_load(self) -> None:
        """The host is about to replace the state: stop what runs, and let go of the directory."""
        self._retire_all()
        self._close_state()

    def on_after_state_load(self) -> None:
        """The state was replaced: read it, and bring its versions to life. They are Pending until they are prepared."""
        self._open_state()
        self._restore()

    def accept_state_visitor(self, visitor: Any) -> None:
        """Show the state to a host's visitor: the store, and the directory with its files if there is one."""
        visitor.visit(self.store)
        if self._state_dir is not None:
            visitor.visit(self._state_dir)

    # What is not an operation of the API

    def download_code(self, path: str, query: str) -> HttpResponse:
        """Answer `GET /_lambda/code/…`: the archive that a URL of GetFunction stands for.

        `path` is still percent-encoded. Blocks while the file is read.
        """
        try:
            archive = self.archives.get(self.code_locations.verify(path, query))
            content = archive.path.read_bytes()
        except LocationError as error:
            return _s3_error(error.status, error.code, str(error))
        except FileNotFoundError:
            return _s3_error(404, "NoSuchKey", "The specified key does not exist.")
        return HttpResponse(200, [("Content-Type", "application/zip")], content)

    def _open_state(self) -> None:
        if self._state_dir is None:
            return
        journal = Journal(self._state_dir)
        try:
            self._event_log = EventLog(journal)
            self.store.load(journal)
            self.positions.open(journal, {mapping.name for mapping in self.store.event_source_mappings.all()})
        except BaseException:
            self._close_state()
            journal.close()
            raise
        self.runtime.keep_events_in(self._event_log)

    def _function_changed(self, old: Function | None, new: Function | None) -> None:
        self.capacity.changed(old, new)
        self.event_sources.function_changed(old, new)

    def _close_state(self) -> None:
        if self._event_log is not None:
            self._event_log.close()
        self.positions.close()
        self.store.close()

    def _restore(self) -> None:
        for function in self.store.all_functions():
            self.capacity.changed(None, function)
            for version in function.all_versions():
                self.deployments.begin(function, version, restoring=True)
        if self._event_log is not None and (events := self._event_log.take_loaded()):
            self.runtime.submit(self._resume(events))

    async def _resume(self, events: list[QueuedEvent]) -> None:
        """Go on with events that were accepted before a restart, each as soon as its version is prepared again."""

        async def resume(arn: str) -> None:
            await self.deployments.ready(arn)
            self.runtime.resume_events([event for event in events if event.invocation.version_arn == arn])

        arns = dict.fromkeys(event.invocation.version_arn for event in events)
        with suppress(ServiceStopped):
            await asyncio.gather(*(resume(arn) for arn in arns))

    def _retire_all(self) -> None:
        self.deployments.forget_all()
        with suppress(RuntimeError):  # No loop, no events.
            self.runtime.loop.call_soon_threadsafe(self.runtime.forget_events)
        for function in self.store.all_functions():
            self.capacity.changed(function, None)
            self.deployments.retire(function, [version.number for version in function.all_versions()])


def _s3_error(status: int, code: str, message: str) -> HttpResponse:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return HttpResponse(status, [("Content-Type", "application/xml")], body.encode())
