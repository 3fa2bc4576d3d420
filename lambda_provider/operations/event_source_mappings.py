"""Event source mappings as resources. Rules and words: TestLambdaEventSourceMappings in the recordings."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.api import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceInUseException,
    ResourceNotFoundException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.event_source_mapping import DELETED, EventSourceMapping
from lambda_provider.model.function import LATEST, Version
from lambda_provider.operations.filter_keys import filter_key_error
from lambda_provider.operations.mapping_conflicts import conflict
from lambda_provider.operations.mapping_kinds import KINDS, recognise
from lambda_provider.operations.mapping_rules import check_creation, check_settings, check_update
from lambda_provider.operations.mapping_settings import new_settings, updated_settings
from lambda_provider.operations.mapping_sources import EventSources
from lambda_provider.operations.tagging import check_tags
from lambda_provider.store.paging import page
from lambda_provider.store.resources import ResourceEditor
from lambda_provider.validation.names import FunctionId, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

_LARGEST_PAGE = 100
_ON_THE_WAY = {"Enabled": "Enabling", "Disabled": "Disabling"}


class EventSourceMappingOperations(EventSources):
    """The event source mappings of an account in a region.

    A change is on its way (Creating, Updating, …) until somebody reads the mapping, or for `settle_s`; during that time
    further changes are refused, as AWS refuses them.
    """

    def create_event_source_mapping(
        self, context: RequestContext, request: shapes.CreateEventSourceMappingRequest
    ) -> shapes.EventSourceMappingConfiguration:
        """Map a source to a function.

        The order of the checks, as recorded in test_event_source_mapping_exceptions: the kind of source, the function, the
        parameters, the source itself.
        """
        kind = recognise(request)
        identity, version = self._function_to_invoke(context, request["FunctionName"])
        check_creation(kind, request)
        tags = request.get("Tags", {})
        check_tags(tags, self.config.resource_tags)
        name, source_arn = str(uuid.uuid4()), request.get("EventSourceArn")
        settings = new_settings(kind, name, request)
        check_settings(kind, source_arn, settings, filters=self.config.event_source_mapping_filters)
        self.require_source(context, kind, source_arn, version)
        with self.store.event_source_mappings.changing(context.account_id, context.region) as mappings:
            mapping = EventSourceMapping(
                name=name,
                account_id=context.account_id,
                region=context.region,
                sequence=mappings.next_sequence,
                kind=kind.name,
                event_source_arn=source_arn,
                function_arn=identity.qualified_arn,
                settings=settings,
                state="Creating",
                next_state="Enabled" if request.get("Enabled", True) else "Disabled",
                state_reason=kind.state_reason,
                last_modified=_now(),
                last_result=kind.first_result,
                tags=tags,
            )
            self._require_unlike_others(mapping, mappings)
            mappings.put(mapping)
        return _answer(mapping.describe())

    def get_event_source_mapping(
        self, context: RequestContext, request: shapes.GetEventSourceMappingRequest
    ) -> shapes.EventSourceMappingConfiguration:
        """One mapping; what was on its way is done when somebody looks."""
        mapping = self._settled_mapping(context, request["UUID"])
        if mapping is None:
            raise _not_found()
        return _answer(mapping.describe() | self._filter_criteria_error(mapping))

    def list_event_source_mappings(
        self, context: RequestContext, request: shapes.ListEventSourceMappingsRequest
    ) -> shapes.ListEventSourceMappingsResponse:
        """The mappings of a source, of a function or one of its versions or aliases, or all; at most 100 in a page.

        Filters that are encrypted with a key are not shown (API reference, FilterCriteria).
        """
        source_arn, function_arn = request.get("EventSourceArn"), self._function_of_mappings(context, request)

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            for stored in self.store.event_source_mappings.values(context.account_id, context.region):
                if (
                    (position is not None and stored.sequence <= position)
                    or source_arn not in (None, stored.event_source_arn)
                    or function_arn not in (None, _without_latest(stored.function_arn))
                ):
                    continue
                if (mapping := self._settled_mapping(context, stored.name)) is not None:
                    members = mapping.describe()
                    if mapping.settings.kms_key_arn:
                        members.pop("FilterCriteria", None)
                    yield stored.sequence, members

        paged = {"MaxItems": _LARGEST_PAGE, **request}
        kind = f"event-source-mappings/{source_arn}/{function_arn}"
        items, more = page(paged, kind, items_after, largest=_LARGEST_PAGE)
        return cast("shapes.ListEventSourceMappingsResponse", {"EventSourceMappings": items, **more})

    def update_event_source_mapping(
        self, context: RequestContext, request: shapes.UpdateEventSourceMappingRequest
    ) -> shapes.EventSourceMappingConfiguration:
        """Change a mapping; members that are not sent keep their values."""
        old = self._changeable_mapping(context, request["UUID"], "update")
        kind = KINDS[old.kind]
        changes: dict[str, Any] = {}
        if "FunctionName" in request:
            identity, version = self._function_to_invoke(context, request["FunctionName"])
            changes["function_arn"] = identity.qualified_arn
        check_update(kind, old.settings, request)
        settings = updated_settings(old.settings, request)
        check_settings(kind, old.event_source_arn, settings, filters=self.config.event_source_mapping_filters)
        if "FunctionName" in request:
            self.require_source(context, kind, old.event_source_arn, version)
        target = old.state
        if "Enabled" in request:
            target = "Enabled" if request["Enabled"] else "Disabled"
        with self.store.event_source_mappings.changing(context.account_id, context.region) as mappings:
            if _was_changed(mappings.get(old.name), old):
                # Somebody else was faster while the source was looked at.
                raise _in_use("update")
            mapping = replace(
                old,
                settings=settings,
                state="Updating" if target == old.state else _ON_THE_WAY[target],
                next_state=target,
                state_reason=kind.state_reason,
                last_modified=_now(),
                **changes,
            )
            self._require_unlike_others(mapping, mappings)
            mappings.put(mapping)
        return _answer(mapping.describe())

    def delete_event_source_mapping(
        self, context: RequestContext, request: shapes.DeleteEventSourceMappingRequest
    ) -> shapes.EventSourceMappingConfiguration:
        """Delete a mapping; its function may be gone already (recorded: …_lifecycle_delete_function)."""
        old = self._changeable_mapping(context, request["UUID"], "delete")
        with self.store.event_source_mappings.changing(context.account_id, context.region) as mappings:
            if _was_changed(mappings.get(old.name), old):
                raise _in_use("delete")
            reason = KINDS[old.kind].state_reason
            mapping = replace(old, state="Deleting", next_state=DELETED, state_reason=reason, last_modified=_now())
            mappings.put(mapping)
        return _answer(mapping.describe())

    def _function_to_invoke(self, context: RequestContext, function_name: str) -> tuple[FunctionId, Version]:
        """The function, version or alias that records are for; it has to be the caller's."""
        identity = resolve(context, function_name)
        function = self.store.find(context.account_id, identity.region, identity.name)
        version = function.find(identity.qualifier) if function is not None else None
        if version is None or identity.account_id != context.account_id:
            raise InvalidParameterValueException("Function does not exist")
        return identity, version

    def _function_of_mappings(self, context: RequestContext, request: Mapping[str, Any]) -> str | None:
        if "FunctionName" not in request:
            return None
        return _without_latest(resolve(context, request["FunctionName"]).qualified_arn)

    def _settled_mapping(self, context: RequestContext, name: str) -> EventSourceMapping | None:
        """The mapping with what was on its way done, or None if there is none (any more)."""
        table = self.store.event_source_mappings
        mapping = table.get(context.account_id, context.region, name)
        if mapping is None or mapping.next_state is None:
            return mapping
        with table.changing(context.account_id, context.region) as mappings:
            return _settle(mappings, name)

    def _changeable_mapping(self, context: RequestContext, name: str, operation: str) -> EventSourceMapping:
        """The mapping, if nothing is on its way; the model's documentation of ResourceInUseException has the rule."""
        mapping = self.store.event_source_mappings.get(context.account_id, context.region, name)
        if mapping is not None and mapping.next_state is not None:
            if time.time() - mapping.last_modified < self.config.settle_s:
                raise _in_use(operation)
            mapping = self._settled_mapping(context, name)
        if mapping is None:
            raise _not_found()
        return mapping

    def _require_unlike_others(self, mapping: EventSourceMapping, mappings: ResourceEditor[EventSourceMapping]) -> None:
        for other in list(mappings.values.values()):
            if other.name == mapping.name or (message := conflict(mapping, other)) is None:
                continue
            if other.next_state == DELETED:
                mappings.remove(other.name)
                continue
            raise ResourceConflictException(message)

    def _filter_criteria_error(self, mapping: EventSourceMapping) -> dict[str, Any]:
        """FilterCriteriaError, instead of filters, when their key cannot be used."""
        failure = filter_key_error(self.host, mapping)
        return {"FilterCriteria": None, "FilterCriteriaError": failure} if failure is not None else {}


def _settle(mappings: ResourceEditor[EventSourceMapping], name: str) -> EventSourceMapping | None:
    mapping = mappings.get(name)
    if mapping is None or mapping.next_state is None:
        return mapping
    if mapping.next_state == DELETED:
        mappings.remove(name)
        return None
    return mappings.put(replace(mapping, state=mapping.next_state, next_state=None, last_modified=_now()))


def _was_changed(stored: EventSourceMapping | None, old: EventSourceMapping) -> bool:
    """Whether a client changed the mapping; what its poller tells of itself is no change."""
    return stored is None or stored.told_apart(old)


def _without_latest(function_arn: str) -> str:
    return function_arn.removesuffix(f":{LATEST}")


def _answer(members: dict[str, Any]) -> shapes.EventSourceMappingConfiguration:
    return cast("shapes.EventSourceMappingConfiguration", members)


def _now() -> float:
    """LastModified, in whole milliseconds that have passed."""
    return int(time.time() * 1000) / 1000


def _not_found() -> ResourceNotFoundException:
    return ResourceNotFoundException("The resource you requested does not exist.")


def _in_use(operation: str) -> ResourceInUseException:
    return ResourceInUseException(f"Cannot {operation} the event source mapping because it is in use.")
