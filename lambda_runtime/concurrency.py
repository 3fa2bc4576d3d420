"""Who may run now: the account's pool in a region, and what functions reserve from it.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lambda_runtime.errors import Throttled
from lambda_runtime.types import FunctionVersion

RESERVED_LIMIT_EXCEEDED = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_LIMIT_EXCEEDED = "ConcurrentInvocationLimitExceeded"


@dataclass(slots=True)
class _Pool:
    """The concurrency of one account in one region. Counts are invocations in flight."""

    unreserved_in_use: int = 0
    reserved: dict[str, int] = field(default_factory=dict)
    """Function ARN -> reserved concurrency."""
    in_use: dict[str, int] = field(default_factory=dict)
    """Function ARN -> invocations in flight; no entry when there are none."""


class ConcurrencyTracker:
    """Counts invocations in flight and refuses those above a limit. Touched only on the runtime loop; hence no locks.

    `on_release` is called after a slot became free, with the function's ARN: whoever waits for one may try again.
    """

    def __init__(self, limit: int, on_release: Callable[[str], None] = lambda function_arn: None) -> None:
        self.limit = limit
        self.on_release = on_release
        self._pools: dict[tuple[str, str], _Pool] = {}

    def _pool(self, version: FunctionVersion) -> _Pool:
        key = (version.account_id, version.region)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool()
        return pool

    def set_reserved(self, account_id: str, region: str, function_arn: str, reserved: int | None) -> None:
        """Reserve a part of the pool for a function, or give it back with None. 0 lets nothing run."""
        pool = self._pools.setdefault((account_id, region), _Pool())
        running = pool.in_use.get(function_arn, 0)
        was_reserved = function_arn in pool.reserved
        if reserved is None:
            pool.reserved.pop(function_arn, None)
            pool.unreserved_in_use += running if was_reserved else 0
        else:
            pool.reserved[function_arn] = reserved
            pool.unreserved_in_use -= 0 if was_reserved else running
        self.on_release(function_arn)

    def acquire(self, version: FunctionVersion) -> None:
        """Take a slot for one invocation.

        Raises Throttled with the model's ThrottleReason when the function's reserve or the unreserved pool is used up.
        """
        pool = self._pool(version)
        function_arn = version.function_arn
        running = pool.in_use.get(function_arn, 0)
        reserved = pool.reserved.get(function_arn) if pool.reserved else None
        if reserved is not None:
            if running >= reserved:
                raise Throttled(RESERVED_LIMIT_EXCEEDED)
        else:
            if pool.unreserved_in_use >= self.limit - (sum(pool.reserved.values()) if pool.reserved else 0):
                raise Throttled(ACCOUNT_LIMIT_EXCEEDED)
            pool.unreserved_in_use += 1
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

    def in_use(self, account_id: str, region: str) -> int:
        """Invocations in flight in that account and region."""
        pool = self._pools.get((account_id, region))
        return sum(pool.in_use.values()) if pool else 0
