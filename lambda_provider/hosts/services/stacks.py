"""What CloudFormation does with a stack, on moto's models of resources.

Moto makes resources as a template names them, within the request, and stops at the first that fails. Here an operation has a
thread of its own, as on AWS; resources are made in the order of what they need, changed when what they refer to changed, and
deleted after everything else is done; each step is an event; a failure is rolled back.

    CREATE_IN_PROGRESS -> CREATE_COMPLETE | ROLLBACK_IN_PROGRESS -> ROLLBACK_COMPLETE | CREATE_FAILED (rollback disabled)
    UPDATE_IN_PROGRESS -> UPDATE_COMPLETE | UPDATE_ROLLBACK_IN_PROGRESS -> UPDATE_ROLLBACK_COMPLETE | UPDATE_ROLLBACK_FAILED
    DELETE_IN_PROGRESS -> DELETE_COMPLETE | DELETE_FAILED

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html and .../using-cfn-updating-stacks.html
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from lambda_provider.hosts.services.exports import conflict, kept_by_others
from lambda_provider.hosts.services.graph import order
from lambda_provider.hosts.services.moto_resources import physical_id
from lambda_provider.hosts.services.other_resources import complete
from lambda_provider.hosts.services.resources import Place, current
from lambda_provider.hosts.services.steps import Operation, ResourceFailed, Step, reason_of

logger = logging.getLogger(__name__)

_PATIENCE_S = 25.0
"""How long a request waits for its operation. Most are done by then, so that who asks next finds the stack complete."""
_IN_PROGRESS = "_IN_PROGRESS"


def run(stack: Any, operation: Callable[[], None]) -> None:
    """Do something with a stack: within the operation that this thread does already, or on a thread of its own."""
    if current.replaced is not None:
        operation()
        return
    done = threading.Event()

    def work() -> None:
        try:
            operation()
        except Exception:  # The edge of the thread: the stack's status tells that it went wrong.
            logger.exception("an operation on the stack %s broke off", stack.name)
            stack.status = f"{stack.status.removesuffix(_IN_PROGRESS)}_FAILED"
        finally:
            done.set()

    threading.Thread(target=work, name=f"stack {stack.name}", daemon=True).start()
    done.wait(_PATIENCE_S)


class Stack:
    """One stack of moto, and what can be done with it."""

    def __init__(self, stack: Any) -> None:
        self._stack = stack
        self.resource_map = self._map = stack.resource_map

    def create(self, template: dict[str, Any]) -> None:
        """Make the resources of a template."""
        self._begin("CREATE_IN_PROGRESS", "User Initiated")
        with self._operation() as replaced:
            try:
                self._adopt(template, None)
                self._to(template)
                self._publish()
            except ResourceFailed as error:
                self._stack.failure = str(error)
                if self._stack.disable_rollback:
                    self._end("CREATE_FAILED", str(error))
                    return
                self._begin("ROLLBACK_IN_PROGRESS", f"{error}. Rollback requested by user.")
                self._drop(list(self._made()), keep=False)
                self._end("ROLLBACK_COMPLETE")
                return
            self._clean_up(replaced, [])
        self._end("CREATE_COMPLETE")

    def update(self, template: dict[str, Any], parameters: Mapping[str, Any] | None) -> None:
        """Change the resources to those of another template, or of other parameters."""
        before, old_parameters = self._map._resource_json_map, dict(self._map.input_parameters)
        old_template = self._map._template
        self._begin("UPDATE_IN_PROGRESS", "User Initiated")
        with self._operation() as replaced:
            try:
                self._adopt(template, parameters)
                self._to(template)
                self._publish()
            except ResourceFailed as error:
                self._stack.failure = str(error)
                self._roll_back(old_template, old_parameters, template)
                return
            self._begin("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            gone = [name for name in order(before) if name not in template["Resources"] or not self._wanted(name)]
            self._clean_up(replaced, gone, before)
        self._end("UPDATE_COMPLETE")

    def delete(self) -> None:
        """Delete what is there, except what is to be retained; nothing while somebody imports what the stack exports."""
        if reason := kept_by_others(self._stack):
            self._begin(self._stack.status, reason)
            return
        self._begin("DELETE_IN_PROGRESS", "User Initiated")
        with self._operation():
            failed = self._drop(list(self._made()), keep=True)
        if failed:
            self._end("DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        else:
            self._end("DELETE_COMPLETE")

    # How it is done

    def _roll_back(self, template: dict[str, Any], parameters: dict[str, Any], tried: dict[str, Any]) -> None:
        self._begin("UPDATE_ROLLBACK_IN_PROGRESS", self._stack.failure)
        try:
            self._adopt(template, parameters)
            self._to(template)
            self._publish()
        except ResourceFailed as error:
            self._end("UPDATE_ROLLBACK_FAILED", str(error))
            return
        gone = [name for name in order(tried["Resources"]) if name not in template["Resources"]]
        self._clean_up(current.replaced or [], gone, tried["Resources"])
        self._end("UPDATE_ROLLBACK_COMPLETE")

    def _adopt(self, template: dict[str, Any], parameters: Mapping[str, Any] | None) -> None:
        """Have moto resolve references by this template."""
        known = self._map
        known._template = template
        known._resource_json_map = template["Resources"]
        if parameters is not None:
            known.input_parameters = parameters
        known.tags = {
            **dict(self._stack.tags),
            "aws:cloudformation:stack-name": self._stack.name,
            "aws:cloudformation:stack-id": self._stack.stack_id,
        }
        try:
            known.load_mapping()
            known.transform_mapping()
            known.load_parameters()
            known.load_conditions()
        except Exception as error:
            raise ResourceFailed(f"Parameters or mappings cannot be read: {reason_of(error)}") from error

    def _to(self, template: dict[str, Any]) -> None:
        """Make what is missing and change what differs."""
        from moto.cloudformation import parsing

        known = self._map
        for name in order(template["Resources"]):
            if not self._wanted(name):
                continue
            resource = known._parsed_resources.get(name)
            if resource is None:
                known[name]
                continue
            document = copy.deepcopy(template["Resources"][name])
            properties = parsing.clean_json(document.get("Properties") or {}, known)
            if properties == resource.cf_properties:
                continue
            with self._step(name, resource.cf_resource_type, "UPDATE") as step:
                changed = parsing.parse_and_update_resource(
                    name, document, known, account_id=known._account_id, region_name=known._region_name
                )
                changed = changed if changed is not None else resource
                physical_id(changed)
                changed.cf_resource_type, changed.logical_resource_id = resource.cf_resource_type, name
                complete(resource.cf_resource_type, changed, properties, resource.cf_properties, self.place(name, ""))
                changed.cf_properties = properties
                known._parsed_resources[name] = changed
                step.resource = changed

    def make(self, name: str, document: dict[str, Any], make: Callable[[], Any]) -> Any:
        """Make one resource: what moto does when a resource is asked for that is not there yet."""
        from moto.cloudformation import parsing

        if not self._wanted(name):
            return None
        listed = document.get("DependsOn") or []
        for each in [listed] if isinstance(listed, str) else listed:
            if each in self._map._resource_json_map:
                self._map[each]
        # What it refers to is made before it, so that each step is an event of its own.
        with self._resolving(name):
            properties = parsing.clean_json(copy.deepcopy(document.get("Properties") or {}), self._map)
        with self._step(name, document["Type"], "CREATE") as step:
            resource = make()
            physical_id(resource)
            complete(document["Type"], resource, properties, {}, self.place(name, document["Type"]))
            resource.cf_properties = properties
            step.resource = resource
        return resource

    def _wanted(self, name: str) -> bool:
        condition = self._map._resource_json_map[name].get("Condition")
        return not condition or bool(self._map.lazy_condition_map[condition])

    def _made(self) -> Any:
        """The resources that are there, those first that nobody needs."""
        there = self._map._parsed_resources
        return [
            name for name in reversed(order(self._map._resource_json_map)) if hasattr(there.get(name), "cf_properties")
        ]

    def _clean_up(self, replaced: list[Any], gone: list[str], documents: Mapping[str, Any] | None = None) -> None:
        for resource in reversed(replaced):
            self._remove(resource, {"Type": resource.TYPE}, resource.place.logical_id)
        replaced.clear()
        there = [name for name in reversed(gone) if hasattr(self._map._parsed_resources.get(name), "cf_properties")]
        self._drop(there, keep=True, documents=documents)

    def _drop(self, names: list[str], *, keep: bool, documents: Mapping[str, Any] | None = None) -> list[str]:
        """Delete resources; answers which could not be deleted. With `keep`, those that are to be retained are left."""
        documents = documents or self._map._resource_json_map
        failed = []
        for name in names:
            resource = self._map._parsed_resources[name]
            document = documents[name]
            if keep and document.get("DeletionPolicy") in ("Retain", "RetainExceptOnCreate"):
                self.event(name, resource, "DELETE_SKIPPED")
            elif not self._remove(resource, document, name):
                failed.append(name)
                continue
            del self._map._parsed_resources[name]
        return failed

    def _remove(self, resource: Any, document: Mapping[str, Any], name: str) -> bool:
        try:
            with self._step(name, document["Type"], "DELETE", resource):
                self._map._delete_resource(resource, document)
        except ResourceFailed:
            return False
        return True

    def _publish(self) -> None:
        """Have moto answer with what the stack is now. Raises ResourceFailed for outputs that cannot be."""
        from moto.cloudformation.models import cloudformation_backends

        stack = self._stack
        stack.template_dict = self._map._template
        stack.description = self._map._template.get("Description")
        stack.output_map = stack._create_output_map()
        try:
            outputs = [each for each in stack.output_map.values() if each]
            exports = {export.name: export for export in stack.output_map.exports}
        except Exception as error:
            raise ResourceFailed(reason_of(error)) from error
        known = cloudformation_backends[stack.account_id][stack.region_name].exports
        for name in exports:
            if name in known and known[name].exporting_stack_id != stack.stack_id:
                owner = known[name].exporting_stack_id.split("/")[1]
                raise ResourceFailed(f"Export with name {name} is already exported by stack {owner}")
        if reason := conflict(stack, exports):
            raise ResourceFailed(reason)
        for name in [name for name, export in known.items() if export.exporting_stack_id == stack.stack_id]:
            del known[name]
        known.update(exports)
        names = {export.value: export.name for export in exports.values()}
        stack.cf_exports = list(exports.values())
        stack.cf_outputs = [
            {
                "OutputKey": each.key,
                "OutputValue": each.value,
                "Description": each.description,
                "ExportName": names.get(each.value),
            }
            for each in outputs
        ]

    def _begin(self, status: str, reason: str | None = None) -> None:
        self._stack.status = status
        self._stack.status_reason = reason
        self._stack._add_stack_event(status, resource_status_reason=reason)

    def _end(self, status: str, reason: str | None = None) -> None:
        # The event first: who waits for the status then finds it.
        self._stack._add_stack_event(status, resource_status_reason=reason)
        self._stack.status_reason = reason
        self._stack.status = status

    def _operation(self) -> Operation:
        return Operation(self)

    def _resolving(self, name: str) -> Step:
        return Step(self, name, "", None, None)

    def _step(self, name: str, kind: str, action: str, resource: Any = None) -> Step:
        return Step(self, name, kind, action, resource)

    def event(self, name: str, resource: Any, status: str, reason: str | None = None, kind: str = "") -> None:
        from moto.cloudformation.models import Event

        physical = getattr(resource, "physical_resource_id", None) or ""
        self._stack.events.append(
            Event(
                stack_id=self._stack.stack_id,
                stack_name=self._stack.name,
                logical_resource_id=name,
                physical_resource_id=str(physical),
                resource_type=kind or getattr(resource, "cf_resource_type", ""),
                resource_status=status,
                resource_status_reason=reason,
                resource_properties=None,
            )
        )

    def place(self, name: str, kind: str) -> Place:
        """Where a resource of this stack is made."""
        stack = self._stack
        return Place(stack.account_id, stack.region_name, stack.stack_id, name, kind, dict(stack.tags))
