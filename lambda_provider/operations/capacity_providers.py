"""Capacity providers: the instances that functions on Lambda managed instances run on, as resources.

AWS Lambda Developer Guide, "Lambda Managed Instances", and the API reference; the one recorded message is that of a provider
that is not found (TestLambdaTag::test_tag_exceptions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.api import (
    CapacityProviderLimitExceededException,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.capacity_provider import CapacityProvider
from lambda_provider.model.function import LATEST, Function, Version
from lambda_provider.operations.network import Networks
from lambda_provider.operations.tagging import check_keys, check_tags
from lambda_provider.store.editor import now
from lambda_provider.store.paging import page
from lambda_provider.validation.arns import capacity_provider_arn

if TYPE_CHECKING:
    from lambda_provider.api import shapes

MAX_PROVIDERS = 1000
_DEFAULT_SCALING = {"MaxVCpuCount": 400, "ScalingMode": "Auto"}
_DEFAULT_REQUIREMENTS = {"Architectures": ["x86_64"]}


class CapacityProviderOperations(Networks):
    """The capacity providers of an account in a region."""

    def create_capacity_provider(
        self, context: RequestContext, request: shapes.CreateCapacityProviderRequest
    ) -> shapes.CreateCapacityProviderResponse:
        """Make a capacity provider; the answer says Pending, and whoever looks next finds it Active."""
        name = request["CapacityProviderName"].rpartition(":")[2]
        arn = _arn(context, request["CapacityProviderName"])
        if arn != capacity_provider_arn(context.account_id, context.region, name):
            raise InvalidParameterValueException(f"The capacity provider ARN {arn} is not of this account and region.")
        tags = request.get("Tags", {})
        check_tags(tags, self.config.resource_tags)
        requirements = {**_DEFAULT_REQUIREMENTS, **request.get("InstanceRequirements", {})}
        _check_requirements(requirements)
        scaling = _scaling(_DEFAULT_SCALING, request)
        _check_propagation(request)
        vpc: Any = request["VpcConfig"]
        self.vpc_of(context, vpc["SubnetIds"], vpc["SecurityGroupIds"], groups_optional=True)
        with self.store.capacity_providers.changing(context.account_id, context.region) as providers:
            if providers.get(name) is not None:
                raise ResourceConflictException(f"Capacity provider already exists: {arn}")
            if len(providers.values) >= MAX_PROVIDERS:
                raise CapacityProviderLimitExceededException(
                    "The maximum number of capacity providers for your account has been exceeded."
                )
            provider = providers.put(
                CapacityProvider(
                    account_id=context.account_id,
                    region=context.region,
                    name=name,
                    sequence=providers.next_sequence,
                    last_modified=now(),
                    vpc=vpc,
                    operator_role_arn=request["PermissionsConfig"]["CapacityProviderOperatorRoleArn"],
                    requirements=requirements,
                    scaling=scaling,
                    kms_key_arn=request.get("KmsKeyArn"),
                    propagate_tags=request.get("PropagateTags"),
                    telemetry=request.get("TelemetryConfig"),
                    tags=tags,
                )
            )
        return cast("shapes.CreateCapacityProviderResponse", {"CapacityProvider": provider.describe("Pending")})

    def get_capacity_provider(
        self, context: RequestContext, request: shapes.GetCapacityProviderRequest
    ) -> shapes.GetCapacityProviderResponse:
        """One capacity provider, by name or ARN."""
        provider = self._capacity_provider(context, request["CapacityProviderName"])
        return cast("shapes.GetCapacityProviderResponse", {"CapacityProvider": provider.describe()})

    def update_capacity_provider(
        self, context: RequestContext, request: shapes.UpdateCapacityProviderRequest
    ) -> shapes.UpdateCapacityProviderResponse:
        """Change how a provider scales, tags and logs; members that are not sent keep their values."""
        with self.store.capacity_providers.changing(context.account_id, context.region) as providers:
            old = self._capacity_provider(context, request["CapacityProviderName"])
            _check_propagation(request)
            provider = providers.put(
                replace(
                    old,
                    scaling=_scaling(old.scaling, request),
                    propagate_tags=request.get("PropagateTags", old.propagate_tags),
                    telemetry=request.get("TelemetryConfig", old.telemetry),
                    last_modified=now(),
                )
            )
        return cast("shapes.UpdateCapacityProviderResponse", {"CapacityProvider": provider.describe()})

    def delete_capacity_provider(
        self, context: RequestContext, request: shapes.DeleteCapacityProviderRequest
    ) -> shapes.DeleteCapacityProviderResponse:
        """Delete a provider that no function uses. The answer says Deleting, and it is gone."""
        with self.store.capacity_providers.changing(context.account_id, context.region) as providers:
            provider = self._capacity_provider(context, request["CapacityProviderName"])
            if next(self._versions_on(provider, -1), None) is not None:
                raise ResourceConflictException(
                    f"Capacity provider is in use by one or more function versions: {provider.arn}"
                )
            providers.remove(provider.name)
        return cast("shapes.DeleteCapacityProviderResponse", {"CapacityProvider": provider.describe("Deleting")})

    def list_capacity_providers(
        self, context: RequestContext, request: shapes.ListCapacityProvidersRequest
    ) -> shapes.ListCapacityProvidersResponse:
        """The providers of the account in the region, oldest first, all or those in one state."""
        state = request.get("State")

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            for provider in self.store.capacity_providers.values(context.account_id, context.region):
                described = provider.describe()
                if (position is None or provider.sequence > position) and state in (None, described["State"]):
                    yield provider.sequence, described

        items, more = page(request, f"capacity-providers/{state}", items_after)
        return cast("shapes.ListCapacityProvidersResponse", {"CapacityProviders": items, **more})

    def list_function_versions_by_capacity_provider(
        self, context: RequestContext, request: shapes.ListFunctionVersionsByCapacityProviderRequest
    ) -> shapes.ListFunctionVersionsByCapacityProviderResponse:
        """The function versions that use a provider, function by function."""
        provider = self._capacity_provider(context, request["CapacityProviderName"])

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            sequence, number = position or (-1, "")
            for function, version in self._versions_on(provider, sequence - 1):
                here = function.settings.sequence
                if here == sequence and _order(version.number) <= _order(number):
                    continue
                yield (
                    (here, version.number),
                    {"FunctionArn": f"{function.arn}:{version.number}", "State": function.state_of(version)},
                )

        items, more = page(request, f"versions-by/{provider.arn}", items_after)
        return cast(
            "shapes.ListFunctionVersionsByCapacityProviderResponse",
            {"CapacityProviderArn": provider.arn, "FunctionVersions": items, **more},
        )

    def _capacity_provider(self, context: RequestContext, name_or_arn: str) -> CapacityProvider:
        arn = _arn(context, name_or_arn)
        name = arn.rpartition(":")[2]
        provider = self.store.capacity_providers.get(context.account_id, context.region, name)
        if provider is None or provider.arn != arn:
            raise ResourceNotFoundException(f"Capacity provider not found: {arn}")
        return provider

    def _versions_on(self, provider: CapacityProvider, after: int) -> Iterator[tuple[Function, Version]]:
        for function in self.store.functions(provider.account_id, provider.region, after):
            for version in function.all_versions():
                if version.configuration.capacity_provider_arn == provider.arn:
                    yield function, version


def _arn(context: RequestContext, name_or_arn: str) -> str:
    if ":" in name_or_arn:
        return name_or_arn
    return capacity_provider_arn(context.account_id, context.region, name_or_arn)


def _order(number: str) -> int:
    return 0 if number == LATEST else int(number or -1)


def _scaling(base: Mapping[str, Any], request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A scaling configuration with the members of a request; policies belong to the mode Manual."""
    scaling = {**base, **request.get("CapacityProviderScalingConfig", {})}
    if scaling.get("ScalingMode") == "Auto" and "ScalingPolicies" in scaling:
        if "ScalingPolicies" in request.get("CapacityProviderScalingConfig", {}):
            raise InvalidParameterValueException("ScalingPolicies are supported only when ScalingMode is Manual.")
        del scaling["ScalingPolicies"]
    if scaling.get("ScalingMode") == "Manual" and not scaling.get("ScalingPolicies"):
        raise InvalidParameterValueException("ScalingPolicies are required when ScalingMode is Manual.")
    return scaling


def _check_requirements(requirements: Mapping[str, Any]) -> None:
    """Allowed and excluded instance types exclude each other (Developer Guide, "Capacity providers")."""
    if requirements.get("AllowedInstanceTypes") and requirements.get("ExcludedInstanceTypes"):
        raise InvalidParameterValueException(
            "You can specify either AllowedInstanceTypes or ExcludedInstanceTypes, but not both."
        )


def _check_propagation(request: Mapping[str, Any]) -> None:
    propagation = request.get("PropagateTags", {})
    tags = propagation.get("ExplicitTags") or {}
    check_keys(tags)
    if tags and propagation.get("Mode") != "Explicit":
        raise InvalidParameterValueException("ExplicitTags are supported only when Mode is Explicit.")
    if propagation.get("Mode") == "Explicit" and not tags:
        raise InvalidParameterValueException("ExplicitTags are required when Mode is Explicit.")
