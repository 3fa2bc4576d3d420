"""TagResource, UntagResource and ListTags, for everything in Lambda that has tags.

Rules and words: TestLambdaTags and TestLambdaTag in the recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lambda_provider.api import InvalidParameterValueException, LambdaError, ResourceNotFoundException
from lambda_provider.context import RequestContext
from lambda_provider.operations.base import Operations
from lambda_provider.operations.tagging import check_tags, own_tags
from lambda_provider.store.resources import ResourceTable
from lambda_provider.validation.names import FunctionId, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

_NOT_FOUND = {
    "event-source-mapping": "Event source mapping not found: {}",
    "code-signing-config": "The Lambda code signing configuration {} can not be found.",
    "capacity-provider": "Capacity provider not found: {}",
}


class TagOperations(Operations):
    """The tags of functions, event source mappings, code signing configurations and capacity providers, by ARN."""

    def tag_resource(self, context: RequestContext, request: shapes.TagResourceRequest) -> None:
        """Add tags, or give those that are there new values."""
        added = request["Tags"]
        if not added:
            raise InvalidParameterValueException("An error occurred and the request cannot be processed.")

        def merged(tags: Mapping[str, str]) -> Mapping[str, str]:
            check_tags({**own_tags(tags), **added}, self.config.resource_tags)
            return {**tags, **added}

        self._change_tags(context, request["Resource"], merged)

    def tag_for_service(self, context: RequestContext, arn: str, added: Mapping[str, str]) -> None:
        """Add tags that AWS gives, `aws:…`; they do not count. Not an operation of the API.

        Recorded of CloudFormation: cfn_resource, test_adding_tags.
        """
        self._change_tags(context, arn, lambda tags: {**tags, **added})

    def untag_resource(self, context: RequestContext, request: shapes.UntagResourceRequest) -> None:
        """Take tags away; those that are not there are not an error."""
        gone = set(request["TagKeys"])

        def kept(tags: Mapping[str, str]) -> Mapping[str, str]:
            return {key: value for key, value in tags.items() if key not in gone}

        self._change_tags(context, request["Resource"], kept)

    def list_tags(self, context: RequestContext, request: shapes.ListTagsRequest) -> shapes.ListTagsResponse:
        """All tags of a resource."""
        arn = request["Resource"]
        kind, name = _kind_and_name(arn)
        if kind == "function":
            return {"Tags": dict(self.store.get(_function(context, arn)).settings.tags)}
        resource = self._tagged_table(kind).get(_account(context, arn), context.region, name)
        if resource is None:
            raise _not_found(kind, arn)
        return {"Tags": dict(resource.tags)}

    def _change_tags(
        self, context: RequestContext, arn: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> None:
        kind, name = _kind_and_name(arn)
        if kind == "function":
            with self.store.function(_function(context, arn)) as function:
                function.change_settings(tags=change(function.function.settings.tags))
            return
        with self._tagged_table(kind).changing(_account(context, arn), context.region) as resources:
            resource = resources.get(name)
            if resource is None:
                raise _not_found(kind, arn)
            resources.put(replace(resource, tags=change(resource.tags)))

    def _tagged_table(self, kind: str) -> ResourceTable[Any]:
        table = self.store.table(kind) if kind in _NOT_FOUND else None
        if table is None:
            # The pattern of the member takes layers; no operation gives them tags.
            raise InvalidParameterValueException(f"Tags on resources of type {kind} are not supported.")
        return table


def _kind_and_name(arn: str) -> tuple[str, str]:
    """What an ARN is of, and its name in its table; the constraints of the model have checked its form."""
    kind, name = arn.split(":")[5:7]
    return kind, name


def _account(context: RequestContext, arn: str) -> str:
    """The account that owns a resource. An ARN of another region or partition is of nothing that exists here."""
    _, partition, _, region, account_id, kind, _ = arn.split(":")
    if (partition, region) != (context.partition, context.region):
        raise _not_found(kind, arn)
    return account_id


def _function(context: RequestContext, arn: str) -> FunctionId:
    function = resolve(context, arn)
    if function.qualifier is not None:
        raise InvalidParameterValueException(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return function


def _not_found(kind: str, arn: str) -> LambdaError:
    return ResourceNotFoundException(_NOT_FOUND[kind].format(arn))
