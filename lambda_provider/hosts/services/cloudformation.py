"""CloudFormation of moto with our engine, our `AWS::Lambda::*`, custom resources that answer, and SAM templates."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from lambda_provider.hosts import services
from lambda_provider.hosts.services import moto_resources
from lambda_provider.hosts.services.patches import replace
from lambda_provider.hosts.services.resources import Resource, current
from lambda_provider.hosts.services.stack_templates import read_templates, refuse_while_busy
from lambda_provider.hosts.services.stacks import Stack, run
from lambda_provider.hosts.services.steps import ResourceFailed

logger = logging.getLogger(__name__)

_WITHOUT_RESOURCE = (
    "AWS::ApiGateway::Account",
    "AWS::ApiGatewayV2::Deployment",
    "AWS::CDK::Metadata",
    "AWS::CloudFormation::WaitCondition",
    "AWS::CloudFormation::WaitConditionHandle",
)


def install() -> None:
    """Change moto's CloudFormation. Everything that its models are in is imported by this."""
    from moto.cloudformation import models, parsing, responses

    _teach_resources(parsing)
    moto_resources.install(parsing)
    read_templates(models, responses)
    _run_operations(models, parsing)
    _name_change_sets(models, responses)


class Nothing(Resource):
    """A resource that there is nothing to make of."""

    TYPE = "LambdaProvider::Nothing"

    def create(self) -> None:
        self.cf_note: str | None = None

    def update(self, before: Mapping[str, Any]) -> None:
        """Nothing is there to change."""

    def remove(self) -> None:
        """Nothing is there to delete."""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        return f"{self.physical_resource_id}.{attribute_name}"


class Unsupported(Nothing):
    """A resource of a type that moto cannot make: the stack goes on without it, and its event says so."""

    TYPE = "LambdaProvider::Unsupported"

    def create(self) -> None:
        kind = self.place.resource_type
        logger.warning(
            "%s of a stack is a %s, which this gateway cannot make: it is left out", self.place.logical_id, kind
        )
        self.cf_note = f"{kind} is not supported here: nothing was made"


def _teach_resources(parsing: Any) -> None:
    from lambda_provider.hosts.services import (
        application_resources,
        custom_resources,
        http_resources,
        lambda_resources,
        lambda_settings,
        other_resources,
        rest_resources,
    )
    from lambda_provider.hosts.services.resources import model

    ours = (
        *lambda_resources.RESOURCES,
        *lambda_settings.RESOURCES,
        *other_resources.RESOURCES,
        *application_resources.RESOURCES,
        *rest_resources.RESOURCES,
        *http_resources.RESOURCES,
    )
    custom, nothing, unsupported = map(model, (custom_resources.CustomResource, Nothing, Unsupported))
    for resource in ours:
        model(resource)
    parsing.get_model_list.cache_clear()
    parsing.get_model_map.cache_clear()
    parsing.get_name_type_map.cache_clear()

    def known(original: Any) -> Any:
        def resource_class_from_type(resource_type: str) -> Any:
            # What moto makes for a stack has to be what it makes for a client.
            services.install("".join(resource_type.split("::")[1:2]).lower())
            if resource_type.startswith("Custom::"):
                return custom
            if resource_type in _WITHOUT_RESOURCE:
                return nothing
            if resource_type not in parsing.get_model_map():
                return unsupported
            return original(resource_type)

        return resource_class_from_type

    replace(parsing, "resource_class_from_type", "resource_type", known)


