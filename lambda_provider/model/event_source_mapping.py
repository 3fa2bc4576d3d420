"""An event source mapping: from where records come, to which function they go, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from lambda_provider.context import partition_of
from lambda_provider.model.configuration import present

DELETED = "Deleted"
"""The state behind Deleting, in which nobody ever sees a mapping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAccess:
    """A credential, network component or virtual host: `type` and `uri` of a SourceAccessConfiguration."""

    type: str
    uri: str | None = None

    def describe(self) -> dict[str, Any]:
        """SourceAccessConfiguration."""
        return present(Type=self.type, URI=self.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pollers:
    """Provisioned event pollers."""

    minimum: int | None = None
    maximum: int | None = None
    group: str | None = None

    def describe(self) -> dict[str, Any]:
        """ProvisionedPollerConfig."""
        return present(MinimumPollers=self.minimum, MaximumPollers=self.maximum, PollerGroupName=self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSource:
    """How a topic is consumed. `schema_registry` is KafkaSchemaRegistryConfig as it was given."""

    consumer_group_id: str | None = None
    consumption_mode: str | None = None
    schema_registry: Any = None

    def describe(self) -> dict[str, Any]:
        """AmazonManagedKafkaEventSourceConfig or SelfManagedKafkaEventSourceConfig."""
        return present(
            ConsumerGroupId=self.consumer_group_id,
            SchemaRegistryConfig=self.schema_registry,
            ConsumptionMode=self.consumption_mode,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDbSource:
    """Which change stream of a cluster is read; without a collection that of the whole database."""

    database: str
    collection: str | None = None
    full_document: str = "Default"

    def describe(self) -> dict[str, Any]:
        """DocumentDBEventSourceConfig."""
        return present(DatabaseName=self.database, CollectionName=self.collection, FullDocument=self.full_document)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """What a client can set. None is a setting that the kind of source does not have, or that was not given.

    `starting_timestamp` is seconds since the epoch; -1 for `max_record_age_s` and `max_retry_attempts` is no limit;
    `on_failure` is an ARN or `kafka://TOPIC`, and empty where there is no destination but the answer has its place.
    """

    batch_size: int
    batching_window_s: int | None = None
    parallelization_factor: int | None = None
    starting_position: str | None = None
    starting_timestamp: float | None = None
    max_record_age_s: int | None = None
    max_retry_attempts: int | None = None
    bisect_on_error: bool | None = None
    tumbling_window_s: int | None = None
    response_types: tuple[str, ...] | None = None
    on_failure: str | None = None
    filters: tuple[str, ...] = ()
    kms_key_arn: str | None = None
    maximum_concurrency: int | None = None
    pollers: Pollers | None = None
    metrics: tuple[str, ...] | None = None
    log_level: str | None = None
    topics: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    access: tuple[SourceAccess, ...] | None = None
    bootstrap_servers: tuple[str, ...] | None = None
    managed_kafka: KafkaSource | None = None
    self_managed_kafka: KafkaSource | None = None
    document_db: DocumentDbSource | None = None

    @property
    def silent(self) -> MappingSettings:
        """The same settings without a log level."""
        return replace(self, log_level=None)

    def describe(self) -> dict[str, Any]:
        """The settings as members of EventSourceMappingConfiguration."""
        plain = {name: getattr(self, attribute) for name, attribute in PLAIN_MEMBERS.items()}
        lists = {name: _as_list(getattr(self, attribute)) for name, attribute in LIST_MEMBERS.items()}
        described = {name: _described(getattr(self, attribute)) for name, attribute in _DESCRIBED_MEMBERS.items()}
        return present(**plain, **lists, **described) | present(
            StartingPositionTimestamp=_timestamp(self.starting_timestamp),
            DestinationConfig=self._destinations(),
            FilterCriteria={"Filters": [{"Pattern": pattern} for pattern in self.filters]} if self.filters else None,
            ScalingConfig=_structure(MaximumConcurrency=self.maximum_concurrency),
            MetricsConfig=_structure(Metrics=_as_list(self.metrics)),
            LoggingConfig=_structure(SystemLogLevel=self.log_level),
            SourceAccessConfigurations=None if self.access is None else [each.describe() for each in self.access],
            SelfManagedEventSource=self._endpoints(),
        )

    def _destinations(self) -> dict[str, Any] | None:
        if self.on_failure is None:
            return None
        return {"OnFailure": {"Destination": self.on_failure} if self.on_failure else {}}

    def _endpoints(self) -> dict[str, Any] | None:
        servers = _as_list(self.bootstrap_servers)
        return None if servers is None else {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": servers}}


PLAIN_MEMBERS: Mapping[str, str] = {
    "BatchSize": "batch_size",
    "MaximumBatchingWindowInSeconds": "batching_window_s",
    "ParallelizationFactor": "parallelization_factor",
    "StartingPosition": "starting_position",
    "MaximumRecordAgeInSeconds": "max_record_age_s",
    "MaximumRetryAttempts": "max_retry_attempts",
    "BisectBatchOnFunctionError": "bisect_on_error",
    "TumblingWindowInSeconds": "tumbling_window_s",
    "KMSKeyArn": "kms_key_arn",
}
"""Members of requests and responses whose values are stored as they are, and the attributes of `MappingSettings`."""

LIST_MEMBERS: Mapping[str, str] = {"FunctionResponseTypes": "response_types", "Topics": "topics", "Queues": "queues"}
"""The same for lists of texts, which are stored as tuples."""

_DESCRIBED_MEMBERS: Mapping[str, str] = {
    "ProvisionedPollerConfig": "pollers",
    "AmazonManagedKafkaEventSourceConfig": "managed_kafka",
    "SelfManagedKafkaEventSourceConfig": "self_managed_kafka",
    "DocumentDBEventSourceConfig": "document_db",
}
"""Members of responses that a value describes itself as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSourceMapping:
    """A mapping of an account in a region; `name` is its UUID.

        Creating -> Enabled | Disabled          Enabled -> Disabling -> Disabled -> Enabling -> Enabled
        Enabled | Disabled -> Updating -> what it was               any -> Deleting -> Deleted, which is gone

    `next_state` is where a state on the left of an arrow leads, and None for Enabled and Disabled. `function_arn` has the
    qualifier that the client gave. `last_modified` is seconds since the epoch. `last_result` is LastProcessingResult, None
    for the sources that do not have it.
    """

    name: str
    account_id: str
    region: str
    sequence: int
    kind: str
    function_arn: str
    settings: MappingSettings
    state: str
    state_reason: str
    last_modified: float
    next_state: str | None = None
    event_source_arn: str | None = None
    last_result: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The mapping's own ARN, which tags are attached to."""
        return (
            f"arn:{partition_of(self.region)}:lambda:{self.region}:{self.account_id}:event-source-mapping:{self.name}"
        )

    @property
    def wants_records(self) -> bool:
        """Whether the source is to be polled: the mapping is enabled, or is going to be."""
        return (self.next_state or self.state) == "Enabled"

    def works_like(self, other: EventSourceMapping) -> bool:
        """Whether a poller of one may go on as that of the other: what it does is the same, whatever it tells of it."""
        return (self.settings.silent, self.function_arn, self.wants_records) == (
            other.settings.silent,
            other.function_arn,
            other.wants_records,
        )

    def told_apart(self, other: EventSourceMapping) -> bool:
        """Whether they differ in more than what pollers tell of themselves."""
        return self is not other and self != replace(
            other, last_result=self.last_result, state_reason=self.state_reason
        )

    def describe(self) -> dict[str, Any]:
        """EventSourceMappingConfiguration. Tags are not part of it."""
        return present(
            UUID=self.name,
            EventSourceArn=self.event_source_arn,
            EventSourceMappingArn=self.arn,
            FunctionArn=self.function_arn,
            LastModified=_timestamp(self.last_modified),
            LastProcessingResult=self.last_result,
            State=self.state,
            StateTransitionReason=self.state_reason,
            **self.settings.describe(),
        )


def _timestamp(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _as_list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _described(value: Any) -> dict[str, Any] | None:
    return None if value is None else value.describe()


def _structure(**members: Any) -> dict[str, Any] | None:
    """A structure with the members that have a value, or None if there is none."""
    return present(**members) or None
