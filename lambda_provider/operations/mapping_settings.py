"""The settings of event source mappings: from members of requests to what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lambda_provider.model.event_source_mapping import (
    LIST_MEMBERS,
    PLAIN_MEMBERS,
    DocumentDbSource,
    KafkaSource,
    MappingSettings,
    Pollers,
    SourceAccess,
)
from lambda_provider.operations.mapping_kinds import DOCUMENT_DB, MSK, SELF_MANAGED_KAFKA, SourceKind

_KAFKA_ATTRIBUTES: Mapping[str, str] = {MSK.name: "managed_kafka", SELF_MANAGED_KAFKA.name: "self_managed_kafka"}


def changes(request: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of `MappingSettings` that a request sets. An empty structure takes a setting away."""
    result: dict[str, Any] = {PLAIN_MEMBERS[name]: value for name, value in request.items() if name in PLAIN_MEMBERS}
    result |= {LIST_MEMBERS[name]: tuple(value) for name, value in request.items() if name in LIST_MEMBERS}
    for member, read in _STRUCTURES.items():
        if member in request:
            result |= read(request[member])
    if "kms_key_arn" in result:
        result["kms_key_arn"] = result["kms_key_arn"] or None
    return result


def new_settings(kind: SourceKind, uuid: str, request: Mapping[str, Any]) -> MappingSettings:
    """The settings of a new mapping: the request's, and the kind's defaults. A consumer group is named after its mapping."""
    settings: dict[str, Any] = {**kind.defaults, **changes(request)}
    if settings.get("starting_position") != "AT_TIMESTAMP":
        settings.pop("starting_timestamp", None)
    if attribute := _KAFKA_ATTRIBUTES.get(kind.name):
        source = settings.get(attribute) or KafkaSource()
        settings[attribute] = replace(source, consumer_group_id=source.consumer_group_id or uuid)
        if source.consumption_mode == "Queue":
            # A share group has no position, and retries nothing when nothing is said (API reference).
            settings = {"max_retry_attempts": 0, **settings, "starting_position": None}
    return MappingSettings(**settings)


def updated_settings(old: MappingSettings, request: Mapping[str, Any]) -> MappingSettings:
    """The settings after an update; of structures that cannot be changed as a whole, the other parts stay."""
    if old.document_db is not None and (given := request.get("DocumentDBEventSourceConfig")) is not None:
        request = {**request, "DocumentDBEventSourceConfig": {**old.document_db.describe(), **given}}
    new = changes(request)
    for attribute in _KAFKA_ATTRIBUTES.values():
        source: KafkaSource | None = getattr(old, attribute)
        if attribute in new and source is not None:
            new[attribute] = replace(source, schema_registry=new[attribute].schema_registry)
    if "access" in new:
        new["access"] += tuple(access for access in old.access or () if access.type == "VIRTUAL_HOST")
    return replace(old, **new)


# From structures


def _destination(member: Mapping[str, Any]) -> dict[str, Any]:
    return {"on_failure": member.get("OnFailure", {}).get("Destination") or ""}


def _filters(member: Mapping[str, Any]) -> dict[str, Any]:
    return {"filters": tuple(each.get("Pattern", "") for each in member.get("Filters") or ())}


def _pollers(member: Mapping[str, Any]) -> dict[str, Any]:
    pollers = Pollers(
        minimum=member.get("MinimumPollers"), maximum=member.get("MaximumPollers"), group=member.get("PollerGroupName")
    )
    return {"pollers": pollers if pollers != Pollers() else None}


def _accesses(member: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {"access": tuple(SourceAccess(type=each.get("Type", ""), uri=each.get("URI")) for each in member)}


def _kafka(attribute: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def read(member: Mapping[str, Any]) -> dict[str, Any]:
        return {
            attribute: KafkaSource(
                consumer_group_id=member.get("ConsumerGroupId"),
                consumption_mode=member.get("ConsumptionMode"),
                schema_registry=member.get("SchemaRegistryConfig") or None,
            )
        }

    return read


def _document_db(member: Mapping[str, Any]) -> DocumentDbSource:
    if not member.get("DatabaseName"):
        raise DOCUMENT_DB.missing("databaseName")
    return DocumentDbSource(
        database=member["DatabaseName"],
        collection=member.get("CollectionName"),
        full_document=member.get("FullDocument", "Default"),
    )


def _endpoints(member: Mapping[str, Any]) -> dict[str, Any]:
    servers = member.get("Endpoints", {}).get("KAFKA_BOOTSTRAP_SERVERS")
    if not servers:
        raise SELF_MANAGED_KAFKA.missing("endpoints")
    return {"bootstrap_servers": tuple(servers)}


_STRUCTURES: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "StartingPositionTimestamp": lambda member: {"starting_timestamp": member.timestamp()},
    "DestinationConfig": _destination,
    "FilterCriteria": _filters,
    "ScalingConfig": lambda member: {"maximum_concurrency": member.get("MaximumConcurrency")},
    "ProvisionedPollerConfig": _pollers,
    "MetricsConfig": lambda member: {"metrics": tuple(member.get("Metrics") or ()) or None},
    "LoggingConfig": lambda member: {"log_level": member.get("SystemLogLevel")},
    "SourceAccessConfigurations": _accesses,
    "SelfManagedEventSource": _endpoints,
    "AmazonManagedKafkaEventSourceConfig": _kafka("managed_kafka"),
    "SelfManagedKafkaEventSourceConfig": _kafka("self_managed_kafka"),
    "DocumentDBEventSourceConfig": lambda member: {"document_db": _document_db(member)},
}