def _run_operations(models: Any, parsing: Any) -> None:
    """Operations of stacks are ours."""

    def creating(_: Any) -> Any:
        def create_resources(self: Any) -> None:
            # Moto says that creation began before it calls this.
            self.events = [event for event in self.events if event.resource_status != "CREATE_IN_PROGRESS"]
            run(self, lambda: Stack(self).create(self.template_dict))
            _tell_the_outer(self, "CREATE_COMPLETE")

        return create_resources

    def updating(_: Any) -> Any:
        def update(self: Any, template: str, role_arn: Any = None, parameters: Any = None, tags: Any = None) -> None:
            document = self.parse_template(template)
            wanted = {"template": template, "role_arn": role_arn}
            if tags is not None:
                wanted["tags"] = tags
            if parameters:
                wanted["parameters"] = parameters
            _update(self, wanted, document, parameters)
            _tell_the_outer(self, "UPDATE_COMPLETE")

        return update

    def executing(_: Any) -> Any:
        def execute_change_set(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
            change_set = self.describe_change_set(change_set_name)
            refuse_while_busy(self, change_set.stack_name)
            stack = self.stacks[change_set.stack_id]
            change_set.execution_status = "EXECUTE_COMPLETE"
            wanted = {"template": change_set.template, "parameters": change_set.parameters}
            if change_set.tags:
                wanted["tags"] = change_set.tags
            if change_set.change_set_type == "CREATE":
                vars(stack).update(wanted)
                stack.resource_map.input_parameters = change_set.parameters
                run(stack, lambda: Stack(stack).create(change_set.template_dict))
            else:
                _update(stack, wanted, change_set.template_dict, change_set.parameters)

        return execute_change_set

    def deleting(_: Any) -> Any:
        def delete_stack(self: Any, name_or_stack_id: str) -> None:
            found = [each for each in self.stacks.values() if name_or_stack_id in (each.name, each.stack_id)]
            for stack in found:
                run(stack, lambda stack=stack: _delete(self, stack))  # type: ignore[misc]

        return delete_stack

    def making(original: Any) -> Any:
        def parse_and_create_resource(
            logical_id: str, resource_json: Any, resources_map: Any, account_id: str, region_name: str
        ) -> Any:
            def make() -> Any:
                return original(logical_id, resource_json, resources_map, account_id, region_name)

            stack = current.stack
            if stack is None or stack.resource_map is not resources_map:
                # Somebody reads what the stack has; what is not there is not made for that.
                return None
            return stack.make(logical_id, resource_json, make)

        return parse_and_create_resource

    def there(stack: Any) -> list[Any]:
        return [each for each in stack.resource_map._parsed_resources.values() if hasattr(each, "logical_resource_id")]

    replace(models.Stack, "create_resources", "self", creating)
    replace(models.Stack, "update", "self template role_arn parameters tags", updating)
    replace(models.CloudFormationBackend, "execute_change_set", "self change_set_name stack_name", executing)
    replace(models.CloudFormationBackend, "delete_stack", "self name_or_stack_id", deleting)
    replace(
        parsing,
        "parse_and_create_resource",
        "logical_id resource_json resources_map account_id region_name",
        making,
    )
    models.Stack.stack_resources = property(there)
    # Outputs are there when the stack is complete, and not made again by whoever reads them.
    models.Stack.outputs = property(lambda self: getattr(self, "cf_outputs", None))
    models.Stack.exports = property(lambda self: getattr(self, "cf_exports", []))
    # As they were given: what stands in a parameter of SSM is looked up anew each time.
    models.Stack.stack_parameters = property(_given_parameters)
    models.Stack.get_cfn_attribute = _output_of
    models.Stack.delete = lambda self: Stack(self).delete()


def _update(stack: Any, wanted: dict[str, Any], template: dict[str, Any], parameters: Any) -> None:
    """Update a stack; what moto keeps of it is that of before if it is rolled back."""
    before = {name: getattr(stack, name) for name in wanted}

    def operation() -> None:
        vars(stack).update(wanted)
        try:
            Stack(stack).update(template, parameters)
        finally:
            if stack.status != "UPDATE_COMPLETE":
                vars(stack).update(before)

    run(stack, operation)


def _tell_the_outer(stack: Any, good: str) -> None:
    """A nested stack that failed fails the stack around it."""
    if current.replaced is not None and stack.status != good:
        raise ResourceFailed(f"Embedded stack {stack.stack_id} was not successfully created: {stack.status_reason}")


def _given_parameters(stack: Any) -> dict[str, Any]:
    slots = stack.resource_map._template.get("Parameters") or {}
    given = stack.resource_map.input_parameters
    return {name: given.get(name, slot.get("Default")) for name, slot in slots.items()}


def _output_of(stack: Any, attribute_name: str) -> Any:
    name = attribute_name.removeprefix("Outputs.")
    return next((each["OutputValue"] for each in stack.outputs or () if each["OutputKey"] == name), None)


def _delete(backend: Any, stack: Any) -> None:
    exported = [export.name for export in stack.exports]
    stack.delete()
    if stack.status == "DELETE_COMPLETE":
        backend.stacks.pop(stack.stack_id, None)
        backend.deleted_stacks[stack.stack_id] = stack
        for name in exported:
            backend.exports.pop(name, None)


def _name_change_sets(models: Any, responses: Any) -> None:
    """Change sets of different stacks may have one name, as CDK's have."""
    from moto.cloudformation.exceptions import CloudFormationError
    from moto.core.responses import ActionResult, EmptyResult

    class ChangeSetNotFound(CloudFormationError):
        code = "ChangeSetNotFound"

    def found(response: Any) -> Any:
        name, stack_name = response._get_param("ChangeSetName"), response._get_param("StackName")
        for arn, change_set in reversed(list(response.cloudformation_backend.change_sets.items())):
            if name == arn or (
                name == change_set.change_set_name
                and (not stack_name or stack_name in (change_set.stack_name, change_set.stack_id))
            ):
                return change_set
        raise ChangeSetNotFound(f"ChangeSet [{name}] does not exist")

    def describe_change_set(self: Any) -> Any:
        return ActionResult(found(self))

    def execute_change_set(self: Any) -> Any:
        self.cloudformation_backend.execute_change_set(found(self).change_set_id)
        return EmptyResult()

    def delete_change_set(self: Any) -> Any:
        # Deleting one that is gone is no error.
        with contextlib.suppress(ChangeSetNotFound):
            del self.cloudformation_backend.change_sets[found(self).change_set_id]
        return EmptyResult()

    def for_updates_only(refuse: Any) -> Any:
        def _validate_different_update(self: Any, incoming_params: Any, stack_body: Any, old_stack: Any) -> None:
            # A change set without changes is made, and says so in its status.
            if self._get_action() == "UpdateStack":
                refuse(self, incoming_params, stack_body, old_stack)

        return _validate_different_update

    kind = responses.CloudFormationResponse
    replace(kind, "_validate_different_update", "self incoming_params stack_body old_stack", for_updates_only)
    for function in (describe_change_set, execute_change_set, delete_change_set):
        replace(kind, function.__name__, "self", lambda _, function=function: function)  # type: ignore[misc]
