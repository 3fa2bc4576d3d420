"""The contract of an event source, and what it finds around it.

A class derived from `EventSource`, registered under the entry-point group `lambda_provider.event_sources` with the name of its
kind (`operations.mapping_kinds`), serves the mappings of that kind. Its whole life is on the runtime's loop:

    __init__(mapping, surroundings)     for one value of the mapping; touches nothing yet
    await require_filters()             the key of encrypted filters can be used
    await run()                         polls, invokes, and returns when `stop` was called and what is in flight is done
    stop()                              called once; no more records are taken from now on

What may go wrong and what then happens:

- `run` raises SourceProblem: the source cannot be used now. The mapping tells the reason, and `run` of a new instance is tried
  again after 1, 2, 4 … 60 seconds, or as soon as the host reports activity of the source.
- `run` raises anything else: a defect, which is logged, with the same back-off. Other mappings notice nothing of either.
- `run` is cancelled: the provider stops. Nothing may be acknowledged any more that was not processed.
- The settings or the function of the mapping change, it is disabled or deleted: `stop`, and a new instance for the new value.
  The new one starts when `run` has returned, unless the class says that it need not wait (`exclusive = False`).
- The function does not exist (any more): `stop`; a new instance starts when it exists. Aliases and updates need nothing, since
  each invoke looks up what to run.

A source keeps these rules:

- Blocking clients are called by `call`, and those that wait for something to come by `wait_for`; never on the loop.
- Records that are there are fetched when `alarm` rings. Between two looks without any it waits: `await alarm.wait(seconds)`
  with AWS's cadence, or with `safety_s` if `alarm.fed`. It clears the alarm before it looks, not after.
- A batch goes to the function by `invoke`: the way of an Invoke request, with the weights of an alias and concurrency. A failure
  of the function is in the result, everything else is raised; see `invoke`.
- `filters.match(record)` decides what the function gets (what is matched against is the source's matter); `Batch` bounds a batch.
- What becomes of a batch is told by `report` and `count`. Both are cheap; calling them for each batch is fine. What users read
  in CloudWatch Logs goes to `log`, which writes nothing for mappings that have no level.
- Positions that have to survive a restart go to `positions` (`lambda_provider.store.positions`), under the mapping's UUID.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, ParamSpec, TypeVar

from lambda_provider.delivery.records import Parcel
from lambda_provider.event_sources.alarm import Alarm
from lambda_provider.event_sources.calls import SHARE, Calls
from lambda_provider.event_sources.filters import Filters
from lambda_provider.event_sources.system_log import SystemLog
from lambda_provider.host import Activity, Host
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.operations.filter_keys import filter_key_error
from lambda_provider.store.positions import Positions
from lambda_runtime.clock import Clock
from lambda_runtime.types import InvocationResult

P = ParamSpec("P")
T = TypeVar("T")

OK = "OK"
NO_RECORDS = "No records processed"
FUNCTION_CALL_FAILED = "PROBLEM: Function call failed"
INTERNAL_ERROR = "PROBLEM: internal Lambda error. Please contact Lambda customer support."
"""Values of LastProcessingResult in AWS's words."""

NOT_VALID = "ESM_CONFIG_NOT_VALID"
AUTHENTICATION_ERROR = "EVENT_SOURCE_AUTHN_ERROR"
AUTHORIZATION_ERROR = "EVENT_SOURCE_AUTHZ_ERROR"
FUNCTION_NOT_VALID = "FUNCTION_CONFIG_NOT_VALID"
"""Values of StateTransitionReason when a source cannot be used (lambda/latest/dg/services-mq-errors.html)."""

SAFETY_S = 60.0
"""How often a source is looked at although the host would have said that something is there."""


