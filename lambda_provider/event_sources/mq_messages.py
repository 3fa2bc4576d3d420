"""Messages of brokers on their way to the function, and what the two engines have in common of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lambda_provider.event_sources.batching import Frame
from lambda_provider.event_sources.filters import parse
from lambda_provider.event_sources.source import SourceProblem


@dataclass(frozen=True, slots=True)
class Message:
    """A message that the broker gave to us. `tag` is what it is acknowledged by; those of a `group` keep their order:
    one batch with messages of it is with the function."""

    tag: Any
    record: Mapping[str, Any]
    body: bytes
    group: str | None = None

    def text(self, *, redelivered: bool = False) -> bytes:
        """The JSON of the record, as it goes to the function."""
        record = {**self.record, "redelivered": True} if redelivered else self.record
        return json.dumps(record, separators=(",", ":")).encode()


class Inbox(Protocol):
    """Where a consumer puts what comes, on the loop."""

    def put(self, message: Message) -> None:
        """A message has come."""

    def lose(self, problem: SourceProblem) -> None:
        """The connection is gone; what was delivered on it and not acknowledged is the queue's again."""


class Consumer(Protocol):
    """A connection to a broker that consumes one queue. Used only on the loop; messages come to an `Inbox`.

    `frame` is that of its events, `at_once` how many batches AWS gives to the function at the same time. `redeliveries` is how
    often we give a failed batch again before its messages go the way of the dead letters; None where the broker does that.
    """

    frame: Frame
    at_once: int
    redeliveries: int | None

    async def open(self) -> None:
        """Connect, and begin to consume. Raises SourceProblem."""

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """These are done. What cannot be told to the broker comes again."""

    async def reject(self, messages: Sequence[Message]) -> None:
        """These will never be done: dead letters, where the queue has such."""

    async def pause(self) -> None:
        """Consume no more; everything that is not acknowledged is the queue's again, in its place."""

    async def resume(self) -> None:
        """Consume again. Raises SourceProblem."""

    async def close(self) -> None:
        """Disconnect: what was not acknowledged comes again. May be called twice, never raises."""


def frame_of(source_arn: str, event_source: str, members: str, tail: str) -> Frame:
    """What stands around messages; `members` is JSON up to the bracket of their list, and `tail` what follows them."""
    head = json.dumps({"eventSource": event_source, "eventSourceArn": source_arn}, separators=(",", ":"))
    return Frame(f"{head[:-1]},{members}".encode(), tail.encode())


def encoded(body: bytes) -> str:
    """`data` of a record."""
    return base64.b64encode(body).decode()


def content(body: bytes) -> Any:
    """What filters look at: JSON where a body is an object or a list, and a text otherwise; None if it is no text.

    Filters see nothing but `data` (lambda/latest/dg/with-mq-filtering.html); a pattern for JSON finds nothing in a text, nor
    one for a text in JSON.
    """
    try:
        text = body.decode()
        return parse(text) if text.lstrip()[:1] in ("{", "[") else text
    except UnicodeDecodeError:
        return None
    except ValueError:
        return text
