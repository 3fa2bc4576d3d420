"""Aliases: names that point at versions. Rules and their order: TestLambdaAlias in the recordings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.api import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.function import LATEST, Alias
from lambda_provider.operations.base import Operations
from lambda_provider.operations.provisioned_concurrency import require_free
from lambda_provider.store.editor import FunctionEditor
from lambda_provider.store.paging import page
from lambda_provider.validation.names import FunctionId, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

_LARGEST_PAGE = 10_000


class AliasOperations(Operations):
    """The aliases of a function."""

    def create_alias(self, context: RequestContext, request: shapes.CreateAliasRequest) -> shapes.AliasConfiguration:
        """Point a name at a version, or at two with a share for the second."""
        version = request["FunctionVersion"]
        weights = _weights(request, version)
        # A function that does not exist is reported as the version that was asked for.
        with self.store.function(replace(_function_of(context, request), qualifier=version)) as function:
            _require_versions(function, version, weights)
            name = request["Name"]
            if name in function.function.aliases:
                raise ResourceConflictException(f"Alias already exists: {function.arn}:{name}")
            alias = function.put_alias(
                name, version=version, description=request.get("Description", ""), weights=weights
            )
        return _answer(alias, function.arn)

    def get_alias(self, context: RequestContext, request: shapes.GetAliasRequest) -> shapes.AliasConfiguration:
        """One alias."""
        function = self.store.get(_function_of(context, request))
        alias = function.aliases.get(request["Name"])
        if alias is None:
            raise ResourceNotFoundException(f"Cannot find alias arn: {function.arn}:{request['Name']}")
        return _answer(alias, function.arn)

    def list_aliases(self, context: RequestContext, request: shapes.ListAliasesRequest) -> shapes.ListAliasesResponse:
        """The aliases of a function by name, all or those that point at one version."""
        function = self.store.get(_function_of(context, request))
        version = request.get("FunctionVersion")

        def items_after(position: Any) -> Iterator[tuple[Any, shapes.AliasConfiguration]]:
            for name in sorted(function.aliases):
                alias = function.aliases[name]
                if (position is None or name > position) and (version is None or alias.refers_to(version)):
                    yield name, _answer(alias, function.arn)

        items, more = page(request, f"aliases/{function.arn}/{version}", items_after, largest=_LARGEST_PAGE)
        return cast("shapes.ListAliasesResponse", {"Aliases": items, **more})

    def update_alias(self, context: RequestContext, request: shapes.UpdateAliasRequest) -> shapes.AliasConfiguration:
        """Change an alias; members that are not sent keep their values, an empty RoutingConfig ends the routing."""
        with self.store.function(_function_of(context, request)) as function:
            old = function.function.aliases.get(request["Name"])
            if old is None:
                raise ResourceNotFoundException(f"Alias not found: {function.arn}:{request['Name']}")
            function.require_revision(old, request.get("RevisionId"))
            version = request.get("FunctionVersion", old.version)
            weights = _weights(request, version) if "RoutingConfig" in request else old.weights
            _require_routable(version, weights)
            _require_versions(function, version, weights)
            if old.name in function.function.provisioned:
                require_free(function.function, old.name, [version, *weights])
            alias = function.put_alias(
                old.name, version=version, description=request.get("Description", old.description), weights=weights
            )
        return _answer(alias, function.arn)

    def delete_alias(self, context: RequestContext, request: shapes.DeleteAliasRequest) -> None:
        """Delete an alias; one that does not exist is not an error (recorded: test_non_existent_alias_deletion)."""
        with self.store.function(_function_of(context, request)) as function:
            if request["Name"] in function.function.aliases:
                function.remove_alias(request["Name"])


def _function_of(context: RequestContext, request: Mapping[str, Any]) -> FunctionId:
    return resolve(context, request["FunctionName"]).unqualified()


def _answer(alias: Alias, function_arn: str) -> shapes.AliasConfiguration:
    return cast("shapes.AliasConfiguration", alias.describe(function_arn))


def _weights(request: Mapping[str, Any], version: str) -> Mapping[str, float]:
    """The additional version of a request with its share of the invokes."""
    weights: Mapping[str, float] = request.get("RoutingConfig", {}).get("AdditionalVersionWeights") or {}
    if len(weights) > 1:
        raise InvalidParameterValueException("Number of items in AdditionalVersionWeights cannot be greater than 1")
    _require_routable(version, weights)
    return weights


def _require_routable(version: str, weights: Mapping[str, float]) -> None:
    if version in weights:
        raise InvalidParameterValueException(
            f"Invalid function version {version}. Function version {version} is already included in routing configuration."
        )
    if version == LATEST and weights:
        raise InvalidParameterValueException(
            "$LATEST is not supported for an alias pointing to more than 1 version", Type=None
        )


def _require_versions(function: FunctionEditor, version: str, weights: Mapping[str, float]) -> None:
    for number in (version, *weights):
        function.require_version(number)
