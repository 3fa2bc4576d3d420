"""Records of Kafka as members of an event, and as what filters look at.

https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html and with-kafka.html ("Example event"), with-kafka-filtering.html.
What a record does not have, a key or (a tombstone) a value, its JSON does not have either, as the examples there show. The bytes
of headers are Java's, from -128 to 127 (github.com/aws/aws-lambda-dotnet/pull/1476).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lambda_provider.event_sources.filters import parse

CREATE_TIME = "CREATE_TIME"
LOG_APPEND_TIME = "LOG_APPEND_TIME"

Partition = tuple[str, int]
"""A topic, and the number of the partition."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the cluster has it. `timestamp_ms` is since the epoch.

    `metadata` are further members of the event's record; those of a schema registry are put there.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: str = CREATE_TIME
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """About how many bytes it holds."""
        return len(self.key or b"") + len(self.value or b"")

    def with_content(self, **content: Any) -> Record:
        """The same record with another key, value or metadata."""
        return replace(self, **content)


@dataclass(frozen=True, slots=True)
class EventWriter:
    """Writes the events of one mapping. Without an ARN the cluster is self-managed."""

    event_source_arn: str | None
    bootstrap_servers: str

    def head(self) -> dict[str, str]:
        """The members of an event beside the records."""
        if self.event_source_arn is None:
            return {"eventSource": "SelfManagedKafka", "bootstrapServers": self.bootstrap_servers}
        return {
            "eventSource": "aws:kafka",
            "eventSourceArn": self.event_source_arn,
            "bootstrapServers": self.bootstrap_servers,
        }

    def overhead_bytes(self, partition: Partition) -> int:
        """What an event has around its records."""
        return len(self.event(partition, []))

    def event(self, partition: Partition, texts: Iterable[bytes]) -> bytes:
        """The event of records of a partition, each as its JSON."""
        head = json.dumps(self.head(), separators=(",", ":"))[:-1]
        name = json.dumps(name_of(partition))
        return f'{head},"records":{{{name}:['.encode() + b",".join(texts) + b"]}}"


def name_of(partition: Partition) -> str:
    """`topic-partition`, as events and reports name it."""
    return f"{partition[0]}-{partition[1]}"


def record_text(record: Record) -> bytes:
    """The JSON of a record, as it goes to the function."""
    members: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "timestampType": record.timestamp_type,
    }
    if record.key is not None:
        members["key"] = base64.b64encode(record.key).decode()
    if record.value is not None:
        members["value"] = base64.b64encode(record.value).decode()
    members["headers"] = [
        {name: None if value is None else [byte - 256 if byte > 127 else byte for byte in value]}
        for name, value in record.headers
    ]
    return json.dumps({**members, **record.metadata}, separators=(",", ":")).encode()


def matched(record: Record, match: Callable[[Any], bool]) -> bool:
    """Whether a filter keeps the record.

    Its value and key are looked at as JSON where they are an object or a list, and as texts otherwise; a pattern of the one
    kind finds nothing in the other. A value that is not UTF-8 is dropped (with-kafka-filtering.html, "Properly filtering").
    """
    try:
        content = {
            name: _read(data) for name, data in (("key", record.key), ("value", record.value)) if data is not None
        }
    except UnicodeDecodeError:
        return False
    return match(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp_ms,
            "timestampType": record.timestamp_type,
            **content,
        }
    )


def _read(data: bytes) -> Any:
    text = data.decode()
    if text.lstrip()[:1] in ("{", "["):
        try:
            return parse(text)
        except ValueError:
            pass
    return text