class SourceProblem(Exception):
    """The source cannot be used now: it is not there, or refuses us.

    `reason` becomes StateTransitionReason, and `result` LastProcessingResult in mappings that have one; the message is for the
    log of the provider.
    """

    def __init__(self, message: str, *, reason: str = NOT_VALID, result: str = INTERNAL_ERROR) -> None:
        super().__init__(message)
        self.reason = reason
        self.result = result


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the manager gives to every source; `report`, `count` and `log` are for one mapping.

    `invoke` takes the ARN of the function with the mapping's qualifier, the event, and a trace header or None. `deliver` takes
    the ARN of an on-failure destination and a parcel, and returns None, or why it could not be delivered after retries.
    `role` gives the ARN of the function's execution role, or nothing when the function is gone.
    """

    host: Host
    clock: Clock
    calls: Calls
    positions: Positions
    activity: Activity | None
    invoke: Callable[[str, bytes, str | None], Awaitable[InvocationResult]]
    deliver: Callable[[str, Parcel], Awaitable[Exception | None]]
    report: Callable[[str], None]
    count: Callable[[str, float], None]
    count_for_function: Callable[[str, float], None]
    payload_limit_bytes: int
    role: Callable[[], str] = lambda: ""
    log: SystemLog = field(default_factory=SystemLog)


class EventSource(ABC):
    """A mapping at work; the module's docstring is the contract."""

    exclusive: ClassVar[bool] = True
    """Whether a new instance has to wait until the former one has finished what it had in flight: for sources whose order or
    positions would suffer otherwise."""

    def __init__(self, mapping: EventSourceMapping, surroundings: Surroundings) -> None:
        self.mapping = mapping
        self.settings = mapping.settings
        self.clock = surroundings.clock
        self.positions = surroundings.positions
        self.log = surroundings.log
        self.filters = Filters(mapping.settings.filters)
        self.alarm = Alarm(surroundings.clock, surroundings.activity, self.watched_arn)
        self.stopping = False
        self._surroundings = surroundings
        self._share = asyncio.Semaphore(SHARE)

    @abstractmethod
    async def run(self) -> None:
        """Poll until `stopping`. Raises SourceProblem."""

    @property
    def watched_arn(self) -> str | None:
        """The ARN whose activity rings the alarm; None for what no AWS service knows."""
        return self.mapping.event_source_arn

    def stop(self) -> None:
        """Take no more records: `stopping` is set, and the alarm rings so that nobody waits on."""
        self.stopping = True
        self.alarm.ring()

    def close(self) -> None:
        """Called when `run` is over, however it ended."""
        self.alarm.close()

    async def require_filters(self) -> None:
        """Called before `run`. Raises SourceProblem while the key of encrypted filters cannot be used: what nobody can read
        tells of no record whether it is for the function."""
        if self.settings.kms_key_arn and self.settings.filters:
            failure = await self.call(filter_key_error, self._surroundings.host, self.mapping)
            if failure is not None:
                raise SourceProblem(f"its filters cannot be read: {failure['ErrorCode']}: {failure['Message']}")

    # What a source uses

    @property
    def payload_limit_bytes(self) -> int:
        """What an event may have."""
        return self._surroundings.payload_limit_bytes

    def role_arn(self) -> str:
        """The function's execution role, as which the source is polled."""
        return self._surroundings.role()

    def client(self, service: str) -> Any:
        """The host's botocore client of a service in the source's account and the mapping's region.

        Blocks when it is made: use it through `call`. Raises lambda_provider.host.ServiceUnavailable.
        """
        arn = (self.mapping.event_source_arn or "").split(":")
        account_id = arn[4] if len(arn) > 4 and arn[4] else self.mapping.account_id
        return self._surroundings.host.connect_to(service, account_id=account_id, region=self.mapping.region)

    def setting(self, name: str) -> str | None:
        """A setting of the host, None if it is not there or empty."""
        return self._surroundings.host.settings.get(name) or None

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what blocks for a moment, in a thread."""
        return await self._surroundings.calls.run(self._share, function, *args, **kwargs)

    async def wait_for(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what blocks until something comes (long polls), in a thread of another pool."""
        return await self._surroundings.calls.wait(function, *args, **kwargs)

    async def invoke(self, event: bytes, trace_header: str | None = None) -> InvocationResult:
        """Run the function and wait for its answer. A failure of the function is `function_error` of the result.

        Raises LambdaError: TooManyRequestsException is a throttle (back off and try again), RecursiveInvocationException a loop
        that was stopped, ResourceNotFoundException a function that is gone, and others a function that cannot run.
        """
        return await self._surroundings.invoke(self.mapping.function_arn, event, trace_header)

    async def deliver(self, destination: str, parcel: Parcel) -> Exception | None:
        """Send a record to an on-failure destination; None, or why it was not possible. Retries what may work later."""
        return await self._surroundings.deliver(destination, parcel)

    def report(self, result: str) -> None:
        """What became of the last batch, as LastProcessingResult. Written when it changes, and not in a hurry."""
        self._surroundings.report(result)

    def count(self, metric: str, value: float = 1) -> None:
        """Count one of the mapping's own metrics (see `counts`); those that it did not ask for cost nothing."""
        self._surroundings.count(metric, value)

    def count_for_function(self, metric: str, value: float) -> None:
        """Count a metric of the function, such as IteratorAge in milliseconds."""
        self._surroundings.count_for_function(metric, value)


def retry_delay_s(failures: int, *, first_s: float = 1.0, most_s: float = 60.0) -> float:
    """How long to wait after so many failures in a row (1 or more): twice as long each time."""
    return float(min(most_s, first_s * 2 ** min(failures - 1, 30)))
