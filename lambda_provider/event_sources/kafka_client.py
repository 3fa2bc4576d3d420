"""What a source asks of a client of Kafka, and what that tells it; `kafka_confluent` is the one that there is."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lambda_provider.event_sources.kafka_records import Partition, Record
from lambda_provider.event_sources.source import SourceProblem


@dataclass(frozen=True, slots=True)
class Start:
    """Where a group begins that has no position yet: TRIM_HORIZON, LATEST, or AT_TIMESTAMP with seconds since the epoch."""

    position: str = "TRIM_HORIZON"
    timestamp: float | None = None


class Listener(Protocol):
    """What a client tells, on the loop."""

    def assigned(self, begins: Mapping[Partition, int]) -> None:
        """These partitions are ours from now on, read from these offsets."""

    def revoked(self, partitions: Iterable[Partition]) -> Awaitable[None]:
        """These are going to be somebody else's, who waits for the result, for some time. No more is done with them at once."""

    def arrived(self, records: Sequence[Record]) -> None:
        """Records came, in order within their partitions."""

    def troubled(self, problem: SourceProblem) -> None:
        """Something is wrong now, which may pass."""

    def failed(self, error: Exception) -> None:
        """Nothing will come any more."""


class NotCommitted(Exception):
    """A position is not written: the group has changed meanwhile, or the cluster does not answer."""


class KafkaClient(Protocol):
    """A member of a consumer group and a producer to the same cluster. Methods are called on the loop."""

    async def open(self) -> None:
        """Reach the cluster and join the group. Raises SourceProblem."""

    def pause(self, partition: Partition) -> None:
        """Fetch nothing of a partition for now; what was fetched may still arrive."""

    def resume(self, partition: Partition) -> None:
        """Go on with it."""

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Write positions of the group. Raises NotCommitted."""

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offsets behind the last records, as far as they are known without asking."""

    async def produce(self, topic: str, messages: Sequence[tuple[bytes | None, bytes]]) -> Exception | None:
        """Write keys and values to a topic of the cluster; None, or why not all of them could be written."""

    async def close(self) -> None:
        """Leave the group. May be called twice."""
