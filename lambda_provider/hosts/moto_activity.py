"""In moto's process: tells the gateway when there is something in a queue or a stream, so that nobody has to poll for it.

Moto's classes are changed where messages and records come in. A version of moto that lacks one of them is used as it is: a
warning says so, and pollers find what is there at their slow cadence.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from lambda_provider.hosts import moto_queues, moto_streams, moto_table_streams
from lambda_provider.hosts.services.patches import MotoChanged

logger = logging.getLogger(__name__)


class Reporter:
    """Writes `ARN SECONDS` lines to the gateway, from a thread of its own: who sends a message does not wait for it.

    What is reported again before it was written is written once, with its earliest moment.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._changed = threading.Condition()
        self._pending: dict[str, float] = {}
        threading.Thread(target=self._write, name="activity", daemon=True).start()

    def report(self, arn: str, delay_s: float = 0.0) -> None:
        """There will be something at that ARN in so many seconds; 0 for now. Usable from every thread."""
        with self._changed:
            self._pending[arn] = min(delay_s, self._pending.get(arn, delay_s))
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    self._changed.wait()
                pending, self._pending = self._pending, {}
            lines = "".join(f"{arn} {max(0.0, delay_s):.3f}\n" for arn, delay_s in pending.items())
            try:
                self._connection.sendall(lines.encode())
            except OSError:
                return  # The gateway is gone, and this process about to go.


def install(service: Any, report: Callable[..., None]) -> None:
    """Have a service report, when its application is made; templates make resources of all of them."""
    for each in _PATCHES if service == "cloudformation" else _NEEDED.get(service, (service,)):
        if (patch := _PATCHES.get(each)) is not None and each not in _installed:
            _installed.add(each)
            _install(each, patch, report)


def _install(service: str, patch: Callable[[Callable[..., None]], None], report: Callable[..., None]) -> None:
    try:
        patch(report)
    except (ImportError, MotoChanged) as error:
        logger.warning("this version of moto cannot tell when there is something in %s: %s", service, error)


_PATCHES: dict[Any, Callable[[Callable[..., None]], None]] = {
    "sqs": moto_queues.install,
    "kinesis": moto_streams.install,
    "dynamodb": moto_table_streams.install,
    "dynamodbstreams": moto_table_streams.install_readers,
}
_NEEDED = {"dynamodbstreams": ("dynamodb", "dynamodbstreams")}
"""Services that show what another one has."""
_installed: set[str] = set()
