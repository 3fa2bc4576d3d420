"""Resources of stacks that are made by calls to the API: what moto's CloudFormation wants of a resource, once for all of them.

create   -> `create`, then the attributes that templates may ask for
update   -> `update`, or another resource when a property changed that cannot be changed
delete   -> `remove`; what is gone already is gone
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape

from lambda_provider.hosts.services.link import link

_INTERVAL_S = 0.1
_PATIENCE_S = 900
_NOT_FOUND = ("ResourceNotFoundException", "NotFound", "NotFoundException", "NoSuchEntity", "NoSuchBucket")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a resource is, and in which stack."""

    account_id: str
    region: str
    stack_id: str = ""
    logical_id: str = ""
    resource_type: str = ""
    stack_tags: Mapping[str, str] | None = None

    def system_tags(self) -> dict[str, str]:
        """What CloudFormation tags resources with (recorded: cfn_resource, test_adding_tags)."""
        if not self.stack_id:
            return {}
        return {
            "aws:cloudformation:stack-name": self.stack_id.split("/")[1],
            "aws:cloudformation:stack-id": self.stack_id,
            "aws:cloudformation:logical-id": self.logical_id,
        }


class Current(threading.local):
    """What the stack operation of this thread wants to know of resources."""

    stack: Any = None
    place: Place | None = None
    replaced: list[Any] | None = None
    """Resources that were replaced by others; they go when everything else is done."""


current = Current()


class Resource:
    """One resource. Subclasses say how it is made; they are models of moto by way of `model`."""

    TYPE: ClassVar[str]
    SERVICE: ClassVar[str] = "lambda"
    NAME: ClassVar[str] = ""
    """The property with the resource's name, if it has one."""
    FIXED: ClassVar[Iterable[str]] = ()
    """Properties whose change takes another resource; `*` for all."""
    ATTRIBUTES: ClassVar[Iterable[str]] = ()

    def __init__(self, place: Place, name: str, properties: Mapping[str, Any]) -> None:
        self.place = place
        self.name = name
        self.properties = properties
        self.physical_resource_id = name
        self.attributes: dict[str, Any] = {}

    @property
    def client(self) -> Any:
        """The API, in the account and region of the stack."""
        return link().client(self.SERVICE, self.place.account_id, self.place.region)

    def create(self) -> None:
        """Make it; sets `physical_resource_id` and `attributes`."""
        raise NotImplementedError

    def update(self, before: Mapping[str, Any]) -> None:
        """Change it to `properties`, from `before`."""
        raise NotImplementedError

    def remove(self) -> None:
        """Delete it."""
        raise NotImplementedError

    def tags(self, properties: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The tags that a user gave the resource, and the stack."""
        listed = (self.properties if properties is None else properties).get("Tags") or []
        own = listed if isinstance(listed, Mapping) else {tag["Key"]: str(tag["Value"]) for tag in listed}
        return {**(self.place.stack_tags or {}), **own}

    def request(self, operation: str, *others: Mapping[str, Any], leave: Iterable[str] = ()) -> dict[str, Any]:
        """The properties as parameters of an operation, in the types that it takes, without those to `leave`.

        Raises ValueError for a property that there is not (CloudFormation: "extraneous key").
        """
        model = self.client.meta.service_model.operation_model(operation).input_shape
        left = set(leave)
        properties = {name: value for name, value in self.properties.items() if name not in left}
        for each in others:
            properties.update(each)
        parameters: dict[str, Any] = shaped(properties, model)
        return parameters

    # What moto's CloudFormation calls

    def is_created(self) -> bool:
        return True

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        from moto.cloudformation.exceptions import UnformattedGetAttTemplateException

        if attribute_name not in self.attributes:
            raise UnformattedGetAttTemplateException
        return self.attributes[attribute_name]

    def delete(self, account_id: str, region_name: str) -> None:
        try:
            self.remove()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOT_FOUND:
                raise

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in cls.ATTRIBUTES

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Mapping[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Any:
        place = current.place or Place(account_id, region_name, kwargs.get("StackId", ""), kwargs.get("LogicalId", ""))
        resource = cls(place, resource_name, cloudformation_json.get("Properties") or {})
        resource.create()
        return resource

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Mapping[str, Any],
        account_id: str,
        region_name: str,
    ) -> Any:
        properties = cloudformation_json.get("Properties") or {}
        before = original_resource.properties
        fixed = set(before) | set(properties) if "*" in cls.FIXED else set(cls.FIXED)
        named = bool(cls.NAME) and cls.NAME in properties
        if any(before.get(name) != properties.get(name) for name in fixed):
            replacement = cls(original_resource.place, new_resource_name, properties)
            replacement.create()
            if current.replaced is None:
                original_resource.delete(account_id, region_name)
            else:
                current.replaced.append(original_resource)
            return replacement
        changed = cls(original_resource.place, new_resource_name if named else original_resource.name, properties)
        changed.physical_resource_id = original_resource.physical_resource_id
        changed.attributes = dict(original_resource.attributes)
        changed.update(before)
        return changed


def model(resource: type[Resource]) -> type[Any]:
    """A resource as a model of moto, which finds its models as the direct subclasses of one class."""

    from moto.core.common_models import CloudFormationModel

    def cloudformation_type() -> str:
        return resource.TYPE

    def cloudformation_name_type() -> str:
        return resource.NAME

    members = {
        "__module__": "moto.lambda_provider.resources",  # Moto keeps instances by the second part.
        "cloudformation_type": staticmethod(cloudformation_type),
        "cloudformation_name_type": staticmethod(cloudformation_name_type),
    }
    return type(resource.__name__, (resource, CloudFormationModel), members)


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once it holds. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {_PATIENCE_S} s it is still not so that {what}")
        time.sleep(_INTERVAL_S)


def shaped(value: Any, shape: Shape | None) -> Any:
    """A value as a shape of the API has it: in templates numbers and truth are often texts."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        known = {name.lower(): name for name in shape.members}
        if unknown := [name for name in value if name.lower() not in known]:
            raise ValueError(f"#: extraneous key [{unknown[0]}] is not permitted")
        return {
            known[name.lower()]: shaped(each, shape.members[known[name.lower()]])
            for name, each in value.items()
            if each is not None
        }
    if isinstance(shape, ListShape):
        return [shaped(each, shape.member) for each in (value if isinstance(value, list) else [value])]
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        return {name: shaped(each, shape.value) for name, each in value.items()}
    kind = shape.type_name if shape is not None else ""
    if kind in ("integer", "long") and isinstance(value, str):
        return int(value)
    if kind in ("double", "float") and isinstance(value, str):
        return float(value)
    if kind == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if kind == "string" and isinstance(value, bool):
        return str(value).lower()
    if kind == "string" and isinstance(value, int | float):
        return str(value)
    return value
