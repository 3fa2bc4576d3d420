"""In moto's process: a dead letter says of which queue it is, in its attribute `DeadLetterQueueSourceArn`.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html; functions that empty a dead-letter
queue see it in `attributes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from lambda_provider.hosts.services.patches import replace

ATTRIBUTE = "DeadLetterQueueSourceArn"

_received: ContextVar[Sequence[Any]] = ContextVar("_received", default=())
"""What the request in this thread has received."""


def install() -> None:
    """Change the classes of moto's SQS. Raises MotoChanged, and ImportError."""
    from moto.sqs.models import SQSBackend
    from moto.sqs.responses import SQSResponse

    replace(SQSBackend, "receive_message", "self queue_name count", _remembered)
    replace(SQSResponse, "receive_message", "self", _with_sources)


def comes_to(queue: Any, message: Any) -> None:
    """A message is put into a queue; when it was in another one before, that one has given it up."""
    if (before := vars(message).get("_queue_arn")) is not None:
        message._dead_letter_of = before
    message._queue_arn = queue.queue_arn


def _remembered(receive: Any) -> Any:
    def receive_message(self: Any, *arguments: Any, **options: Any) -> Any:
        messages = receive(self, *arguments, **options)
        _received.set(messages)
        return messages

    return receive_message


def _with_sources(receive: Any) -> Any:
    def receive_message(self: Any) -> Any:
        answer = receive(self)
        messages = _received.get()
        _received.set(())
        asked = {
            name for member in ("AttributeNames", "MessageSystemAttributeNames") for name in self._get_param(member, [])
        }
        if asked & {"All", ATTRIBUTE}:
            for described, message in zip(answer.result.get("Messages", ()), messages, strict=True):
                if (source := vars(message).get("_dead_letter_of")) is not None:
                    described.setdefault("Attributes", {})[ATTRIBUTE] = source
        return answer

    return receive_message
