"""Topics of Kafka: Amazon MSK, and clusters of one's own.

https://docs.aws.amazon.com/lambda/latest/dg/with-kafka-esm.html and the pages under it. The mapping is one member of its consumer
group; each partition that it has been given is a worker with one batch in flight, so that a batch that fails holds up nothing
but its partition. Positions are the group's, in the cluster; they move when a batch is processed or given up.
With ConsumptionMode Queue all of that is different: see `kafka_queue`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from lambda_provider.event_sources import counts
from lambda_provider.event_sources.extras import library
from lambda_provider.event_sources.kafka_client import KafkaClient, NotCommitted, Start
from lambda_provider.event_sources.kafka_cluster import CONNECTION_PROBLEM, Cluster, cluster_of
from lambda_provider.event_sources.kafka_confluent import ConfluentClient
from lambda_provider.event_sources.kafka_decoding import Decoded, Decoder, schemas_of
from lambda_provider.event_sources.kafka_failures import TOPIC, GivenUp, messages, parcel, without_invoke
from lambda_provider.event_sources.kafka_log import KafkaLog
from lambda_provider.event_sources.kafka_partition import PartitionWorker
from lambda_provider.event_sources.kafka_queue import POLLERS, KafkaQueue, MakeMember, unless
from lambda_provider.event_sources.kafka_records import EventWriter, Partition, Record, matched, record_text
from lambda_provider.event_sources.kafka_schemas import INVALID, InvalidRecord, RegistryProblem
from lambda_provider.event_sources.kafka_share import ShareClient
from lambda_provider.event_sources.responses import REPORT_BATCH_ITEM_FAILURES
from lambda_provider.event_sources.source import OK, EventSource, SourceProblem, Surroundings, retry_delay_s
from lambda_provider.model.event_source_mapping import EventSourceMapping, KafkaSource

logger = logging.getLogger(__name__)

LAG_EVERY_S = 60.0
"""AWS looks at the lag of a topic once a minute (kafka-scaling-modes.html)."""
MOST_POLLERS = 200
"""Provisioned pollers of a mapping that does not say how many (ProvisionedPollerConfig)."""
COMMIT_ATTEMPTS = 3
"""After so many a position waits for the next batch; if there is none, whoever has the partition next gets records again."""
_UNBOUNDED = 1_000_000


class KafkaTopicSource(EventSource):
    """One mapping of a topic, of both kinds and in both modes.

    OPENING (the cluster answers) -> RUNNING (partitions come and go) -> LETTING GO (what is in flight ends and is committed)
    """

    exclusive: ClassVar[bool] = True

    def __init__(self, mapping: EventSourceMapping, surroundings: Surroundings) -> None:
        super().__init__(mapping, surroundings)
        self.writer = EventWriter(mapping.event_source_arn, "")
        self.told = KafkaLog(surroundings.log)
        self.partial_responses = REPORT_BATCH_ITEM_FAILURES in (self.settings.response_types or ())
        pollers = self.settings.pollers
        self._consumption = self.settings.managed_kafka or self.settings.self_managed_kafka or KafkaSource()
        self._shared = self._consumption.consumption_mode == "Queue"
        self._most = POLLERS if self._shared else _UNBOUNDED
        if pollers is not None:
            self._most = max(pollers.maximum or MOST_POLLERS, pollers.minimum or 1)
        self.invocations = asyncio.Semaphore(self._most)
        self._cluster: Cluster | None = None
        self._client: KafkaClient | None = None
        self._workers: dict[Partition, PartitionWorker] = {}
        self._tasks: dict[Partition, asyncio.Task[None]] = {}
        self._committed: dict[Partition, int] = {}
        self._to_commit: dict[Partition, int] = {}
        self._committing: asyncio.Task[None] | None = None
        self._decoder: Decoder | None = None
        self._decoder_full = False
        self._full: set[Partition] = set()
        """Partitions that have enough for now."""
        self._paused: set[Partition] = set()
        self._trouble: str | None = None
        self._over = asyncio.Event()
        self._failure: Exception | None = None

    async def run(self) -> None:
        try:
            client = await self._connect()
        except SourceProblem:
            self.count("PollingErrorCount")
            raise
        if self._shared:
            await self._run_queue(client)
        else:
            await self._run_stream(client)
        if self._failure is not None:
            raise self._failure

    async def _run_queue(self, client: KafkaClient) -> None:
        """Work as a member of a share group; the client has its own connection, and writes to topics for failures only."""
        least = self.settings.pollers.minimum if self.settings.pollers is not None else None
        queue = KafkaQueue(self, await self.members(), least or 1, self._most)
        try:
            await queue.run(self._over, self._connected)
        finally:
            await client.close()
            self.told.stopped()

    def _connected(self) -> None:
        self.report(OK)
        self.told.connected()

    async def _run_stream(self, client: KafkaClient) -> None:
        loop = asyncio.get_running_loop()
        measuring = None
        decoding = None if self._decoder is None else loop.create_task(self._decoder.run())
        if decoding is not None:
            decoding.add_done_callback(self._part_ended)
        try:
            await unless(self._over, client.open())
            if not self._over.is_set():
                self._connected()
                measuring = loop.create_task(self._measure(client))
                await self._over.wait()
            if decoding is not None:
                decoding.cancel()
            await self._let_go(list(self._workers))
        finally:
            for task in (measuring, decoding, self._committing, *self._tasks.values()):
                if task is not None:
                    task.cancel()
            await client.close()
            self.told.stopped()

    def stop(self) -> None:
        super().stop()
        self._over.set()

    async def _connect(self) -> KafkaClient:
        """The client, which has not done anything yet. Raises SourceProblem."""
        cluster = self._cluster = await self.cluster()
        self.writer = EventWriter(self.mapping.event_source_arn, cluster.bootstrap_servers)
        start = Start(self.settings.starting_position or "TRIM_HORIZON", self.settings.starting_timestamp)
        group = self._consumption.consumer_group_id or self.mapping.name
        self.told.connecting(cluster.bootstrap_servers, self.settings.topics or (), group, self.settings.pollers)
        schemas = await schemas_of(self, self._consumption.schema_registry or {})
        if schemas is not None:
            self._decoder = Decoder(self, schemas, self._decoded, self._registry_trouble, self._flow_of_all)
        self._client = await self.connect(cluster, group, self.settings.topics or (), start)
        return self._client

    async def cluster(self) -> Cluster:
        """Where the topic is. Raises SourceProblem."""
        return await cluster_of(self)

    async def connect(self, cluster: Cluster, group: str, topics: Sequence[str], start: Start) -> KafkaClient:
        """A client of the library that is installed. Raises SourceProblem."""
        module = await self.call(library, "confluent_kafka", extra="kafka")
        return ConfluentClient(module, cluster, group, topics, start, self)

    async def members(self) -> MakeMember:
        """What makes members of the share group. Raises SourceProblem."""
        module = await self.call(library, "confluent_kafka", extra="kafka")
        assert self._cluster is not None
        group, topics = self._consumption.consumer_group_id or self.mapping.name, self.settings.topics or ()
        return partial(ShareClient, module, self._cluster, group, topics, self.settings.batch_size)

    # What the client tells

    def assigned(self, begins: Mapping[Partition, int]) -> None:
        """Listener: partitions are ours."""
        if self._over.is_set():
            return
        self.told.assigned(begins)
        for partition, begin in begins.items():
            self._committed[partition] = begin
            worker = self._workers[partition] = PartitionWorker(self, partition, begin)
            task = self._tasks[partition] = asyncio.get_running_loop().create_task(worker.run())
            task.add_done_callback(self._part_ended)
            self._regulate(partition)

    def revoked(self, partitions: Iterable[Partition]) -> Awaitable[None]:
        """Listener: partitions go to another member, once what is in flight of them is committed."""
        names = list(partitions)
        if not self._over.is_set():
            self.told.revoked(names)
        return self._let_go(names)

    def arrived(self, records: Sequence[Record]) -> None:
        """Listener: records came."""
        self.count(counts.POLLED, len(records))
        self.told.polled(records)
        self._trouble = None
        if self._decoder is not None:
            self._decoder.put(records)
        else:
            self._take(records)

    def _take(self, records: Sequence[Record]) -> None:
        """Give records to their partitions; for those that the filters leave out it is only told that they are there."""
        touched: dict[Partition, PartitionWorker] = {}
        dropped = 0
        for record in records:
            partition = (record.topic, record.partition)
            if (worker := self._workers.get(partition)) is None:
                continue
            touched[partition] = worker
            wanted = not self.filters.filters or matched(record, self.filters.match)
            worker.take(record, record_text(record) if wanted else None)
            dropped += not wanted
        self.count(counts.FILTERED_OUT, dropped)
        self.told.filtered_out(dropped)
        for worker in touched.values():
            worker.taken()

    async def _decoded(self, decoded: Decoded) -> None:
        """Records come from the schema registry, in order; those that do not fit it are given up."""
        for came, record in decoded:
            partition = (came.topic, came.partition)
            if isinstance(record, Record):
                self._take([record])
            elif (worker := self._workers.get(partition)) is not None:
                await self._give_up_invalid(came, record)
                worker.take(came, None)
                worker.taken()

    async def _give_up_invalid(self, came: Record, why: InvalidRecord) -> None:
        place = (came.offset, came.topic, came.partition)
        logger.warning("mapping %s: offset %d of %s-%d: %s", self.mapping.name, *place, why)
        await self.give_up(without_invoke(came, INVALID, self.writer))

    async def decoded(self, records: Sequence[Record]) -> Sequence[Record | None]:
        """Records as the schema registry has them; None for one that does not fit its schema and is given up."""
        if self._decoder is None:
            return records
        found = []
        for came, record in zip(records, await self._decoder.decode(records), strict=True):
            if not isinstance(record, Record):
                await self._give_up_invalid(came, record)
            found.append(record if isinstance(record, Record) else None)
        return found

    def _registry_trouble(self, problem: RegistryProblem) -> None:
        self.count("SchemaRegistryErrorCount")
        self._tell_trouble(SourceProblem(str(problem), result=CONNECTION_PROBLEM))

    def troubled(self, problem: SourceProblem) -> None:
        """Listener: the cluster is out of reach, for now."""
        self.count("PollingErrorCount")
        self._tell_trouble(problem)

    def _tell_trouble(self, problem: SourceProblem) -> None:
        if problem.result != self._trouble:  # The client tells of it at each attempt.
            self._trouble = problem.result
            logger.warning("mapping %s: %s", self.mapping.name, problem)
            self.report(problem.result)
            self.told.troubled(problem)

    def failed(self, error: Exception) -> None:
        """Listener: nothing comes any more."""
        self.count("PollingErrorCount")
        self._failure = self._failure or error
        self._over.set()

    # What partitions ask for

    def moved(self, partition: Partition, position: int) -> None:
        """Commit a position, together with those of other partitions, if it is new."""
        if position <= self._committed.get(partition, -1):
            return
        self._committed[partition] = self._to_commit[partition] = position
        if self._committing is None or self._committing.done():
            self._committing = asyncio.get_running_loop().create_task(self._commit())

    def flow(self, partition: Partition, wanted: bool) -> None:
        """Have more of a partition fetched, or not for now."""
        (self._full.discard if wanted else self._full.add)(partition)
        self._regulate(partition)

    def _flow_of_all(self, wanted: bool) -> None:
        self._decoder_full = not wanted
        for partition in self._workers:
            self._regulate(partition)

    def _regulate(self, partition: Partition) -> None:
        paused = self._decoder_full or partition in self._full
        if self._client is None or paused == (partition in self._paused):
            return
        (self._paused.add if paused else self._paused.discard)(partition)
        (self._client.pause if paused else self._client.resume)(partition)

    async def give_up(self, given_up: GivenUp) -> None:
        """Deliver records that are not tried again; what cannot be delivered is lost, as on AWS, and counted."""
        destination, number = self.settings.on_failure, len(given_up.records)
        problem: Exception | None = None
        if destination and destination.startswith(TOPIC):
            assert self._client is not None
            written = messages(given_up, self.mapping, self.writer, self.clock.now())
            problem = await self._client.produce(destination.removeprefix(TOPIC), written)
        elif destination:
            problem = await self.deliver(destination, parcel(given_up, self.mapping, self.writer, self.clock.now()))
        self.told.given_up(given_up, destination, problem)
        if destination and problem is None:
            self.count(counts.DELIVERED_ON_FAILURE, number)
            return
        self.count(counts.DROPPED, number)
        logger.warning(
            "mapping %s: %d records of %s-%d are given up (%s)%s",
            self.mapping.name,
            number,
            *given_up.partition,
            given_up.condition,
            f", and not delivered to {destination}: {problem}" if problem else "",
        )

    # Positions

    async def _commit(self) -> None:
        assert self._client is not None
        failures = 0
        while self._to_commit:
            positions, self._to_commit = self._to_commit, {}
            try:
                await self._client.commit(positions)
                failures = 0
                self.told.committed(positions)
            except NotCommitted as error:
                failures += 1
                self.count("CommitErrorCount")
                logger.warning("mapping %s: positions are not committed: %s", self.mapping.name, error)
                self.told.not_committed(positions, error)
                if failures < COMMIT_ATTEMPTS and not self._over.is_set():
                    self._to_commit = {**positions, **self._to_commit}
                    await self.clock.sleep_until(self.clock.now() + retry_delay_s(failures))

    def _let_go(self, partitions: Iterable[Partition]) -> Awaitable[None]:
        """End the work on partitions now, and wait until what is in flight is done and their positions are written."""
        names = [name for name in partitions if name in self._workers]
        for name in names:
            self._workers.pop(name).stop()
            self._full.discard(name)
            self._paused.discard(name)
        return self._settled([self._tasks.pop(name) for name in names])

    async def _settled(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        if tasks:
            await asyncio.wait(tasks)
        if self._committing is not None:
            await asyncio.wait({self._committing})

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    async def _measure(self, client: KafkaClient) -> None:
        """How far the group is behind the partitions, in records."""
        while True:
            await self.clock.sleep_until(self.clock.now() + LAG_EVERY_S)
            ends = await client.ends(self._workers)
            lags = {
                name: max(0, ends[name] - worker.position) for name, worker in self._workers.items() if name in ends
            }
            for lag in lags.values():
                self.count_for_function("OffsetLag", lag)
            if lags:
                self.count(counts.MAX_LAG, max(lags.values()))
                self.count(counts.SUM_LAG, sum(lags.values()))
                self.told.behind(lags)
