"""In moto's process: tells the gateway when there is something in a queue or a stream, so that nobody has to poll for it.

Moto's classes are changed where messages and records come in. A version of moto that lacks one of them is used as it is: a
warning says so, and pollers find what is there at their slow cadence.
"""

from __future__ import annotations

import functools
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any, cast

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
    except (ImportError, AttributeError) as error:
        logger.warning("this version of moto cannot tell when there is something in %s: %s", service, error)


def _queues(report: Callable[..., None]) -> None:
    """Messages that come, are delayed, become visible again, or are no longer behind another one of their group.

    Moto's queues are also made safe for the threads that use them: it replaces the list of messages when one is deleted, and a
    message that is sent in that moment would be lost; and a long poll would burn the processor while a group waits.
    """
    from moto.core.utils import unix_time_millis
    from moto.sqs.models import Queue, SQSBackend

    queue_class, backend_class = cast(Any, Queue), cast(Any, SQSBackend)
    add_message, wait_for_messages = queue_class.add_message, queue_class.wait_for_messages
    receive, delete = backend_class.receive_message, queue_class.delete_message
    change_visibility, purge = backend_class.change_message_visibility, backend_class.purge_queue

    def seconds_to(moment_ms: float) -> float:
        return max(0.0, (moment_ms - unix_time_millis()) / 1000)

    def report_next(queue: Any) -> None:
        """When the first message that is not visible now will be."""
        now = unix_time_millis()
        moments = [max(each.visible_at, each.delayed_until) for each in queue._messages]
        if later := [moment for moment in moments if moment >= now]:
            # Visible is what is past its moment, and moto counts in milliseconds.
            report(queue.queue_arn, seconds_to(min(later)) + 0.002)

    @functools.wraps(add_message)
    def reporting_add(self: Any, message: Any) -> Any:
        with self._messages_lock:
            result = add_message(self, message)
        report(self.queue_arn, seconds_to(message.delayed_until))
        return result

    @functools.wraps(receive)
    def reporting_receive(self: Any, queue_name: str, count: int, *arguments: Any, **more: Any) -> Any:
        queue = self.get_queue(queue_name)
        with queue._messages_lock:
            messages = receive(self, queue_name, count, *arguments, **more)
            if len(messages) < int(count):
                report_next(queue)
        return messages

    @functools.wraps(delete)
    def reporting_delete(self: Any, receipt_handle: str) -> Any:
        with self._messages_lock:
            result = delete(self, receipt_handle)
        if self.fifo_queue:
            report(self.queue_arn)
        return result

    @functools.wraps(change_visibility)
    def reporting_change(self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int) -> Any:
        queue = self.get_queue(queue_name)
        with queue._messages_lock:
            result = change_visibility(self, queue_name, receipt_handle, visibility_timeout)
        report(queue.queue_arn, float(visibility_timeout) + (0.002 if int(visibility_timeout) else 0.0))
        return result

    @functools.wraps(purge)
    def locked_purge(self: Any, queue_name: str) -> Any:
        with self.get_queue(queue_name)._messages_lock:
            return purge(self, queue_name)

    @functools.wraps(wait_for_messages)
    def waiting(self: Any, timeout: int) -> None:
        # The caller has looked, and has the lock: whatever it waits for comes with a notification, or in time.
        with self._messages_lock:
            now = unix_time_millis()
            moments = [max(each.visible_at, each.delayed_until) for each in self._messages]
            soon = min((moment for moment in moments if moment >= now), default=now + timeout * 1000)
            self._messages_lock.wait(min(float(timeout), (soon - now) / 1000 + 0.002))

    queue_class.add_message, queue_class.delete_message = reporting_add, reporting_delete
    queue_class.wait_for_messages = waiting
    backend_class.receive_message, backend_class.purge_queue = reporting_receive, locked_purge
    backend_class.change_message_visibility = reporting_change


def _streams(report: Callable[..., None]) -> None:
    """Records of Kinesis streams."""
    from moto.kinesis.models import Stream

    stream_class = cast(Any, Stream)
    put_record = stream_class.put_record
    writing = threading.Lock()

    @functools.wraps(put_record)
    def reporting_put(self: Any, *arguments: Any, **more: Any) -> Any:
        # Moto says that it is not safe for concurrency: two records would get one sequence number.
        with writing:
            result = put_record(self, *arguments, **more)
        report(self.arn)
        return result

    stream_class.put_record = reporting_put


def _tables(report: Callable[..., None]) -> None:
    """Records of the streams of DynamoDB tables."""
    from moto.dynamodb.models.table import StreamShard

    shard_class = cast(Any, StreamShard)
    add = shard_class.add
    adding = threading.Lock()

    @functools.wraps(add)
    def reporting_add(self: Any, *arguments: Any, **more: Any) -> Any:
        with adding:
            result = add(self, *arguments, **more)
        report(f"{self.table.table_arn}/stream/{self.table.latest_stream_label}")
        return result

    shard_class.add = reporting_add


_PATCHES: dict[Any, Callable[[Callable[..., None]], None]] = {"sqs": _queues, "kinesis": _streams, "dynamodb": _tables}
