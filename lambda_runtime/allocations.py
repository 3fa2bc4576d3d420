"""Who asked for provisioned concurrency, and on which versions it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lambda_runtime.provisioned import Allocation, ProvisionedStatus


class Allocations:
    """Requests for provisioned concurrency by name, each for one or more versions.

    A request that moves on to other versions (an alias does) keeps what it has on the old ones until the new ones are
    initialised, so that there is capacity at every moment; AWS moves the traffic of an alias only then, too. Touched only on
    the runtime loop; hence no locks.

    `set_target` is told how many environments a version has to keep, `status_of` tells how far that is.
    """

    def __init__(self, set_target: Callable[[str, int], None], status_of: Callable[[str], ProvisionedStatus]) -> None:
        self._set_target = set_target
        self._status_of = status_of
        self._wanted: dict[str, Mapping[str, int]] = {}
        self._held: dict[str, Mapping[str, int]] = {}

    def request(self, name: str, versions: Mapping[str, int]) -> None:
        """Replace what `name` asks for: a number of environments by the ARN of the version. Nothing ends the request."""
        before = {**self._held.pop(name, {}), **self._wanted.pop(name, {})}
        if versions:
            self._wanted[name] = versions
            left = {arn: count for arn, count in before.items() if arn not in versions}
            if left:
                self._held[name] = left
        for arn in {**before, **versions}:
            self._set_target(arn, self.target(arn))
        self._let_go(name)

    def target(self, arn: str) -> int:
        """How many environments a version has to keep for all requests."""
        return sum(versions.get(arn, 0) for requests in (self._wanted, self._held) for versions in requests.values())

    def status(self, name: str) -> ProvisionedStatus | None:
        """How far a request is, or None if there is none."""
        wanted = self._wanted.get(name)
        if wanted is None:
            return None
        parts = [self._status_of(arn) for arn in wanted]
        states = {part.state for part in parts}
        state = next(each for each in (Allocation.FAILED, Allocation.IN_PROGRESS, Allocation.READY) if each in states)
        parts += [self._status_of(arn) for arn in self._held.get(name, {})]
        requested = sum(wanted.values())
        return ProvisionedStatus(
            state,
            min(requested, sum(part.allocated for part in parts)),
            min(requested, sum(part.available for part in parts)),
            next((part.reason for part in parts if part.reason), None),
        )

    def version_changed(self, arn: str) -> None:
        """The environments of a version came further: old ones that a request still holds may go now."""
        for name in [name for name, wanted in self._wanted.items() if arn in wanted]:
            self._let_go(name)

    def clear(self) -> None:
        """Forget every request; the environments are ended by whoever stops them."""
        self._wanted.clear()
        self._held.clear()

    def _let_go(self, name: str) -> None:
        if name in self._held and not any(
            self._status_of(arn).state is Allocation.IN_PROGRESS for arn in self._wanted.get(name, {})
        ):
            self._release(name)

    def _release(self, name: str) -> None:
        for arn in self._held.pop(name, {}):
            self._set_target(arn, self.target(arn))
