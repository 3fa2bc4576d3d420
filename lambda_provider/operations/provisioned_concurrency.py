"""Provisioned concurrency of versions and aliases.

Rules and words: TestLambdaProvisionedConcurrency in lambda_api.json and TestLambdaConcurrency in lambda.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.api import (
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceConflictException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.concurrency import ProvisionedConcurrency
from lambda_provider.model.configuration import present
from lambda_provider.model.function import LATEST, Function, Version
from lambda_provider.operations.base import Operations
from lambda_provider.operations.capacity import claimed, provisioned
from lambda_provider.store.editor import FunctionEditor
from lambda_provider.store.paging import page
from lambda_provider.validation.names import FunctionId, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

_UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."


class ProvisionedConcurrencyOperations(Operations):
    """Environments that are initialised ahead of the invocations; the data plane keeps them (lambda_runtime.provisioned)."""

    def put_provisioned_concurrency_config(
        self, context: RequestContext, request: shapes.PutProvisionedConcurrencyConfigRequest
    ) -> shapes.PutProvisionedConcurrencyConfigResponse:
        """Ask for environments of a version, or of the version that an alias points at; the answer says how far that is."""
        identity = resolve(context, request["FunctionName"], request["Qualifier"])
        qualifier = identity.qualifier or LATEST
        if qualifier == LATEST:
            raise InvalidParameterValueException(_UNPUBLISHED)
        self._require_target(identity)
        requested = ProvisionedConcurrency.of(request["ProvisionedConcurrentExecutions"])
        with self.capacity.lock, self.store.function(identity) as function:
            self._require_shared(function.function)
            number = _provisionable(function, qualifier)
            self._require_capacity(function, qualifier, requested.requested)
            function.attach("provisioned", qualifier, requested)
            # The version gets a new revision id (recorded: test_lambda_provisioned_concurrency_moves_with_alias,
            # get_function_after_provisioned).
            version = function.require_version(number)
            function.settle(number, version.status)
            function.committing.append(lambda committed: self.capacity.provision(committed, qualifier))
        return cast("shapes.PutProvisionedConcurrencyConfigResponse", self._describe(requested, identity.qualified_arn))

    def get_provisioned_concurrency_config(
        self, context: RequestContext, request: shapes.GetProvisionedConcurrencyConfigRequest
    ) -> shapes.GetProvisionedConcurrencyConfigResponse:
        """What was asked for, and what became of it."""
        identity = _published(context, request["FunctionName"], request["Qualifier"])
        config = self._require_target(identity).provisioned.get(identity.qualifier or "")
        if config is None:
            raise ProvisionedConcurrencyConfigNotFoundException(
                "No Provisioned Concurrency Config found for this function"
            )
        return cast("shapes.GetProvisionedConcurrencyConfigResponse", self._describe(config, identity.qualified_arn))

    def delete_provisioned_concurrency_config(
        self, context: RequestContext, request: shapes.DeleteProvisionedConcurrencyConfigRequest
    ) -> None:
        """End it; a version or alias without any is not an error."""
        identity = _published(context, request["FunctionName"], request["Qualifier"])
        self._require_target(identity)
        with self.store.function(identity) as function:
            if identity.qualifier in function.function.provisioned:
                function.detach("provisioned", identity.qualifier)

    def list_provisioned_concurrency_configs(
        self, context: RequestContext, request: shapes.ListProvisionedConcurrencyConfigsRequest
    ) -> shapes.ListProvisionedConcurrencyConfigsResponse:
        """The provisioned concurrency of all versions and aliases of a function."""
        function = self.store.get(resolve(context, request["FunctionName"]).unqualified())

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            for qualifier, config in sorted(function.provisioned.items()):
                if position is None or qualifier > position:
                    arn = function.qualified_arn(qualifier)
                    yield qualifier, {"FunctionArn": arn, **self._describe(config, arn)}

        items, more = page(request, f"provisioned-concurrency/{function.arn}", items_after)
        return cast(
            "shapes.ListProvisionedConcurrencyConfigsResponse", {"ProvisionedConcurrencyConfigs": items, **more}
        )

    def _require_target(self, identity: FunctionId) -> Function:
        """The function, if it has such a version or alias."""
        function = self.store.find(identity.account_id, identity.region, identity.name)
        if function is None or function.find(identity.qualifier) is None:
            raise identity.alias_not_found()
        return function

    @staticmethod
    def _require_shared(function: Function) -> None:
        """Raise for what isolates tenants, or runs on managed instances, which keep environments of their own.

        Developer Guide, "Tenant isolation", limitations, and "Lambda Managed Instances".
        """
        if function.latest.configuration.tenant_isolated:
            raise InvalidParameterValueException(
                "Provisioned concurrency is not supported for functions with tenant isolation enabled."
            )
        if function.latest.configuration.capacity_provider_arn is not None:
            raise InvalidParameterValueException(
                "Provisioned concurrency is not supported for functions with a capacity provider."
            )

    def _require_capacity(self, function: FunctionEditor, qualifier: str, requested: int) -> None:
        """Raise InvalidParameterValueException unless the function's reserve, or else the account, has so much left."""
        settings = function.function.settings
        others = provisioned(function.function, but=qualifier)
        if settings.reserved_concurrency is not None:
            if others + requested > settings.reserved_concurrency:
                raise InvalidParameterValueException(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
                )
            return
        own = claimed(function.function) - others
        unreserved = self.capacity.unreserved(settings.account_id, settings.region) + own
        if requested > unreserved:
            raise InvalidParameterValueException(
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
                f"[{unreserved}].",
                Type=None,
            )
        minimum = self.config.minimum_unreserved_concurrency
        if requested > own and unreserved - requested < minimum:
            raise InvalidParameterValueException(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{minimum}].",
                Type=None,
            )

    def _describe(self, config: ProvisionedConcurrency, arn: str) -> dict[str, Any]:
        status = self.capacity.status(arn)
        return present(
            RequestedProvisionedConcurrentExecutions=config.requested,
            AvailableProvisionedConcurrentExecutions=status.available,
            AllocatedProvisionedConcurrentExecutions=status.allocated,
            Status=status.state.value,
            StatusReason=status.reason,
            LastModified=config.last_modified,
        )


