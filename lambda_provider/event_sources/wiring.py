"""The event sources of one provider: the installed classes, what they find around them, and their life."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lambda_provider.delivery.deliveries import Deliveries
from lambda_provider.event_sources.calls import Calls
from lambda_provider.event_sources.counts import Counts
from lambda_provider.event_sources.manager import EventSourceManager
from lambda_provider.event_sources.source import Surroundings
from lambda_provider.event_sources.system_log import SystemLogs
from lambda_provider.host import Host
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.model.function import LATEST, Function, Version
from lambda_provider.plugins import EVENT_SOURCES, load_plugins
from lambda_provider.store.positions import Positions
from lambda_provider.store.store import Store
from lambda_runtime.service import RuntimeService
from lambda_runtime.types import InvocationResult

InvokeForSource = Callable[[str, bytes, str | None], Awaitable[InvocationResult]]


class EventSourcePollers:
    """Connects the manager with the store, the runtime and the host; the provider's one door to `event_sources`."""

    def __init__(
        self,
        store: Store,
        host: Host,
        runtime: RuntimeService,
        positions: Positions,
        invoke: InvokeForSource,
        deliveries: Deliveries,
        payload_limit_bytes: int,
    ) -> None:
        self._store = store
        self._host = host
        self._runtime = runtime
        self._positions = positions
        self._invoke = invoke
        self._deliveries = deliveries
        self._payload_limit_bytes = payload_limit_bytes
        self._calls: Calls | None = None
        self.counts = Counts(host.put_metric_data, runtime.clock)
        self.logs = SystemLogs(host.put_log_events, runtime.clock, self._log_group)
        self.manager = EventSourceManager(store, lambda: load_plugins(EVENT_SOURCES), self._surroundings)
        store.event_source_mappings.on_change = self.mapping_changed

    def start(self) -> None:
        """Poll for what is stored. The runtime must be running. Usable from any thread."""
        self.manager.start(self._runtime.loop)

    def stop(self) -> None:
        """Poll no more. What is in flight is not acknowledged; it comes again. Usable from any thread, and twice."""
        self.manager.stop()
        if self._calls is not None:
            self._calls.close()
            self._calls = None

    async def ended(self) -> None:
        """Return when the sources have let go of what they had. On the loop, after `stop`."""
        await self.manager.ended()
        self.deliver_telemetry()

    def deliver_telemetry(self) -> None:
        """Hand over the counts and log lines that are still collected: somebody is about to read them. On the loop only."""
        self.counts.flush()
        self.logs.flush()

    def mapping_changed(self, old: EventSourceMapping | None, new: EventSourceMapping | None) -> None:
        """A mapping was created, changed or deleted."""
        if old is not None and new is None:
            self._positions.forget(old.name)
        self.manager.mapping_changed(old, new)

    def function_changed(self, old: Function | None, new: Function | None) -> None:
        """A function was created, changed or deleted."""
        self.manager.function_changed(old, new)

    def _surroundings(self, mapping: EventSourceMapping) -> Surroundings:
        if self._calls is None:
            self._calls = Calls()
        return Surroundings(
            host=self._host,
            clock=self._runtime.clock,
            calls=self._calls,
            positions=self._positions,
            activity=getattr(self._host, "activity", None),
            invoke=self._invoke,
            deliver=self._deliveries.send,
            report=lambda result: self._report(mapping, result),
            count=self.counts.counter(mapping),
            count_for_function=lambda metric, value: self._count_for_function(mapping, metric, value),
            payload_limit_bytes=self._payload_limit_bytes,
            role=lambda: self._role(mapping),
            log=self.logs.log_of(mapping),
        )

    def _role(self, mapping: EventSourceMapping) -> str:
        _, version = self._function_of(mapping)
        return version.configuration.role if version is not None else ""

    def _log_group(self, mapping: EventSourceMapping) -> str | None:
        _, version = self._function_of(mapping)
        return version.configuration.logging.log_group if version is not None else None

    def _function_of(self, mapping: EventSourceMapping) -> tuple[Function | None, Version | None]:
        """The function and what the mapping's qualifier stands for now."""
        _, _, _, region, account_id, _, name, *qualifier = mapping.function_arn.split(":")
        function = self._store.find(account_id, region, name)
        return function, function.find(qualifier[0] if qualifier else None) if function is not None else None

    def _report(self, mapping: EventSourceMapping, result: str) -> None:
        self.manager.reports.tell(mapping, last_result=result)
        self.manager.reports.recovered(mapping)

    def _count_for_function(self, mapping: EventSourceMapping, metric: str, value: float) -> None:
        function, version = self._function_of(mapping)
        if function is not None and version is not None:
            number = version.number or LATEST
            self._runtime.count(metric, f"{function.arn}:{number}", mapping.function_arn, value)
