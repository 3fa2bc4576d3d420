"""Which settings of an event source mapping go together, and with its source.

The rules are those of the API reference. Words that no recording and no error report of AWS's users shows are ours.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.event_sources.filters import Filter, InvalidPattern
from lambda_provider.model.event_source_mapping import MappingSettings, Pollers, SourceAccess
from lambda_provider.operations.mapping_kinds import KAFKA_AUTHENTICATION, MQ, SELF_MANAGED_KAFKA, SQS, SourceKind

_LARGEST_UNBATCHED = 10
_MINIMUM_RECORD_AGE_S = 60
_KAFKA_METRICS = frozenset({"ErrorCount", "KafkaMetrics"})
_DESTINATION = re.compile(r"arn:aws[a-z-]*:((sqs|sns):[a-z0-9-]+:\d{12}|s3::):[^:]+")
_KAFKA_DESTINATION = re.compile(r"kafka://.+")
_SECRET = re.compile(r"arn:aws[a-z-]*:secretsmanager:.+")

_WITHOUT_URI = frozenset({"IAM_AUTH", "IAM_OAUTHBEARER_AUTH"})
_OAUTH_DETAILS = frozenset({"OAUTHBEARER_SCOPE", "OAUTHBEARER_LOGICAL_CLUSTER", "OAUTHBEARER_IDENTITY_POOL"})
_NETWORK = frozenset({"VPC_SUBNET", "VPC_SECURITY_GROUP"})
_WITHOUT_SECRET = _WITHOUT_URI | _OAUTH_DETAILS | _NETWORK | {"OAUTHBEARER_AUDIENCE", "VIRTUAL_HOST"}


def check_creation(kind: SourceKind, request: Mapping[str, Any]) -> None:
    """Raise for what a CreateEventSourceMapping lacks, or has and the source does not know."""
    _check_members(kind, request)
    if request.get("SelfManagedKafkaEventSourceConfig", {}).get("ConsumptionMode") == "Queue":
        for member in ("StartingPosition", "StartingPositionTimestamp", "MaximumBatchingWindowInSeconds"):
            if member in request:
                raise kind.unsupported(member)
        if request.get("MaximumRetryAttempts") == -1:
            raise _invalid("MaximumRetryAttempts cannot be -1 when ConsumptionMode is Queue.")
    for member in kind.requires:
        if not request.get(member):
            raise kind.missing(member)


def check_update(kind: SourceKind, old: MappingSettings, request: Mapping[str, Any]) -> None:
    """Raise for what the source does not know, and for what cannot be changed once a mapping exists."""
    _check_members(kind, request)
    for member in kind.requires:
        if member in request and not request[member]:
            raise kind.missing(member)
    if kind is MQ and any(each.get("Type") == "VIRTUAL_HOST" for each in request.get("SourceAccessConfigurations", ())):
        raise _invalid("VIRTUAL_HOST cannot be specified in an update of an event source mapping.")
    for member, source in (
        ("AmazonManagedKafkaEventSourceConfig", old.managed_kafka),
        ("SelfManagedKafkaEventSourceConfig", old.self_managed_kafka),
    ):
        if source is not None:
            fixed = source.describe()
            for name in ("ConsumerGroupId", "ConsumptionMode"):
                if request.get(member, {}).get(name, fixed.get(name)) != fixed.get(name):
                    raise _invalid(f"{name} cannot be updated.")


def check_settings(kind: SourceKind, event_source_arn: str | None, settings: MappingSettings, *, filters: int) -> None:
    """Raise for settings that do not go together. `filters` is how many a mapping may have."""
    _check_position(kind, settings)
    if kind is SQS:
        _check_batching(event_source_arn or "", settings)
    if settings.on_failure:
        _check_destination(kind, settings)
    if settings.max_record_age_s is not None and 0 <= settings.max_record_age_s < _MINIMUM_RECORD_AGE_S:
        raise _invalid(f"MaximumRecordAgeInSeconds must be -1 or at least {_MINIMUM_RECORD_AGE_S}.")
    _check_accesses(kind, settings.access or ())
    if settings.pollers is not None:
        _check_pollers(kind, settings, settings.pollers)
    _check_observability(kind, settings)
    _check_filters(settings.filters, filters)


def _check_members(kind: SourceKind, request: Mapping[str, Any]) -> None:
    for member in request:
        if member not in kind.takes:
            raise kind.unsupported(member)
    if request.get("DestinationConfig", {}).get("OnSuccess", {}).get("Destination"):
        raise kind.unsupported("DestinationConfig")


def _check_position(kind: SourceKind, settings: MappingSettings) -> None:
    if settings.starting_position is None:
        return
    if settings.starting_position not in kind.positions:
        raise _invalid(
            f"Unsupported starting position {settings.starting_position} for given event source mapping type."
        )
    if settings.starting_position == "AT_TIMESTAMP":
        if settings.starting_timestamp is None:
            raise _invalid("Need to specify a timestamp")
        if settings.starting_timestamp > time.time():
            raise _invalid("StartingPositionTimestamp cannot be in the future.")


def _check_batching(queue_arn: str, settings: MappingSettings) -> None:
    """Recorded: test_event_source_mapping_default_batch_size. Together they bound a batch of a FIFO queue to 10."""
    if queue_arn.endswith(".fifo") and settings.batching_window_s:
        raise _invalid("Batching window is not supported for FIFO queues")
    if settings.batch_size > _LARGEST_UNBATCHED and not settings.batching_window_s:
        raise _invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than "
            f"{_LARGEST_UNBATCHED}"
        )


def _check_destination(kind: SourceKind, settings: MappingSettings) -> None:
    """A topic that takes its own failures would run for ever (kafka-on-failure-destination.html, "No recursion")."""
    destination = settings.on_failure or ""
    if destination in {f"kafka://{topic}" for topic in settings.topics or ()}:
        raise _invalid("The on-failure destination topic cannot be one of the source topics.")
    fits = _DESTINATION.fullmatch(destination)
    if not fits and "Topics" in kind.takes:
        fits = _KAFKA_DESTINATION.fullmatch(destination)
    if not fits:
        raise _invalid(
            "The provided destination config DestinationConfig(onSuccess=null, "
            f"onFailure=OnFailure(destination={destination})) is invalid."
        )


def _check_accesses(kind: SourceKind, accesses: Sequence[SourceAccess]) -> None:
    types = Counter(access.type for access in accesses)
    for access in accesses:
        if access.type not in kind.accesses:
            raise _invalid(
                f"Unsupported source access configuration type {access.type} for given event source mapping type."
            )
        if access.uri is None and access.type not in _WITHOUT_URI:
            raise _invalid(f"The source access configuration {access.type} needs a URI.")
        if access.type not in _WITHOUT_SECRET and not _SECRET.fullmatch(access.uri or ""):
            raise _invalid(f"The URI of {access.type} must be the ARN of a secret of AWS Secrets Manager.")
    if len(KAFKA_AUTHENTICATION & types.keys()) > 1:
        raise _invalid("Only one authentication method can be specified in the source access configurations.")
    if repeated := [type_ for type_, count in types.items() if count > 1 and type_ not in _NETWORK]:
        raise _invalid(f"The source access configuration {repeated[0]} is specified more than once.")
    if kind is SELF_MANAGED_KAFKA:
        _check_cluster_access(types)


def _check_cluster_access(types: Mapping[str, int]) -> None:
    if len(_NETWORK & types.keys()) == 1:
        raise _invalid("VPC_SUBNET and VPC_SECURITY_GROUP must be specified together.")
    if _OAUTH_DETAILS & types.keys() and "OAUTHBEARER_AUTH" not in types:
        raise _invalid(f"{', '.join(sorted(_OAUTH_DETAILS & types.keys()))} requires OAUTHBEARER_AUTH.")
    if "OAUTHBEARER_AUDIENCE" in types and not {"OAUTHBEARER_AUTH", "IAM_OAUTHBEARER_AUTH"} & types.keys():
        raise _invalid("OAUTHBEARER_AUDIENCE requires OAUTHBEARER_AUTH or IAM_OAUTHBEARER_AUTH.")
    if "IAM_OAUTHBEARER_AUTH" in types and "OAUTHBEARER_AUDIENCE" not in types:
        raise _invalid("IAM_OAUTHBEARER_AUTH requires OAUTHBEARER_AUDIENCE.")


def _check_pollers(kind: SourceKind, settings: MappingSettings, pollers: Pollers) -> None:
    """Ranges of the API reference, ProvisionedPollerConfig."""
    least, most = (2, 10_000) if kind is SQS else (1, 2_000)
    if pollers.minimum is not None and pollers.minimum < least:
        raise _invalid(f"MinimumPollers must be at least {least} for given event source mapping type.")
    if pollers.maximum is not None and not least <= pollers.maximum <= most:
        raise _invalid(f"MaximumPollers must be between {least} and {most} for given event source mapping type.")
    if pollers.maximum is not None and pollers.maximum < (pollers.minimum or least):
        raise _invalid("MaximumPollers must be greater than or equal to MinimumPollers.")
    if pollers.group is not None and kind is SQS:
        raise kind.unsupported("PollerGroupName")
    if settings.maximum_concurrency is not None:
        raise _invalid("MaximumConcurrency cannot be used together with ProvisionedPollerConfig.")


def _check_observability(kind: SourceKind, settings: MappingSettings) -> None:
    """Mappings of Kafka tell of themselves in provisioned mode only (esm-logging.html; for metrics the CDK's reference of
    ManagedKafkaEventSourceProps: "Provisioned mode is required for observability features")."""
    if "LoggingConfig" not in kind.takes:
        if _KAFKA_METRICS.intersection(settings.metrics or ()):
            raise _invalid("The metrics ErrorCount and KafkaMetrics are for event source mappings of Kafka only.")
    elif settings.pollers is None:
        for member, value in (("LoggingConfig", settings.log_level), ("MetricsConfig", settings.metrics)):
            if value:
                raise _invalid(f"{member} requires provisioned mode: specify ProvisionedPollerConfig.")


def _check_filters(patterns: Sequence[str], most: int) -> None:
    """Recorded: test_sqs_invalid_event_filter."""
    if len(patterns) > most:
        raise _invalid(f"An event source mapping can have at most {most} filters.")
    for pattern in patterns:
        try:
            Filter(pattern)
        except InvalidPattern as error:
            raise _invalid("Invalid filter pattern definition.") from error


def _invalid(message: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(message)