def require_free(function: Function, alias: str, versions: Iterable[str]) -> None:
    """Raise unless an alias with provisioned concurrency may point at these versions.

    Recorded for PutProvisionedConcurrencyConfig (test_lambda_provisioned_lifecycle); what is provisioned belongs to one
    qualifier, so it holds for an alias that moves, too.
    """
    taken = set(function.provisioned)
    for name in function.provisioned.keys() & function.aliases.keys() - {alias}:
        taken |= {function.aliases[name].version, *function.aliases[name].weights}
    for number in versions:
        if number == LATEST:
            raise InvalidParameterValueException(_UNPUBLISHED)
        if number in taken:
            raise ResourceConflictException(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
        if (version := function.version(number)) is not None:
            _refuse_snap_start(version)


def _refuse_snap_start(version: Version) -> None:
    if version.snap_start:
        # Developer Guide, "SnapStart", supported features and limitations; the words are ours.
        raise InvalidParameterValueException("Provisioned Concurrency is not supported for functions with SnapStart.")


def _provisionable(function: FunctionEditor, qualifier: str) -> str:
    """The version that a qualifier means, or AWS's error if nothing can be provisioned on it."""
    value = function.function
    alias = value.aliases.get(qualifier)
    number = qualifier if alias is None else alias.version
    if alias is None:
        if any(value.aliases[name].refers_to(number) for name in value.provisioned if name in value.aliases):
            raise ResourceConflictException("Version is pointed by a Provisioned Concurrency alias")
    else:
        require_free(value, qualifier, [number])
        if alias.weights:
            # The words: https://github.com/hashicorp/terraform/issues/24957.
            raise InvalidParameterValueException("Alias with weights can not be used with Provisioned Concurrency")
    _refuse_snap_start(function.require_version(number))
    return number


def _published(context: RequestContext, name: str, qualifier: str) -> FunctionId:
    identity = resolve(context, name, qualifier)
    if identity.qualifier in (None, LATEST):
        raise InvalidParameterValueException("The function resource provided must be an alias or a published version.")
    return identity
