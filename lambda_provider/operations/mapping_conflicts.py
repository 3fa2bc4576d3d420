"""When two event source mappings are the same, and how AWS says so.

Recorded: test_duplicate_event_source_mappings of SQS and Kinesis, test_create_event_source_self_managed.
"""

from __future__ import annotations

from collections.abc import Callable

from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.model.function import LATEST


def conflict(new: EventSourceMapping, existing: EventSourceMapping) -> str | None:
    """The error message if both take the same records to the same function, otherwise None."""
    if (new.kind, _target(new)) != (existing.kind, _target(existing)) or not _same_source(new, existing):
        return None
    return f"{_SENTENCES.get(new.kind, _named)(new)} already exists. {_ADVICE} {existing.name}"


_ADVICE = "Please update or delete the existing mapping with UUID"


def _target(mapping: EventSourceMapping) -> str:
    return mapping.function_arn.removesuffix(f":{LATEST}")


def _same_source(new: EventSourceMapping, existing: EventSourceMapping) -> bool:
    """The same ARN, or clusters with a server in common; and then the same topic, queue or database."""
    ours, theirs = new.settings, existing.settings
    if new.event_source_arn != existing.event_source_arn or (ours.topics, ours.queues, ours.document_db) != (
        theirs.topics,
        theirs.queues,
        theirs.document_db,
    ):
        return False
    return new.event_source_arn is not None or not set(ours.bootstrap_servers or ()).isdisjoint(
        theirs.bootstrap_servers or ()
    )


def _function_name(mapping: EventSourceMapping) -> str:
    return _target(mapping).split(":", 6)[6]


def _queue(mapping: EventSourceMapping) -> str:
    return (
        f'An event source mapping with SQS arn (" {mapping.event_source_arn} ") '
        f'and function (" {_function_name(mapping)} ")'
    )


def _stream(mapping: EventSourceMapping) -> str:
    return (
        f'The event source arn (" {mapping.event_source_arn} ") '
        f'and function (" {_function_name(mapping)} ") provided mapping'
    )


def _named(mapping: EventSourceMapping) -> str:
    settings = mapping.settings
    parts = {
        "event source": mapping.event_source_arn or ",".join(settings.bootstrap_servers or ()),
        "function": mapping.function_arn,
        "topics": ",".join(settings.topics or ()),
        "queues": ",".join(settings.queues or ()),
    }
    return "An event source mapping with " + ", ".join(f'{name} ("{text}")' for name, text in parts.items() if text)


_SENTENCES: dict[str, Callable[[EventSourceMapping], str]] = {"sqs": _queue, "kinesis": _stream, "dynamodb": _stream}
