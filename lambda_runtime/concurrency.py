"""Who may run now: the account's pool in a region, and what functions reserve from it or have provisioned.

Provisioned concurrency counts towards the reserve of its function, or else is taken from what the account has unreserved:
https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html

Each unit of concurrency also allows ten synchronous requests a second, for the account and for a function with a reserve;
asynchronous events are bound by concurrency alone: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html,
"Invocation requests per function per Region".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lambda_runtime.clock import Clock, SystemClock
from lambda_runtime.errors import Throttled, ZeroReservedConcurrency
from lambda_runtime.rates import TokenBucket
from lambda_runtime.types import FunctionVersion

RESERVED_LIMIT_EXCEEDED = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_LIMIT_EXCEEDED = "ConcurrentInvocationLimitExceeded"
RESERVED_RATE_EXCEEDED = "ReservedFunctionInvocationRateLimitExceeded"
FUNCTION_RATE_EXCEEDED = "FunctionInvocationRateLimitExceeded"
ACCOUNT_RATE_EXCEEDED = "CallerRateLimitExceeded"


@dataclass(slots=True)
class _Pool:
    """The concurrency of one account in one region. Counts are invocations in flight, on demand where nothing else is said."""

    unreserved: int
    """What functions without a reserve may use together, on demand."""
    unreserved_in_use: int = 0
    unreserved_peak: int = 0
    """The highest `unreserved_in_use` since somebody asked."""
    reserved: dict[str, int] = field(default_factory=dict)
    """Function ARN -> reserved concurrency."""
    in_use: dict[str, int] = field(default_factory=dict)
    """Function ARN -> invocations in flight; no entry when there are none."""
    provisioned: dict[str, dict[str, int]] = field(default_factory=dict)
    """Function ARN -> version ARN -> provisioned concurrency; no entry when there is none."""
    provisioned_in_use: dict[str, int] = field(default_factory=dict)
    """Function ARN -> invocations in flight on provisioned concurrency; no entry when there are none."""
    rate: TokenBucket = field(default_factory=lambda: TokenBucket(float("inf"), 0.0))
    """Synchronous requests of the account."""
    rates: dict[str, TokenBucket] = field(default_factory=dict)
    """Function ARN -> its synchronous requests, for those that had any."""

    def provisioned_for(self, function_arn: str) -> int:
        """The provisioned concurrency of all versions of a function."""
        versions = self.provisioned.get(function_arn)
        return sum(versions.values()) if versions else 0


class ConcurrencyTracker:
    """Counts invocations in flight and refuses those above a limit. Touched only on the runtime loop; hence no locks.

    `on_release` is called for each slot that became free, or may have, with the function's ARN: whoever waits for one may
    try again.
    """

    def __init__(
        self,
        limit: int,
        on_release: Callable[[str], None] = lambda function_arn: None,
        clock: Clock | None = None,
        requests_per_concurrency: int = 0,
    ) -> None:
        self.limit = limit
        self.on_release = on_release
        self._clock = clock or SystemClock()
        self._requests_per_concurrency = requests_per_concurrency
        self._pools: dict[tuple[str, str], _Pool] = {}

    def _pool(self, version: FunctionVersion) -> _Pool:
        key = (version.account_id, version.region)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(self.limit)
        return pool

    def set_reserved(self, account_id: str, region: str, function_arn: str, reserved: int | None) -> None:
        """Reserve a part of the pool for a function, or give it back with None. 0 lets nothing run."""
        pool = self._pools.setdefault((account_id, region), _Pool(self.limit))
        running = pool.in_use.get(function_arn, 0)
        was_reserved = function_arn in pool.reserved
        if reserved is None:
            pool.reserved.pop(function_arn, None)
            pool.unreserved_in_use += running if was_reserved else 0
        else:
            pool.reserved[function_arn] = reserved
            pool.unreserved_in_use -= 0 if was_reserved else running
        self._count_unreserved(pool)
        self._wake(pool, function_arn)

    def set_provisioned(self, version: FunctionVersion, count: int) -> None:
        """Take concurrency out of the function's reserve, or the unreserved pool, for what a version has provisioned."""
        pool = self._pool(version)
        function_arn = version.function_arn
        versions = pool.provisioned.get(function_arn, {})
        if versions.get(version.arn, 0) == count:
            return
        others = {arn: number for arn, number in versions.items() if arn != version.arn}
        pool.provisioned[function_arn] = {**others, version.arn: count} if count else others
        if not pool.provisioned[function_arn]:
            del pool.provisioned[function_arn]
        self._count_unreserved(pool)
        self._wake(pool, function_arn)

    def acquire(self, version: FunctionVersion, synchronous: bool = False) -> None:
        """Take a slot for one invocation on demand.

        Raises Throttled with the model's ThrottleReason when the function's reserve or the unreserved pool is used up, or, for
        a synchronous request, when there are too many of them a second.
        """
        pool = self._pool(version)
        function_arn = version.function_arn
        running = pool.in_use.get(function_arn, 0)
        reserved = pool.reserved.get(function_arn) if pool.reserved else None
        if reserved is not None:
            if running >= (reserved - pool.provisioned_for(function_arn) if pool.provisioned else reserved):
                raise (Throttled if reserved else ZeroReservedConcurrency)(RESERVED_LIMIT_EXCEEDED)
            if synchronous:
                self._count_request(pool, function_arn, reserved)
        else:
            if pool.unreserved_in_use >= pool.unreserved:
                raise Throttled(ACCOUNT_LIMIT_EXCEEDED)
            if synchronous:
                self._count_request(pool, function_arn, None)
            pool.unreserved_in_use += 1
            if pool.unreserved_in_use > pool.unreserved_peak:
                pool.unreserved_peak = pool.unreserved_in_use
        pool.in_use[function_arn] = running + 1

    def release(self, version: FunctionVersion) -> None:
        """Give the slot of one invocation back."""
        pool = self._pool(version)
        function_arn = version.function_arn
        running = pool.in_use[function_arn] - 1
        if running:
            pool.in_use[function_arn] = running
        else:
            del pool.in_use[function_arn]
        if function_arn not in pool.reserved:
            pool.unreserved_in_use -= 1
        self.on_release(function_arn)

    def acquire_provisioned(self, version: FunctionVersion, synchronous: bool = False) -> None:
        """Count an invocation that has a slot of its version's provisioned concurrency.

        Raises Throttled when the function's reserve is used up all the same, by invocations on demand that began before, or,
        for a synchronous request, when there are too many of them a second.
        """
        pool = self._pool(version)
        function_arn = version.function_arn
        running = pool.provisioned_in_use.get(function_arn, 0)
        reserved = pool.reserved.get(function_arn)
        if reserved is not None and running + pool.in_use.get(function_arn, 0) >= reserved:
            raise Throttled(RESERVED_LIMIT_EXCEEDED)
        if synchronous:
            self._count_request(pool, function_arn, reserved)
        pool.provisioned_in_use[function_arn] = running + 1

    def release_provisioned(self, version: FunctionVersion) -> None:
        """Such an invocation is over."""
        pool = self._pool(version)
        function_arn = version.function_arn
        running = pool.provisioned_in_use[function_arn] - 1
        if running:
            pool.provisioned_in_use[function_arn] = running
        else:
            del pool.provisioned_in_use[function_arn]
        self.on_release(function_arn)

    def forget_rate(self, version: FunctionVersion) -> None:
        """A version is gone: what is known of its function's requests is not kept."""
        self._pool(version).rates.pop(version.function_arn, None)

    def limit_of(self, version: FunctionVersion) -> int:
        """The most concurrency that the function of a version can have: its reserve, or the account's."""
        return self._pool(version).reserved.get(version.function_arn, self.limit)

    def _count_request(self, pool: _Pool, function_arn: str, reserved: int | None) -> None:
        """Count a synchronous request. Raises Throttled if there were too many in the last second."""
        factor = self._requests_per_concurrency
        if not factor:
            return
        now = self._clock.now()
        usable = pool.unreserved if reserved is None else reserved
        if reserved is None and pool.provisioned:
            usable += pool.provisioned_for(function_arn)
        per_second = factor * usable
        bucket = pool.rates.get(function_arn)
        if bucket is None:
            bucket = pool.rates[function_arn] = TokenBucket(per_second, now)
        if not bucket.take(now, per_second, per_second):
            reason = FUNCTION_RATE_EXCEEDED if reserved is None else RESERVED_RATE_EXCEEDED
            raise Throttled(reason, retry_after_s=bucket.wait_s(per_second))
        per_second = factor * self.limit
        if not pool.rate.take(now, per_second, per_second):
            raise Throttled(ACCOUNT_RATE_EXCEEDED, retry_after_s=pool.rate.wait_s(per_second))

    def _wake(self, pool: _Pool, function_arn: str) -> None:
        """After a limit changed: as many may try again as can run at most."""
        for _ in range(max(1, pool.reserved.get(function_arn, pool.unreserved))):
            self.on_release(function_arn)

    def _count_unreserved(self, pool: _Pool) -> None:
        provisioned = sum(
            pool.provisioned_for(function_arn) for function_arn in pool.provisioned if function_arn not in pool.reserved
        )
        pool.unreserved = self.limit - sum(pool.reserved.values()) - provisioned

    def unreserved(self, account_id: str, region: str) -> tuple[int, int]:
        """The most unreserved concurrency in use since the last call, and what is reserved or provisioned of the account's."""
        pool = self._pools.get((account_id, region))
        if pool is None:
            return 0, 0
        peak, pool.unreserved_peak = pool.unreserved_peak, pool.unreserved_in_use
        return peak, self.limit - pool.unreserved

    def counts(self) -> dict[str, int]:
        """Invocations in flight of all accounts, in the ways in which they are counted; all 0 when nothing runs."""
        pools = self._pools.values()
        return {
            "on_demand": sum(sum(pool.in_use.values()) for pool in pools),
            "unreserved": sum(pool.unreserved_in_use for pool in pools),
            "provisioned": sum(sum(pool.provisioned_in_use.values()) for pool in pools),
        }

    def in_use(self, account_id: str, region: str) -> int:
        """Invocations in flight in that account and region."""
        pool = self._pools.get((account_id, region))
        return sum(pool.in_use.values()) + sum(pool.provisioned_in_use.values()) if pool else 0
