"""The kinds of event sources: how one is recognised, what it takes, what it needs, and what holds when nothing is said.

Defaults are as recorded for SQS, Kinesis, DynamoDB and self-managed Kafka; the other kinds follow the API reference of
CreateEventSourceMapping and the pages of the Developer Guide on their sources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lambda_provider.api import InvalidParameterValueException

_EVERY_KIND = {
    "UUID",
    "EventSourceArn",
    "FunctionName",
    "Enabled",
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "FilterCriteria",
    "KMSKeyArn",
    "MetricsConfig",
    "Tags",
}
_POSITION = {"StartingPosition", "StartingPositionTimestamp"}
_ERRORS = {"DestinationConfig", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts", "BisectBatchOnFunctionError"}
_STREAM = {*_POSITION, *_ERRORS, "ParallelizationFactor", "TumblingWindowInSeconds", "FunctionResponseTypes"}
_ACCESS = {"SourceAccessConfigurations"}
_KAFKA = {
    *_POSITION,
    *_ERRORS,
    *_ACCESS,
    "Topics",
    "FunctionResponseTypes",
    "ProvisionedPollerConfig",
    "LoggingConfig",
}

_NO_RESULT = "No records processed"
_STREAM_DEFAULTS: Mapping[str, Any] = {
    "batch_size": 100,
    "batching_window_s": 0,
    "parallelization_factor": 1,
    "max_record_age_s": -1,
    "max_retry_attempts": -1,
    "bisect_on_error": False,
    "tumbling_window_s": 0,
    "response_types": (),
    "on_failure": "",
}

KAFKA_AUTHENTICATION = frozenset(
    {"BASIC_AUTH", "SASL_SCRAM_256_AUTH", "SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH"}
    | {"OAUTHBEARER_AUTH", "IAM_AUTH", "IAM_OAUTHBEARER_AUTH"}
)
"""The ways to authenticate with a cluster, of which a mapping has at most one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One kind of event source.

    `takes` are the request's members that it knows, `requires` those that CreateEventSourceMapping needs; `defaults` are
    attributes of `MappingSettings`, `accesses` the types of SourceAccessConfigurations. `state_reason` is what AWS gives as
    StateTransitionReason for a change by a client. AWS words the errors of the older kinds differently (`old_words`).
    """

    name: str
    takes: frozenset[str]
    arn: re.Pattern[str] | None = None
    requires: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    accesses: frozenset[str] = frozenset()
    positions: frozenset[str] = frozenset({"TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"})
    state_reason: str = "USER_INITIATED"
    first_result: str | None = _NO_RESULT
    old_words: bool = False

    def unsupported(self, member: str) -> InvalidParameterValueException:
        """The error for a member that this kind does not know."""
        if self.name == "sqs" and member == "StartingPosition":
            return InvalidParameterValueException("StartingPosition is not valid for SQS event sources.")
        named = member if self.old_words else f"'{_lower_first(member)}'"
        return InvalidParameterValueException(f"Unsupported {named} parameter for given event source mapping type.")

    def missing(self, member: str) -> InvalidParameterValueException:
        """The error for a member that this kind needs (recorded: test_create_event_source_validation_kinesis)."""
        if self.old_words:
            return InvalidParameterValueException(
                f"1 validation error detected: Value null at '{_lower_first(member)}' "
                "failed to satisfy constraint: Member must not be null."
            )
        return InvalidParameterValueException(f"Required '{_lower_first(member)}' parameter is missing.")


def _lower_first(member: str) -> str:
    return member[:1].lower() + member[1:]


def _arn(service: str, resource: str) -> re.Pattern[str]:
    return re.compile(rf"arn:aws[a-z-]*:{service}:[a-z0-9-]+:\d{{12}}:{resource}", re.ASCII)


SQS = SourceKind(
    name="sqs",
    arn=_arn("sqs", r"(?P<queue>[\w-]{1,80}|[\w-]{1,75}\.fifo)"),
    takes=frozenset({*_EVERY_KIND, "FunctionResponseTypes", "ScalingConfig", "ProvisionedPollerConfig"}),
    defaults={"batch_size": 10, "batching_window_s": 0, "response_types": ()},
    first_result=None,
    old_words=True,
)
KINESIS = SourceKind(
    name="kinesis",
    arn=_arn("kinesis", r"stream/(?P<stream>[\w.-]{1,128})(?P<consumer>/consumer/[\w.-]{1,128}:\d+)?"),
    takes=frozenset({*_EVERY_KIND, *_STREAM}),
    requires=("StartingPosition",),
    defaults=_STREAM_DEFAULTS,
    state_reason="User action",
    old_words=True,
)
DYNAMODB = SourceKind(
    name="dynamodb",
    arn=_arn("dynamodb", r"table/[\w.-]{1,255}/stream/[\w:.-]+"),
    takes=frozenset({*_EVERY_KIND, *_STREAM}),
    requires=("StartingPosition",),
    defaults=_STREAM_DEFAULTS,
    positions=frozenset({"TRIM_HORIZON", "LATEST"}),
    state_reason="User action",
    old_words=True,
)
MSK = SourceKind(
    name="msk",
    arn=_arn("kafka", r"(cluster|vpc-connection)/.+"),
    takes=frozenset({*_EVERY_KIND, *_KAFKA, "AmazonManagedKafkaEventSourceConfig"}),
    requires=("Topics",),
    defaults={"batch_size": 100, "starting_position": "TRIM_HORIZON"},
    accesses=frozenset({"SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH"}),
)
SELF_MANAGED_KAFKA = SourceKind(
    name="self-managed-kafka",
    takes=frozenset({*_EVERY_KIND, *_KAFKA, "SelfManagedEventSource", "SelfManagedKafkaEventSourceConfig"})
    - {"EventSourceArn"},
    requires=("SourceAccessConfigurations", "Topics"),
    defaults={"batch_size": 100, "starting_position": "TRIM_HORIZON"},
    accesses=KAFKA_AUTHENTICATION
    | {"VPC_SUBNET", "VPC_SECURITY_GROUP", "SERVER_ROOT_CA_CERTIFICATE"}
    | {"OAUTHBEARER_SCOPE", "OAUTHBEARER_AUDIENCE", "OAUTHBEARER_LOGICAL_CLUSTER", "OAUTHBEARER_IDENTITY_POOL"},
)
MQ = SourceKind(
    name="mq",
    arn=_arn("mq", r"broker:.+"),
    takes=frozenset({*_EVERY_KIND, *_ACCESS, "Queues"}),
    requires=("Queues", "SourceAccessConfigurations"),
    defaults={"batch_size": 100},
    accesses=frozenset({"BASIC_AUTH", "VIRTUAL_HOST"}),
)
DOCUMENT_DB = SourceKind(
    name="documentdb",
    arn=_arn("rds", r"cluster:.+"),
    takes=frozenset({*_EVERY_KIND, *_POSITION, *_ACCESS, "DocumentDBEventSourceConfig"} - {"FilterCriteria"}),
    requires=("StartingPosition", "SourceAccessConfigurations", "DocumentDBEventSourceConfig"),
    defaults={"batch_size": 100},
    accesses=frozenset({"BASIC_AUTH"}),
)

KINDS: Mapping[str, SourceKind] = {
    kind.name: kind for kind in (SQS, KINESIS, DYNAMODB, MSK, SELF_MANAGED_KAFKA, MQ, DOCUMENT_DB)
}
"""Every kind by its name, which a stored mapping has."""


def recognise(request: Mapping[str, Any]) -> SourceKind:
    """The kind of the source that a CreateEventSourceMapping names (recorded: test_event_source_mapping_exceptions)."""
    arn = request.get("EventSourceArn")
    if arn is None and "SelfManagedEventSource" in request:
        return SELF_MANAGED_KAFKA
    for kind in KINDS.values():
        if arn and kind.arn and kind.arn.fullmatch(arn):
            return kind
    raise InvalidParameterValueException("Unrecognized event source.")
