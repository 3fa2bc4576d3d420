"""Custom resources: a function of the user's makes them, and answers to an address that it is given.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from lambda_provider.hosts.services.answers import PATH, answers
from lambda_provider.hosts.services.link import Origin, link
from lambda_provider.hosts.services.resources import Resource, current

_TIMEOUT_S = 3600


class CustomResourceFailed(Exception):
    """The function said FAILED, did not answer in time, or could not be run."""


class CustomResource(Resource):
    """A resource of the user's own. Whatever the function puts into `Data` can be asked for."""

    TYPE = "AWS::CloudFormation::CustomResource"

    def create(self) -> None:
        self._ask("Create")

    def update(self, before: Mapping[str, Any]) -> None:
        previous = self.physical_resource_id
        self._ask("Update", PhysicalResourceId=previous, OldResourceProperties=_texts(before))
        if self.physical_resource_id != previous:
            # Another resource took its place: the function is told to delete the one before, when all else is done.
            old = CustomResource(self.place, self.name, before)
            old.physical_resource_id = previous
            self._replaced(old)

    def remove(self) -> None:
        self._ask("Delete", PhysicalResourceId=self.physical_resource_id)

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Mapping[str, Any],
        account_id: str,
        region_name: str,
    ) -> Any:
        changed = cls(original_resource.place, original_resource.name, cloudformation_json.get("Properties") or {})
        changed.physical_resource_id = original_resource.physical_resource_id
        changed.update(original_resource.properties)
        return changed

    def _ask(self, kind: str, **more: Any) -> None:
        token = self.properties["ServiceToken"]
        key = answers.expect()
        event = {
            "RequestType": kind,
            "ServiceToken": token,
            "ResponseURL": link().way.function_endpoint_url.rstrip("/") + PATH + key,
            "StackId": self.place.stack_id,
            "RequestId": str(uuid.uuid4()),
            "LogicalResourceId": self.place.logical_id,
            "ResourceType": self.place.resource_type or self.TYPE,
            "ResourceProperties": _texts(self.properties),
            **more,
        }
        origin = Origin(account_id=self.place.account_id)
        send = _publish if token.split(":")[2:3] == ["sns"] else _invoke
        send(token, event, origin)
        answer = answers.wait(key, float(self.properties.get("ServiceTimeout") or _TIMEOUT_S))
        if answer is None:
            raise CustomResourceFailed(
                "CloudFormation did not receive a response from your Custom Resource. "
                f"Please check your logs for requestId [{event['RequestId']}]."
            )
        if answer.get("Status") != "SUCCESS":
            raise CustomResourceFailed(
                f"Received response status [{answer.get('Status')}] from custom resource. "
                f"Message returned: {answer.get('Reason')} (RequestId: {event['RequestId']})"
            )
        self.physical_resource_id = answer.get("PhysicalResourceId") or self.physical_resource_id
        self.attributes = answer.get("Data") or {}

    def _replaced(self, old: CustomResource) -> None:
        if current.replaced is not None:
            current.replaced.append(old)
        else:
            old.remove()

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        return self.attributes.get(attribute_name)


def _invoke(arn: str, event: Mapping[str, Any], origin: Origin) -> None:
    answer = link().invoke(arn, event, origin, kind="Event")
    if answer.error is not None:
        raise CustomResourceFailed(f"{answer.error}: {answer.message}")


def _publish(arn: str, event: Mapping[str, Any], origin: Origin) -> None:
    _, _, _, region, account_id, _ = arn.split(":")
    client = link().client("sns", account_id, region)
    subject = "AWS CloudFormation custom resource request"
    client.publish(TopicArn=arn, Message=json.dumps(event), Subject=subject)


def _texts(value: Any) -> Any:
    """Properties as functions see them: numbers and truth are texts."""
    if isinstance(value, Mapping):
        return {key: _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value
