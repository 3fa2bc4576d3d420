"""In moto's process: moto's queues, such that several threads and many messages are no trouble for them.

- Reports (`moto_activity`): messages that come, are delayed, become visible again, or are no longer behind another one of their
  group.
- Threads: moto replaces the list of messages when one is deleted, and one that is sent in that moment would be lost.
- FIFO queues: `moto_fifo`. Dead letters: `moto_dead_letters`.
- Order: when several messages of a group become visible again, moto would show the last one first.
- Long polls sleep until there is something to show, instead of asking again all the time while a group waits.
- Speed: moto counts all messages of a queue several times for each one that is sent or received.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lambda_provider.hosts import moto_dead_letters, moto_fifo
from lambda_provider.hosts.services.patches import View, replace

_PAST_S = 0.002
_COUNTS = {
    "ApproximateNumberOfMessages": "approximate_number_of_messages",
    "ApproximateNumberOfMessagesDelayed": "approximate_number_of_messages_delayed",
    "ApproximateNumberOfMessagesNotVisible": "approximate_number_of_messages_not_visible",
}
"""Attributes that cost a look at each message, and where moto has them."""


class LazyAttributes(dict[str, Any]):
    """Attributes of a queue, of which the counts are made when somebody asks for them."""

    def __init__(self, queue: Any, others: dict[str, Any]) -> None:
        super().__init__(others)
        self._queue = queue

    def __getitem__(self, name: str) -> Any:
        return getattr(self._queue, _COUNTS[name]) if name in _COUNTS else super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401  (this is `get`)

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


def install(report: Callable[..., None]) -> None:
    """Change the classes of moto's SQS. Raises MotoChanged, and ImportError."""
    from moto.sqs import models
    from moto.sqs.exceptions import ReceiptHandleIsInvalid

    Message, Queue, SQSBackend = models.Message, models.Queue, models.SQSBackend

    def reporting_add(add: Any) -> Any:
        def add_message(self: Any, message: Any) -> Any:
            with self._messages_lock:
                if self.fifo_queue and not moto_fifo.is_new(self, message):
                    return None
                moto_dead_letters.comes_to(self, message)
                result = add(View(self, fifo_queue=False), message)
            report(self.queue_arn, _seconds_to(message.delayed_until) if message.delayed else 0.0)
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
            end = time.time() + int(wait_seconds_timeout or 0)
            with queue._messages_lock:
                while True:
                    # Otherwise moto would show the last message of a group first.
                    shown = [each for each in queue._pending_messages if each.visible]
                    queue._pending_messages.difference_update(shown)
                    messages = receive(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
                    moment = None if len(messages) >= int(count) else _next_moment_ms(queue)
                    left_s = end - time.time()
                    if messages or left_s <= 0:
                        break
                    queue._messages_lock.wait(left_s if moment is None else min(left_s, _seconds_to(moment)))
            if moment is not None:
                report(queue.queue_arn, _seconds_to(moment))
            return messages

        return receive_message

    def delete_message(self: Any, receipt_handle: str) -> None:
        with self._messages_lock:
            if receipt_handle in self.deleted_messages:
                return
            index = _index(self._messages, receipt_handle)
            if index is None:
                raise ReceiptHandleIsInvalid()
            message = self._messages.pop(index)
            self._pending_messages.discard(message)
            self.deleted_messages.update(message.all_receipt_handles)
            if self.fifo_queue:
                self._messages_lock.notify_all()
        if self.fifo_queue:
            report(self.queue_arn)

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
    moto_dead_letters.install()
    replace(SQSBackend, "change_message_visibility", changing, reporting_change)
    replace(SQSBackend, "purge_queue", "self queue_name", locked_purge)
    replace(Queue, "add_message", "self message", reporting_add)
    replace(Queue, "delete_message", "self receipt_handle", lambda original: delete_message)
    replace(Message, "had_receipt_handle", "self receipt_handle", lambda original: _had_receipt_handle)
    replace(
        SQSBackend, "is_message_valid_based_on_retention_period", "self queue_name message", lambda original: _is_kept
    )
    _count_lazily(Queue)
    # Theirs makes a date, each time that somebody wants to know whether a message is visible.
    vars(models)["unix_time_millis"] = _now_ms


def _index(messages: list[Any], receipt_handle: str) -> int | None:
    return next((index for index, each in enumerate(messages) if each.had_receipt_handle(receipt_handle)), None)


def _shown(self: Any) -> list[Any]:
    now = _now_ms()
    return [each for each in self._messages if now > each.visible_at and now >= each.delayed_until]


def _count_lazily(queue_class: Any) -> None:
    attributes = vars(queue_class)["attributes"].fget

    def lazily(self: Any) -> LazyAttributes:
        return LazyAttributes(self, attributes(View(self, **dict.fromkeys(_COUNTS.values(), 0))))

    queue_class.attributes = property(lazily)
    queue_class.messages = property(_shown)


def _had_receipt_handle(self: Any, receipt_handle: str) -> bool:
    return receipt_handle == self.receipt_handle or receipt_handle in self._old_receipt_handles


def _is_kept(self: Any, queue_name: str, message: Any) -> bool:
    return bool(self.get_queue(queue_name).message_retention_period + message.sent_timestamp / 1000 > time.time())


def _now_ms() -> float:
    return time.time() * 1000


def _seconds_to(moment_ms: float) -> float:
    # Visible is what is past its moment, and moto counts in milliseconds.
    return max(0.0, (moment_ms - _now_ms()) / 1000 + _PAST_S)


def _next_moment_ms(queue: Any) -> float | None:
    """When the first message that is not shown now will be."""
    now = _now_ms()
    moments = (max(each.visible_at, each.delayed_until) for each in queue._messages)
    return min((moment for moment in moments if moment >= now), default=None)
