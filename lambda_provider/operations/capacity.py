"""The concurrency that functions have reserved and provisioned: how much is left, and what the runtime has to know of it."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from lambda_provider.model.function import Function, Version
from lambda_provider.operations.runtime_loop import submit
from lambda_provider.store.store import Store
from lambda_runtime.managed_instances import Bounds
from lambda_runtime.provisioned import ProvisionedStatus
from lambda_runtime.service import RuntimeService

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a function has of its account's concurrency, by ARNs as the runtime wants it."""

    reserved: int | None = None
    provisioned: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Function | None) -> _Claims:
        if function is None:
            return cls()
        return cls(
            function.settings.reserved_concurrency,
            {f"{function.arn}:{qualifier}": _environments(function, qualifier) for qualifier in function.provisioned},
            {
                f"{function.arn}:{version.number}": _bounds(function, version)
                for version in function.versions.values()
                if version.configuration.capacity_provider_arn is not None
            },
        )


class Capacity:
    """Keeps the runtime's concurrency in step with the functions of the store, and counts what is left of an account's.

    Whoever takes concurrency holds `lock` from the count to the commit, so that two requests do not take the same. Usable from
    every thread.
    """

    def __init__(self, store: Store, runtime: RuntimeService, limit: int) -> None:
        self.lock = threading.Lock()
        self._store = store
        self._runtime = runtime
        self._limit = limit

    def unreserved(self, account_id: str, region: str) -> int:
        """What no function has reserved or provisioned."""
        return self._limit - sum(claimed(function) for function in self._store.functions(account_id, region))

    def changed(self, old: Function | None, new: Function | None) -> None:
        """A function was created, changed or deleted: tell the runtime what that means. Called in the order of the changes."""
        before, after = _Claims.of(old), _Claims.of(new)
        function = new or old
        if before != after and function is not None:
            submit(self._runtime, self._apply(function, before, after))

    def provision(self, function: Function, qualifier: str) -> None:
        """Provisioned concurrency was asked for, perhaps again: what failed before is tried once more."""
        name = f"{function.arn}:{qualifier}"
        submit(self._runtime, self._provision({name: _environments(function, qualifier)}))

    def status(self, name: str) -> ProvisionedStatus:
        """What became of the provisioned concurrency under a qualified ARN. Blocks for a moment."""
        looking = submit(self._runtime, self._status(name))
        try:
            return (looking and looking.result(_PATIENCE_S)) or ProvisionedStatus()
        except (TimeoutError, concurrent.futures.CancelledError):
            return ProvisionedStatus()

    async def _apply(self, function: Function, before: _Claims, after: _Claims) -> None:
        if before.reserved != after.reserved:
            self._runtime.concurrency.set_reserved(function.account_id, function.region, function.arn, after.reserved)
        for arn in {**before.bounds, **after.bounds}:
            if before.bounds.get(arn) != after.bounds.get(arn):
                self._runtime.set_bounds(arn, after.bounds.get(arn))
        names = {**before.provisioned, **after.provisioned}
        changed = {name for name in names if before.provisioned.get(name) != after.provisioned.get(name)}
        await self._provision({name: after.provisioned.get(name, {}) for name in names if name in changed})

    async def _provision(self, requests: Mapping[str, Mapping[str, int]]) -> None:
        for name, versions in requests.items():
            self._runtime.set_provisioned(name, versions)

    async def _status(self, name: str) -> ProvisionedStatus | None:
        return self._runtime.provisioned(name)


def claimed(function: Function) -> int:
    """What a function takes out of its account's concurrency: its reserve, or else what it has provisioned."""
    reserved = function.settings.reserved_concurrency
    return provisioned(function) if reserved is None else reserved


def provisioned(function: Function, *, but: str | None = None) -> int:
    """The provisioned concurrency of all versions and aliases, or of all but one."""
    return sum(config.requested for qualifier, config in function.provisioned.items() if qualifier != but)


def _bounds(function: Function, version: Version) -> Bounds:
    """How many environments a version on managed instances has here: what was asked for, or else one that is initialised.

    AWS starts three, one an availability zone; here is one zone.
    """
    scaling = function.scaling_of(version)
    maximum = scaling.maximum if scaling is not None else None
    minimum = 1 if scaling is None or scaling.minimum is None else scaling.minimum
    return Bounds(minimum if maximum is None else min(minimum, maximum), maximum)


def _environments(function: Function, qualifier: str) -> Mapping[str, int]:
    """How many environments of which version the provisioned concurrency of a version or alias means."""
    alias = function.aliases.get(qualifier)
    version, weights = (qualifier, {}) if alias is None else (alias.version, dict(alias.weights))
    shares = function.provisioned[qualifier].shares(weights, version)
    return {f"{function.arn}:{number}": count for number, count in shares.items()}
