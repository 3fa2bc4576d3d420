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

from lambda_provider.hosts import moto_queues
from lambda_provider.hosts.services.patches import MotoChanged, replace

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
    """Have a service report, when its application is made."""
    patch = _PATCHES.get(service)
    if patch is None:
        return
    try:
        patch(report)
    except (ImportError, MotoChanged) as error:
        logger.warning("this version of moto cannot tell when there is something in %s: %s", service, error)


def _streams(report: Callable[..., None]) -> None:
    """Records of Kinesis streams. Moto says that it is not safe for concurrency: two records would get one number."""
    from moto.kinesis.models import Stream

    writing = threading.Lock()

    def reporting_put(put: Any) -> Any:
        def put_record(self: Any, *arguments: Any, **more: Any) -> Any:
            with writing:
                result = put(self, *arguments, **more)
            report(self.arn)
            return result

        return put_record

    replace(Stream, "put_record", "self", reporting_put)


def _tables(report: Callable[..., None]) -> None:
    """Records of the streams of DynamoDB tables."""
    from moto.dynamodb.models.table import StreamShard

    adding = threading.Lock()

    def reporting_add(add: Any) -> Any:
        def add_record(self: Any, *arguments: Any, **more: Any) -> Any:
            with adding:
                result = add(self, *arguments, **more)
            report(f"{self.table.table_arn}/stream/{self.table.latest_stream_label}")
            return result

        return add_record

    replace(StreamShard, "add", "self old new", reporting_add)


_PATCHES: dict[Any, Callable[[Callable[..., None]], None]] = {
    "sqs": moto_queues.install,
    "kinesis": _streams,
    "dynamodb": _tables,
}
