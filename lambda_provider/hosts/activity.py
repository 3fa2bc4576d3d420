"""The standalone host's activity feed: what moto's process reports, handed to the pollers of event sources."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class ActivityFeed:
    """Subscriptions by ARN (`lambda_provider.host.Activity`). Touched only on the gateway's loop.

    Reports are lines `ARN SECONDS`: there is, or in so many seconds will be, something new.
    """

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[[float], None]]] = {}
        self._rest = b""

    def subscribe(self, arn: str, callback: Callable[[float], None]) -> Callable[[], None]:
        """Call `callback` for each report on that ARN, until what this returns is called."""
        callbacks = self._callbacks.setdefault(arn, [])
        callbacks.append(callback)

        def end() -> None:
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks and self._callbacks.get(arn) is callbacks:
                del self._callbacks[arn]

        return end

    def began(self) -> None:
        """A new process reports: nothing is known of what there is."""
        self._rest = b""
        for callbacks in list(self._callbacks.values()):
            for callback in list(callbacks):
                callback(0.0)

    def feed(self, data: bytes) -> None:
        """Take in bytes of reports, cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            arn, _, seconds = line.decode("utf-8", "replace").rpartition(" ")
            for callback in list(self._callbacks.get(arn, ())):
                try:
                    callback(float(seconds))
                except ValueError:
                    logger.warning("moto reported what nobody understands: %r", line)
