"""The provider: every operation that has behaviour, and the hooks by which a host drives its life."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

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
from lambda_provider.operations.transitions import VersionTransitions
from lambda_provider.operations.updates import UpdateOperations
from lambda_provider.operations.urls import UrlOperations
from lambda_provider.operations.versions import VersionOperations
from lambda_provider.store.state import State
from lambda_provider.store.transfer import StateFile, Summary
from lambda_provider.wire.http import HttpResponse
from lambda_runtime.errors import ServiceStopped
from lambda_runtime.event_queue import QueuedEvent
from lambda_runtime.service import RuntimeService

_ENDING_S = 30.0
"""Longer than any environment takes to end; extensions have two seconds for it."""


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
        self.state = State(state_dir)
        self.archives, self.store, self.positions = self.state.archives, self.state.store, self.state.positions
        self._open_state()
        self.transitions = VersionTransitions(
            self.store,
            self.archives,
            runtime,
            settle_s=self.config.settle_s,
            patience_s=self.config.reader_patience_s,
            find_image=lambda uri: self.host.find_image(uri),
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
        self.transitions.forget_all()
        self.deliveries.close()
        self.state.close()
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
        self._end_everything()

    def on_after_state_reset(self) -> None:
        """Forget every function, in memory and on disk."""
        self.state.clear()
        self.event_sources.start()

    def on_before_state_save(self) -> None:
        """The host is about to copy the state directory: until `on_after_state_save` changes wait; functions go on to run."""
        self.state.freeze()

    def on_after_state_save(self) -> None:
        """The host has copied the state directory."""
        self.state.thaw()

    def on_before_state_load(self) -> None:
        """The host is about to replace the state: stop what runs, and let go of the directory."""
        self._end_everything()
        self.state.close()

    def on_after_state_load(self) -> None:
        """The state was replaced: read it, and bring its versions to life. They are Pending until they are prepared."""
        self._open_state()
        self.start()

    def accept_state_visitor(self, visitor: Any) -> None:
        """Show the state to a host's visitor: the store, and the directory with its files if there is one."""
        visitor.visit(self.store)
        if self.state.directory is not None:
            visitor.visit(self.state.directory)

    # State as one file

    def export_state(self, file: IO[bytes]) -> Summary:
        """Write all state into a file, as it is at one moment, while work goes on. Blocking; for any thread but the loop's.

        Events that wait in the queue are in it only if there is a state directory.
        """
        return self.state.export(file)

    def import_state(self, file: IO[bytes], *, replace: bool = False) -> Summary:
        """End everything and have the state of a file instead. Blocking; for any thread but the loop's.

        Raises StateError when the file cannot be used, or when something would be overwritten and `replace` does not say so; then
        nothing has changed.
        """
        found = StateFile(file)
        self.state.require_room_for(found, replace=replace)
        self._end_everything()
        try:
            self.state.replace(found)
        finally:
            self.runtime.keep_events_in(self.state.events)
            self.start()
        return found.summary

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
        self.state.open()
        self.runtime.keep_events_in(self.state.events)

    def _function_changed(self, old: Function | None, new: Function | None) -> None:
        self.capacity.changed(old, new)
        self.event_sources.function_changed(old, new)

    def _restore(self) -> None:
        for function in self.store.all_functions():
            self.capacity.changed(None, function)
        self.transitions.restore(self.store.all_functions())
        if events := self.state.take_events():
            self.runtime.submit(self._resume(events))

    async def _resume(self, events: list[QueuedEvent]) -> None:
        """Go on with events that were accepted before a restart, each as soon as its version is prepared again."""

        async def resume(arn: str) -> None:
            await self.transitions.ready(arn)
            self.runtime.resume_events([event for event in events if event.invocation.version_arn == arn])

        arns = dict.fromkeys(event.invocation.version_arn for event in events)
        with suppress(ServiceStopped):
            await asyncio.gather(*(resume(arn) for arn in arns))

    def _end_everything(self) -> None:
        """Stop what runs, waits or is under preparation. When this returns it is gone, except on the runtime's own loop: there
        it goes as soon as the loop goes on, and before anything that is begun from now on."""
        self.event_sources.stop()
        self.transitions.forget_all()
        for function in self.store.all_functions():
            self.capacity.changed(function, None)
        try:
            ending = self.runtime.submit(self._empty_runtime())
        except RuntimeError:
            return  # No loop, nothing runs.
        if not _on_loop(self.runtime.loop):
            ending.result(_ENDING_S)

    async def _empty_runtime(self) -> None:
        emptied = asyncio.ensure_future(self.runtime.reset())
        await self.transitions.cancelled()
        await self.event_sources.ended()
        await emptied


def _on_loop(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _s3_error(status: int, code: str, message: str) -> HttpResponse:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return HttpResponse(status, [("Content-Type", "application/xml")], body.encode())
