"""A member of a share group, by Confluent's client: records of any partition, which others of the group do not get meanwhile.

The library allows one thread for each consumer, and wants to hear of all that it gave before it gives more; so a member's thread
takes some records, waits for the loop to say which are done, and acknowledges those. The others are released.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from lambda_provider.event_sources.kafka_client import Listener, Start
from lambda_provider.event_sources.kafka_cluster import Cluster
from lambda_provider.event_sources.kafka_confluent import CONNECTION, ConfluentClient, Whisper
from lambda_provider.event_sources.kafka_records import Record
from lambda_provider.event_sources.source import NOT_VALID, SourceProblem

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""

_POLL_S = 0.5
_COMMIT_S = 5.0
_SETTINGS: Mapping[str, Any] = {
    "share.acknowledgement.mode": "explicit",
    # A function may take 15 minutes, and be tried again. Heartbeats do not depend on it.
    "max.poll.interval.ms": 24 * 3600 * 1000,
    **CONNECTION,
}


class Receiver(Protocol):
    """What a member tells, on the loop."""

    def troubled(self, problem: SourceProblem) -> None:
        """Something is wrong now, which may pass."""

    def failed(self, error: Exception) -> None:
        """Nothing will come any more."""

    async def process(self, records: Sequence[Record]) -> frozenset[Place]:
        """Records came; the result is which of them nobody has to get again."""

    def acknowledged(self, done: int, released: int, failure: Exception | None) -> None:
        """The cluster knows of so many records that they are done, and that others may be given again; or it refused that."""


class ShareClient(ConfluentClient):
    """KafkaClient for a share group: of its methods those that have to do with partitions of one's own are not used."""

    def __init__(
        self, library: Any, cluster: Cluster, group: str, topics: Sequence[str], at_once: int, receiver: Receiver
    ) -> None:
        """`at_once` is how many records are wanted at once; there may be more. Raises SourceProblem."""
        if not hasattr(library, "ShareConsumer"):
            raise SourceProblem(
                "ConsumptionMode Queue needs confluent-kafka 2.16 or later: pip install -U 'lambda-provider[kafka]'",
                reason=f"{NOT_VALID}: ConsumptionMode Queue needs confluent-kafka 2.16 or later",
            )
        super().__init__(library, cluster, group, topics, Start(), cast(Listener, receiver))
        self._receiver = receiver
        self._at_once = at_once
        self._processing: concurrent.futures.Future[frozenset[Place]] | None = None

    def stop(self) -> None:
        """Take no more."""
        self._stopping.set()

    async def close(self) -> None:
        if self._processing is not None:
            self._processing.cancel()
        await super().close()

    # In the thread

    def _connect(self) -> Any:
        return self._made(self._library.ShareConsumer, {**_SETTINGS, "max.poll.records": self._at_once})

    def _asked(self) -> Any:
        return self._library.Producer({**self._settings, "error_cb": self._error}, logger=Whisper())

    def _subscribe(self) -> None:
        self._consumer.subscribe(self._topics)

    def _problem(self, error: Exception) -> Exception:
        if isinstance(error, self._library.KafkaException) and error.args[0].name() == "UNSUPPORTED_VERSION":
            return SourceProblem(
                f"the cluster has no share groups: {error.args[0].str()}",
                reason=f"{NOT_VALID}: ConsumptionMode Queue needs Apache Kafka 4.2 or later with share groups enabled",
            )
        return super()._problem(error)

    def _take(self) -> None:
        if not (records := self._records(self._consumer.poll(_POLL_S))):
            return
        self._processing = asyncio.run_coroutine_threadsafe(self._receiver.process(records), self._loop)
        try:
            done = self._processing.result()
        except concurrent.futures.CancelledError:
            done = frozenset()
        kinds = self._library.AcknowledgeType
        failure: Exception | None = None
        try:
            for record in records:
                place = (record.topic, record.partition, record.offset)
                self._consumer.acknowledge_offset(*place, kinds.ACCEPT if place in done else kinds.RELEASE)
            answers = self._consumer.commit_sync(_COMMIT_S)
            failure = next((answer for answer in answers.values() if answer is not None), None)
        except self._library.KafkaException as error:
            failure = error
        self._errands.tell(self._receiver.acknowledged, len(done), len(records) - len(done), failure)
