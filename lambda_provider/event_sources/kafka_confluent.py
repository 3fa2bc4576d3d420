"""A member of a consumer group, by Confluent's client; the only module that knows that library.

librdkafka fetches, keeps the group's membership alive and reconnects in threads of its own. One more thread for each mapping
takes what it has and hands it to the loop, and does what the loop asks for: the consumer is used there alone, since a poll that
waits keeps other threads out (confluent-kafka 2.16). Why this library: docs/decisions/0006-kafka-client.md.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lambda_provider.event_sources.errands import Errands, settle
from lambda_provider.event_sources.kafka_client import Listener, NotCommitted, Start
from lambda_provider.event_sources.kafka_cluster import CERTIFICATE_PROBLEM, Cluster, problem_of
from lambda_provider.event_sources.kafka_records import CREATE_TIME, LOG_APPEND_TIME, Partition, Record
from lambda_provider.event_sources.source import AUTHENTICATION_ERROR, AUTHORIZATION_ERROR, SourceProblem

logger = logging.getLogger(__name__)

_BUSY_POLL_S, _IDLE_POLL_S, _BUSY_S = 0.02, 0.5, 1.0
"""How long a poll waits, and with it what the loop asks for: until a second after something happened, and later."""
_AT_ONCE = 1000
_REACH_S = 15.0
"""How long a cluster has to answer at all."""
_COMMIT_S, _CLOSE_S = 5.0, 3.0
_LET_GO_S = 30.0
"""How long partitions that go to another member wait for what is in flight."""

_LASTING = frozenset({AUTHENTICATION_ERROR, AUTHORIZATION_ERROR})
"""What trying again at once does not help against."""

CONNECTION: Mapping[str, Any] = {
    "fetch.message.max.bytes": 2 * 1024 * 1024,
    "socket.keepalive.enable": True,
    "socket.timeout.ms": 15_000,
    "reconnect.backoff.ms": 500,
    "reconnect.backoff.max.ms": 10_000,
    "client.id": "lambda-provider",
}
"""What members of consumer groups and of share groups have in common."""

_SETTINGS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    "isolation.level": "read_committed",
    # A gateway that was killed leaves its partitions behind for so long.
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 2_500,
    "topic.metadata.refresh.interval.ms": 30_000,
    "queued.max.messages.kbytes": 16_384,
    **CONNECTION,
}


class Whisper:
    """Where librdkafka logs: what matters comes as errors, too, and of a broker that is away it tells several times a second."""

    def log(self, level: int, *args: Any) -> None:
        logger.debug(*args)


class ConfluentClient:
    """KafkaClient by `confluent_kafka`, which `library` is. Configuration that the library refuses is a SourceProblem."""

    def __init__(
        self, library: Any, cluster: Cluster, group: str, topics: Sequence[str], start: Start, listener: Listener
    ) -> None:
        self._library = library
        self._settings = dict(cluster.client)
        self._group = group
        self._topics = list(topics)
        self._start = start
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._stopping = threading.Event()
        self._errands = Errands("the consumer is closed")
        self._letting_go: set[asyncio.Future[None]] = set()
        self._commit: asyncio.Future[None] | None = None
        """The one that is under way; the caller makes one at a time."""
        self._arrived = 0.0
        """When records arrived last; of the monotonic clock."""
        self._sending: concurrent.futures.ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None
        self._consumer: Any = None
        self._producer: Any = None
        self._troubles: list[SourceProblem] = []

    async def open(self) -> None:
        self._thread = threading.Thread(target=self._work, name=f"kafka {self._group}", daemon=True)
        self._thread.start()
        await self._opened

    def pause(self, partition: Partition) -> None:
        self._on_partition("pause", partition)

    def resume(self, partition: Partition) -> None:
        self._on_partition("resume", partition)

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        offsets = [self._library.TopicPartition(*partition, offset) for partition, offset in positions.items()]
        self._commit = self._loop.create_future()
        try:
            # The thread does not wait for the answer, because a broker that is away gives none for a minute.
            await self._errands.ask(lambda: self._consumer.commit(offsets=offsets, asynchronous=True))
            await asyncio.wait_for(self._commit, _COMMIT_S)
        except (self._library.KafkaException, RuntimeError, TimeoutError) as error:
            raise NotCommitted(str(error) or f"no answer in {_COMMIT_S:g} s") from error
        finally:
            self._commit = None

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        def ask() -> dict[Partition, int]:
            found = {}
            for partition in wanted:
                with contextlib.suppress(self._library.KafkaException, RuntimeError):
                    _, end = self._consumer.get_watermark_offsets(self._library.TopicPartition(*partition), cached=True)
                    found[partition] = end
            return {partition: end for partition, end in found.items() if end >= 0}

        wanted = list(partitions)
        return await self._errands.ask(ask)

    async def produce(self, topic: str, messages: Sequence[tuple[bytes | None, bytes]]) -> Exception | None:
        def send() -> Exception | None:
            failures: list[Exception] = []

            def delivered(error: Any, _: Any) -> None:
                if error is not None:
                    failures.append(self._library.KafkaException(error))

            if self._producer is None:
                self._producer = self._library.Producer(
                    {**self._settings, "message.timeout.ms": 10_000}, logger=Whisper()
                )
            try:
                for key, value in messages:
                    self._producer.produce(topic, value=value, key=key, on_delivery=delivered)
                    self._producer.poll(0)
                self._producer.flush()
            except (self._library.KafkaException, BufferError) as error:
                failures.append(error)
            return failures[0] if failures else None

        if self._sending is None:
            self._sending = concurrent.futures.ThreadPoolExecutor(1, "kafka-producer")
        return await self._loop.run_in_executor(self._sending, send)

    async def close(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            # With a broker that is away the library waits for answers; the thread ends then without us.
            await asyncio.wait({self._errands.ended}, timeout=_CLOSE_S)
        if self._sending is not None:
            self._sending.shutdown(wait=False)

    def _on_partition(self, method: str, partition: Partition) -> None:
        def change() -> None:
            # The partition may have gone meanwhile.
            with contextlib.suppress(self._library.KafkaException, RuntimeError):
                getattr(self._consumer, method)([self._library.TopicPartition(*partition)])

        self._errands.send(change)

    # In the thread

    def _work(self) -> None:
        try:
            self._consumer = self._connect()
            self._reach()
            self._subscribe()
            self._errands.tell(settle, self._opened, None)
            while not self._stopping.is_set():
                self._take()
        except Exception as error:  # noqa: BLE001  (who opened it, or the listener, gets it)
            failure = self._problem(error)
            self._errands.tell(settle, self._opened, failure)
            self._errands.tell(self._listener.failed, failure)
        finally:
            self._stopping.set()
            if self._consumer is not None:
                with contextlib.suppress(self._library.KafkaException, RuntimeError):
                    self._consumer.close()
            self._errands.end()

    def _connect(self) -> Any:
        return self._made(self._library.Consumer, {**_SETTINGS, "on_commit": self._committed})

    def _made(self, class_: Any, settings: Mapping[str, Any]) -> Any:
        """A consumer of the group. Raises SourceProblem."""
        settings = {**settings, **self._settings, "group.id": self._group, "error_cb": self._error}
        try:
            return class_(settings, logger=Whisper())
        except (self._library.KafkaException, ValueError, TypeError) as error:
            text = str(error)
            # What is wrong with a certificate or key is found out before anybody is connected to.
            if "ssl." in text or "SSL" in text:
                raise SourceProblem(text, reason=AUTHENTICATION_ERROR, result=CERTIFICATE_PROBLEM) from error
            raise SourceProblem(text) from error

    def _subscribe(self) -> None:
        self._consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _asked(self) -> Any:
        """Who can be asked for the topics."""
        return self._consumer

    def _reach(self) -> None:
        """See the topics. What librdkafka would try for ever is told at once: a refused password stays refused."""
        until = time.monotonic() + _REACH_S
        asked = self._asked()
        for topic in self._topics:
            while True:
                try:
                    found = asked.list_topics(topic, timeout=1.0).topics[topic]
                    break
                except self._library.KafkaException:
                    asked.poll(0)  # Has the errors told to us.
                    lasting = [each for each in self._troubles if each.reason in _LASTING]
                    if lasting or time.monotonic() > until or self._stopping.is_set():
                        raise (lasting or self._troubles or [self._timed_out()])[-1] from None
            if found.error is not None:
                raise self._library.KafkaException(found.error)

    def _timed_out(self) -> SourceProblem:
        problem = problem_of("_TIMED_OUT", f"{self._settings['bootstrap.servers']} did not answer in {_REACH_S:g} s")
        assert problem is not None
        return problem

    def _take(self) -> None:
        self._errands.serve()
        busy = time.monotonic() < max(self._arrived, self._errands.last) + _BUSY_S
        first = self._consumer.poll(_BUSY_POLL_S if busy else _IDLE_POLL_S)
        if first is None:
            return
        self._arrived = time.monotonic()
        if records := self._records((first, *self._consumer.consume(_AT_ONCE - 1, 0))):
            self._errands.tell(self._listener.arrived, records)

    def _records(self, messages: Iterable[Any]) -> list[Record]:
        """The records among what came. Raises SourceProblem."""
        records = []
        for message in messages:
            if (error := message.error()) is None:
                records.append(_record(message, self._library))
            elif (problem := problem_of(error.name(), error.str())) is not None:
                raise problem
            else:
                logger.warning("group %s: %s", self._group, error)
        return records

    def _committed(self, error: Any, partitions: Sequence[Any]) -> None:
        """librdkafka tells what became of a commit."""
        errors = [each for each in (error, *(partition.error for partition in partitions)) if each is not None]
        self._errands.tell(self._commit_ended, self._library.KafkaException(errors[0]) if errors else None)

    def _commit_ended(self, failure: Exception | None) -> None:
        if self._commit is not None:
            settle(self._commit, failure)

    def _error(self, error: Any) -> None:
        """librdkafka tells of a trouble; it goes on by itself."""
        problem = problem_of(error.name(), error.str())
        if problem is None:
            logger.warning("group %s: %s", self._group, error)
            return
        self._troubles.append(problem)
        if self._opened.done():
            self._errands.tell(self._listener.troubled, problem)

    def _assigned(self, consumer: Any, partitions: Sequence[Any]) -> None:
        committed = consumer.committed(list(partitions), timeout=_REACH_S)
        fresh = [each for each in committed if each.offset < 0]
        begins = {(each.topic, each.partition): each.offset for each in committed if each.offset >= 0}
        begins |= self._begins(consumer, fresh)
        assigned = [self._library.TopicPartition(*partition, offset) for partition, offset in begins.items()]
        consumer.assign(assigned)
        if fresh and self._start.position != "TRIM_HORIZON":
            # Where the group began is kept, so that nothing is left out if it has to begin again.
            kept = [
                self._library.TopicPartition(each.topic, each.partition, begins[each.topic, each.partition])
                for each in fresh
            ]
            with contextlib.suppress(self._library.KafkaException):
                consumer.commit(offsets=kept, asynchronous=True)
        self._errands.tell(self._listener.assigned, begins)

    def _begins(self, consumer: Any, fresh: Sequence[Any]) -> dict[Partition, int]:
        bounds = {
            (each.topic, each.partition): consumer.get_watermark_offsets(each, timeout=_REACH_S) for each in fresh
        }
        if self._start.position == "TRIM_HORIZON":
            return {partition: first for partition, (first, _) in bounds.items()}
        begins = {partition: end for partition, (_, end) in bounds.items()}
        if self._start.position == "AT_TIMESTAMP" and fresh:
            moment = int((self._start.timestamp or 0) * 1000)
            wanted = [self._library.TopicPartition(each.topic, each.partition, moment) for each in fresh]
            for found in consumer.offsets_for_times(wanted, timeout=_REACH_S):
                if found.offset >= 0:
                    begins[found.topic, found.partition] = found.offset
        return begins

    def _revoked(self, consumer: Any, partitions: Sequence[Any]) -> None:
        done = self._take_back(partitions)
        until = time.monotonic() + _LET_GO_S
        while not done.is_set() and time.monotonic() < until and not self._stopping.is_set():
            self._errands.serve(_BUSY_POLL_S)  # Their last positions among it.

    def _lost(self, consumer: Any, partitions: Sequence[Any]) -> None:
        """They are somebody else's already."""
        self._take_back(partitions)

    def _take_back(self, partitions: Sequence[Any]) -> threading.Event:
        """Have the listener let go of partitions; set when it has."""
        done = threading.Event()

        def take_back() -> None:
            # What the listener does at once is done before it hears of the next assignment.
            letting_go = asyncio.ensure_future(self._listener.revoked(names))
            letting_go.add_done_callback(lambda _: done.set())
            self._letting_go.add(letting_go)
            letting_go.add_done_callback(self._letting_go.discard)

        names = [(each.topic, each.partition) for each in partitions]
        self._errands.tell(take_back)
        return done

    def _problem(self, error: Exception) -> Exception:
        if isinstance(error, self._library.KafkaException):
            inner = error.args[0]
            return problem_of(inner.name(), inner.str()) or SourceProblem(str(inner))
        return error


def _record(message: Any, library: Any) -> Record:
    type_, timestamp_ms = message.timestamp()
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp_ms=max(0, timestamp_ms),
        timestamp_type=LOG_APPEND_TIME if type_ == library.TIMESTAMP_LOG_APPEND_TIME else CREATE_TIME,
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
    )
