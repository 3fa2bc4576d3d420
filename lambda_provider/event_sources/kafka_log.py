"""The lines that a topic at work writes to the log of its mapping; see `system_log` for their form and whose words they are.

WARN has what fails: connecting, polling, invokes, commits, records that are given up. INFO has the pollers' start and end, and
partitions that come and go, DEBUG each batch on its way (polled, invoked, processed, committed) and the lag.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lambda_provider.api import LambdaError
from lambda_provider.event_sources.kafka_failures import GivenUp
from lambda_provider.event_sources.kafka_records import Partition, Record, name_of
from lambda_provider.event_sources.source import SourceProblem
from lambda_provider.event_sources.system_log import SystemLog
from lambda_provider.model.event_source_mapping import Pollers
from lambda_runtime.types import InvocationResult

Item = tuple[Record, bytes]
"""A record with its JSON."""


class KafkaLog:
    """What there is to tell of a topic. Every method takes what its caller has at hand: a mapping without a log pays a call."""

    def __init__(self, log: SystemLog) -> None:
        self._log = log

    # The pollers

    def connecting(self, servers: str, topics: Sequence[str], group: str, pollers: Pollers | None) -> None:
        """The cluster is known, and about to be entered."""
        provisioned = {} if pollers is None else {"provisionedPollerConfig": pollers.describe()}
        self._log.info(
            "connecting", bootstrapServers=servers, topics=list(topics), consumerGroupId=group, **provisioned
        )

    def connected(self) -> None:
        """The cluster has answered, and the group may be joined."""
        self._log.info("connected")

    def stopped(self) -> None:
        """Everything in flight is done, and the group is left."""
        self._log.info("stopped")

    def assigned(self, begins: Mapping[Partition, int]) -> None:
        """Partitions are ours."""
        self._log.info("partitionsAssigned", offsets=_by_name(begins))

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """Partitions are let go of."""
        self._log.info("partitionsRevoked", partitions=[name_of(each) for each in partitions])

    def troubled(self, problem: SourceProblem) -> None:
        """The cluster, or the schema registry, is out of reach for now."""
        self._log.warn("pollingFailed", problem=problem.result, message=str(problem))

    # Records

    def polled(self, records: Sequence[Record]) -> None:
        """Records came."""
        if not self._log.debugging:
            return
        offsets: dict[str, list[int]] = {}
        for record in records:
            bounds = offsets.setdefault(name_of((record.topic, record.partition)), [record.offset, record.offset])
            bounds[1] = record.offset
        bounded = {name: {"first": first, "last": last} for name, (first, last) in offsets.items()}
        self._log.debug("recordsPolled", records=len(records), offsets=bounded)

    def filtered_out(self, records: int) -> None:
        """So many are not for the function."""
        if records and self._log.debugging:
            self._log.debug("recordsFilteredOut", records=records)

    def invoking(self, partition: Partition, items: Sequence[Item], event: bytes) -> None:
        """A batch goes to the function."""
        if self._log.debugging:
            self._log.debug("functionInvoked", **_batch(partition, items), payloadSize=len(event))

    def processed(self, partition: Partition, items: Sequence[Item], result: InvocationResult) -> None:
        """The function has processed a batch."""
        if self._log.debugging:
            self._log.debug("batchProcessed", **_batch(partition, items), requestId=result.request_id)

    def failed(self, partition: Partition, items: Sequence[Item], attempt: int, result: InvocationResult) -> None:
        """The function failed, or has reported these records as failed; it was the attempt of that number, from 1."""
        error = {} if result.function_error is None else {"functionError": result.function_error}
        self._log.warn(
            "functionFailed", **_batch(partition, items), attempt=attempt, requestId=result.request_id, **error
        )

    def not_invoked(self, partition: Partition, records: int, error: LambdaError, delay_s: float) -> None:
        """A batch is throttled, or the function cannot run; the next attempt is after so many seconds."""
        self._log.warn(
            "functionNotInvoked",
            partition=name_of(partition),
            records=records,
            errorCode=error.code,
            message=error.message,
            retryInSeconds=delay_s,
        )

    def given_up(self, given_up: GivenUp, destination: str | None, problem: Exception | None) -> None:
        """Records are not tried again. They are at the destination, unless there is none, or a problem with it."""
        there = {"destination": destination} if destination else {}
        if problem is not None:
            there["problem"] = str(problem)
        records = given_up.records
        self._log.warn(
            "recordsDiscarded",
            partition=name_of(given_up.partition),
            records=len(records),
            firstOffset=records[0].offset,
            lastOffset=records[-1].offset,
            condition=given_up.condition,
            invokes=given_up.invokes,
            **there,
        )

    # Positions

    def committed(self, positions: Mapping[Partition, int]) -> None:
        """The group has these positions now."""
        if self._log.debugging:
            self._log.debug("offsetsCommitted", offsets=_by_name(positions))

    def not_committed(self, positions: Mapping[Partition, int], error: Exception) -> None:
        """Positions are not written, for now."""
        self._log.warn("commitFailed", offsets=_by_name(positions), message=str(error))

    def acknowledged(self, done: int, released: int) -> None:
        """The share group knows that so many records are done, and that others may be given again."""
        self._log.debug("recordsAcknowledged", records=done, released=released)

    def not_acknowledged(self, records: int, error: Exception) -> None:
        """So many records that are done come again."""
        self._log.warn("commitFailed", records=records, message=str(error))

    def behind(self, lags: Mapping[Partition, int]) -> None:
        """So many records are in the cluster that are not done."""
        if self._log.debugging:
            self._log.debug("offsetLag", lag=_by_name(lags))


def _by_name(values: Mapping[Partition, int]) -> dict[str, int]:
    return {name_of(partition): value for partition, value in values.items()}


def _batch(partition: Partition, items: Sequence[Item]) -> dict[str, Any]:
    return {
        "partition": name_of(partition),
        "records": len(items),
        "firstOffset": items[0][0].offset,
        "lastOffset": items[-1][0].offset,
    }
