"""In moto's process: sequence numbers and deduplication of FIFO queues, as those have them that functions empty at once.

Moto compares a message with those that are still in the queue, of any group, and gives sequence numbers by chance, or none.
On AWS a message is the same as one that was sent less than five minutes ago although that was processed since, in its group alone
if `DeduplicationScope` says so, and sequence numbers increase:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-exactly-once-processing.html
"""

from __future__ import annotations

import itertools
from typing import Any

_DEDUPLICATION_MS = 5 * 60 * 1000
_SEQUENCE_NUMBERS = itertools.count(18_849_496_460_467_696_128, 256)
"""Texts of 20 digits on AWS."""


def is_new(queue: Any, message: Any) -> bool:
    """Number a message that is put into a FIFO queue; False if the queue has had it, whose id and number it gets then.

    What comes from another queue, as its dead letter, was deduplicated there. Under the queue's lock.
    """
    number = str(next(_SEQUENCE_NUMBERS))
    if message.approximate_receive_count == 0 and message.deduplication_id is not None:
        sent: dict[Any, tuple[Any, str, str]] = vars(queue).setdefault("_sent_lately", {})
        while sent and sent[oldest := next(iter(sent))][0] + _DEDUPLICATION_MS <= message.sent_timestamp:
            del sent[oldest]
        in_group = queue.attributes.get("DeduplicationScope") == "messageGroup"
        key = message.group_id if in_group else None, message.deduplication_id
        if key in sent:
            _, message.id, message.sequence_number = sent[key]
            return False
        sent[key] = message.sent_timestamp, message.id, number
    message.sequence_number = number
    return True
