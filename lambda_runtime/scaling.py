"""How fast and how far the environments of a function may become more."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from lambda_runtime.clock import Clock
from lambda_runtime.concurrency import ACCOUNT_LIMIT_EXCEEDED
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import Throttled
from lambda_runtime.rates import TokenBucket

SCALING_PERIOD_S = 10
TENANT_SHARE = 1000
"""The quota of tenant environments is given for so much concurrency of the function."""


class FunctionScaling:
    """The new environments of one function, whatever its version; shared by the managers of its versions.

    A function may add 1,000 environments every ten seconds, refilled continuously; environments with provisioned concurrency
    are allocated at a rate of their own: https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html. Of environments
    that belong to tenants 2,500 may exist for 1,000 concurrent executions of the function:
    https://docs.aws.amazon.com/lambda/latest/dg/tenant-isolation-troubleshooting.html.

    Touched only on the runtime loop; hence no locks. `concurrency` tells how much the function may use.
    """

    def __init__(self, config: RuntimeConfig, clock: Clock, concurrency: Callable[[], int]) -> None:
        self.tenant_environments = 0
        """Environments of tenants that exist, busy or idle."""
        self._config = config
        self._clock = clock
        self._concurrency = concurrency
        self._size = float(config.scaling_rate)
        self._per_second = self._size / SCALING_PERIOD_S
        self._bucket = TokenBucket(self._size, clock.now())

    def require_room(self, *, for_tenant: bool) -> None:
        """Raise Throttled if no environment can be started now. None is taken: `started` does that."""
        if self._per_second and not self._bucket.has(self._clock.now(), self._per_second, self._size):
            # AWS documents no reason of its own for this throttle; this is the one of concurrency that cannot be had.
            raise Throttled(ACCOUNT_LIMIT_EXCEEDED, retry_after_s=self._bucket.wait_s(self._per_second))
        if (
            for_tenant
            and self.tenant_environments >= self._config.tenant_environments * self._concurrency() / TENANT_SHARE
        ):
            raise Throttled(ACCOUNT_LIMIT_EXCEEDED, retry_after_s=1.0)

    def started(self, *, for_tenant: bool) -> None:
        """An environment is being started, on time or as a replacement of one that failed."""
        if self._per_second:
            self._bucket.take_anyway(self._clock.now(), self._per_second, self._size)
        self.tenant_environments += for_tenant

    def stopped(self, *, for_tenant: bool) -> None:
        """An environment is gone."""
        self.tenant_environments -= for_tenant


class ScalingByFunction:
    """The `FunctionScaling` of each function that has environments or versions; others are forgotten."""

    def __init__(self, config: RuntimeConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._functions: weakref.WeakValueDictionary[str, FunctionScaling] = weakref.WeakValueDictionary()

    @property
    def tenant_environments(self) -> int:
        """Environments of tenants of all functions."""
        return sum(scaling.tenant_environments for scaling in self._functions.values())

    def of(self, function_arn: str, concurrency: Callable[[], int]) -> FunctionScaling:
        """That of a function; whoever uses it holds it."""
        scaling = self._functions.get(function_arn)
        if scaling is None:
            scaling = self._functions[function_arn] = FunctionScaling(self._config, self._clock, concurrency)
        return scaling
