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

from lambda_provider.hosts.services.patches import MotoChanged, replace

logger = logging.getLogger(__name__)

_PAST_S = 0.002


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


def _queues(report: Callable[..., None]) -> None:
    """Messages that come, are delayed, become visible again, or are no longer behind another one of their group.

    Moto's queues are also made safe for the threads that use them (it replaces the list of messages when one is deleted, and
    one that is sent in that moment would be lost), show the messages of a group in their order when several of them become
    visible again, and sleep in a long poll while there is nothing to show.
    """
    from moto.core.utils import unix_time, unix_time_millis
    from moto.sqs.models import Queue, SQSBackend

    def seconds_to(moment_ms: float) -> float:
        # Visible is what is past its moment, and moto counts in milliseconds.
        return max(0.0, (moment_ms - unix_time_millis()) / 1000 + _PAST_S)

    def next_moment_ms(queue: Any) -> float | None:
        """When the first message that is not shown now will be."""
        now = unix_time_millis()
        moments = (max(each.visible_at, each.delayed_until) for each in queue._messages)
        return min((moment for moment in moments if moment >= now), default=None)

    def reporting_add(add: Any) -> Any:
        def add_message(self: Any, message: Any) -> Any:
            with self._messages_lock:
                result = add(self, message)
            report(self.queue_arn, seconds_to(message.delayed_until) if message.delayed else 0.0)
            return result

        return add_message

    def reporting_receive(receive: Any) -> Any:
        def receive_message(
            self: Any,
            queue_name: str,
            count: int,
            wait_seconds_timeout: int,
            visibility_timeout: int,
            message_attribute_names: list[str] | None = None,
        ) -> Any:
            queue = self.get_queue(queue_name)
            end = unix_time() + int(wait_seconds_timeout or 0)
            with queue._messages_lock:
                while True:
                    # Otherwise moto would show the last message of a group first.
                    shown = [each for each in queue._pending_messages if each.visible]
                    queue._pending_messages.difference_update(shown)
                    messages = receive(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
                    moment = None if len(messages) >= int(count) else next_moment_ms(queue)
                    left_s = end - unix_time()
                    if messages or left_s <= 0:
                        break
                    queue._messages_lock.wait(left_s if moment is None else min(left_s, seconds_to(moment)))
            if moment is not None:
                report(queue.queue_arn, seconds_to(moment))
            return messages

        return receive_message

    def reporting_delete(delete: Any) -> Any:
        def delete_message(self: Any, receipt_handle: str) -> Any:
            with self._messages_lock:
                result = delete(self, receipt_handle)
                if self.fifo_queue:
                    self._messages_lock.notify_all()
            if self.fifo_queue:
                report(self.queue_arn)
            return result

        return delete_message

    def reporting_change(change: Any) -> Any:
        def change_message_visibility(self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int) -> Any:
            queue = self.get_queue(queue_name)
            with queue._messages_lock:
                result = change(self, queue_name, receipt_handle, visibility_timeout)
                queue._messages_lock.notify_all()
            report(queue.queue_arn, float(visibility_timeout) + _PAST_S)
            return result

        return change_message_visibility

    def locked_purge(purge: Any) -> Any:
        def purge_queue(self: Any, queue_name: str) -> Any:
            with self.get_queue(queue_name)._messages_lock:
                return purge(self, queue_name)

        return purge_queue

    receiving = "self queue_name count wait_seconds_timeout visibility_timeout message_attribute_names"
    changing = "self queue_name receipt_handle visibility_timeout"
    replace(SQSBackend, "receive_message", receiving, reporting_receive)
    replace(SQSBackend, "change_message_visibility", changing, reporting_change)
    replace(SQSBackend, "purge_queue", "self queue_name", locked_purge)
    replace(Queue, "add_message", "self message", reporting_add)
    replace(Queue, "delete_message", "self receipt_handle", reporting_delete)


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


_PATCHES: dict[Any, Callable[[Callable[..., None]], None]] = {"sqs": _queues, "kinesis": _streams, "dynamodb": _tables}
