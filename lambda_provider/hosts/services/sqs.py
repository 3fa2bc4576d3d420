"""The trace of whoever sends a message, which SQS keeps with it.

A sender says it as the header `X-Amzn-Trace-Id` (AWS SDKs in functions do so by themselves), or as the message system attribute
`AWSTraceHeader`: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html. Moto knows
the attribute only. With it a loop of a function through a queue, or through a topic with a queue, is seen.
"""

from __future__ import annotations

from typing import Any

from lambda_provider.hosts.services.link import request
from lambda_provider.hosts.services.patches import replace

TRACE_ATTRIBUTE = "AWSTraceHeader"

_PARAMETERS = (
    "self queue_name message_body message_attributes delay_seconds deduplication_id group_id system_attributes"
)
_BEFORE_SYSTEM_ATTRIBUTES = 5
"""Positional arguments after the body that leave the system attributes to us."""


def install() -> None:
    """Have moto's SQS keep the header of a request with the messages that it leads to."""
    from moto.sqs import models

    def with_trace(send_message: Any) -> Any:
        def send(self: Any, queue_name: str, message_body: str, *arguments: Any, **options: Any) -> Any:
            if request.trace_header and len(arguments) < _BEFORE_SYSTEM_ATTRIBUTES:
                trace = {TRACE_ATTRIBUTE: {"DataType": "String", "StringValue": request.trace_header}}
                options["system_attributes"] = trace | (options.get("system_attributes") or {})
            return send_message(self, queue_name, message_body, *arguments, **options)

        return send

    replace(models.SQSBackend, "send_message", _PARAMETERS, with_trace)
