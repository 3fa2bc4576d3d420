"""What has to be sent when an event leaves the queue, and that it is not lost without a word."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.api import LambdaError
from lambda_provider.delivery.records import Parcel, dead_letter, invocation_record
from lambda_provider.delivery.senders import NotDelivered, Senders
from lambda_provider.host import Host, ServiceUnavailable
from lambda_provider.model.function import LATEST, Function
from lambda_provider.store.store import Store
from lambda_runtime.clock import Clock
from lambda_runtime.event_queue import Outcome, QueuedEvent

logger = logging.getLogger(__name__)

DEAD_LETTER_ERRORS = "DeadLetterErrors"
DESTINATION_DELIVERY_FAILURES = "DestinationDeliveryFailures"

RETRY_DELAYS_S = (1.0, 2.0)
"""What a target may take later is tried again, beyond what the host's client repeats by itself."""

_THREADS = 8
_LATER = frozenset(("Throttling", "ThrottlingException", "RequestThrottled", "SlowDown", "ServiceUnavailable"))

InvokeFunction = Callable[[str, Parcel], Awaitable[Any]]
"""Accept an event for the function of an ARN. Raises LambdaError when it cannot be accepted."""


class Deliveries:
    """Sends the record of an event to its destination, and a failed event to the dead-letter queue of its function.

    A function may have both, and gets both; the dead-letter queue is that of `$LATEST` whatever version ran (Developer Guide,
    "Adding a dead-letter queue"), the destinations those of the qualifier that was invoked. Called on the runtime loop; what
    blocks runs in threads. `count` is called on the loop for what could not be delivered: with the name of a metric, the ARN of
    the version and the ARN that was invoked.
    """

    def __init__(
        self,
        store: Store,
        host: Host,
        clock: Clock,
        invoke_function: InvokeFunction,
        count: Callable[[str, str, str], None] = lambda metric, version_arn, invoked_arn: None,
    ) -> None:
        self._count = count
        self._store = store
        self._senders = Senders(host)
        self._clock = clock
        self._invoke_function = invoke_function
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None

    def event_left(self, event: QueuedEvent, outcome: Outcome) -> Awaitable[None] | None:
        """The delivery of what this outcome asks for; None if nothing does."""
        _, _, _, region, account_id, _, name, *qualifier = event.invocation.invoked_arn.split(":")
        function = self._store.find(account_id, region, name)
        if function is None:
            return None
        destination, dead_letters = _targets(function, qualifier[0] if qualifier else LATEST, outcome)
        if destination is None and dead_letters is None:
            return None
        return self._send_all(event, outcome, destination, dead_letters)

    async def send(self, target: str, parcel: Parcel) -> Exception | None:
        """Deliver to any target, with retries of what may work later; None, or why it was not possible."""
        return await self._try(target, parcel)

    def close(self) -> None:
        """Take no more; what is under way ends by itself. May be called twice."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _send_all(
        self, event: QueuedEvent, outcome: Outcome, destination: str | None, dead_letters: str | None
    ) -> None:
        sendings = []
        if destination is not None:
            record = invocation_record(event, outcome, self._clock.now())
            sendings.append(self._send(destination, record, DESTINATION_DELIVERY_FAILURES, event))
        if dead_letters is not None:
            sendings.append(self._send(dead_letters, dead_letter(event), DEAD_LETTER_ERRORS, event))
        await asyncio.gather(*sendings)

    async def _send(self, target: str, parcel: Parcel, metric: str, event: QueuedEvent) -> None:
        """Deliver, or count and log that it was not possible."""
        problem = await self._try(target, parcel)
        if problem is not None:
            call = event.invocation
            logger.warning("%s: nothing of event %s reached %s: %s", metric, call.request_id, target, problem)
            self._count(metric, call.version_arn, call.invoked_arn)

    async def _try(self, target: str, parcel: Parcel) -> Exception | None:
        """Deliver; None, or why it was not possible. Only cancellation is raised."""
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                await self._deliver(target, parcel)
            except (ServiceUnavailable, NotDelivered, LambdaError) as error:
                return error
            except (ClientError, BotoCoreError, OSError) as error:
                if delay_s is None or not _may_work_later(error):
                    return error
                await self._clock.sleep_until(self._clock.now() + delay_s)
            except Exception as error:
                logger.exception("the delivery to %s is broken", target)
                return error
            else:
                break
        return None

    async def _deliver(self, target: str, parcel: Parcel) -> None:
        if target.split(":")[2] == "lambda":
            await self._invoke_function(target, parcel)
            return
        if self._threads is None:
            self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "deliveries")
        await asyncio.get_running_loop().run_in_executor(self._threads, self._senders.send, target, parcel)


def _targets(function: Function, qualifier: str, outcome: Outcome) -> tuple[str | None, str | None]:
    """The destination and the dead-letter queue for an outcome."""
    config = function.event_invoke_configs.get(qualifier)
    if outcome is Outcome.SUCCESS:
        return config.on_success if config is not None else None, None
    return config.on_failure if config is not None else None, function.latest.configuration.dead_letter_target_arn


def _may_work_later(error: Exception) -> bool:
    """Throttles, faults of the service and of the network; not what the target refuses."""
    if not isinstance(error, ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status == 429 or error.response.get("Error", {}).get("Code") in _LATER
