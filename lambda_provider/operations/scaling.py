"""How many environments a version on managed instances has: PutFunctionScalingConfig and GetFunctionScalingConfig.

AWS Lambda Developer Guide, "Scaling Lambda Managed Instances", and the API reference. Nothing of it is recorded; where words
are not AWS's, they follow those for related settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.context import RequestContext
from lambda_provider.model.concurrency import FunctionScaling
from lambda_provider.model.function import Function, Version
from lambda_provider.operations.base import Operations
from lambda_provider.validation.arns import LATEST_PUBLISHED
from lambda_provider.validation.names import FunctionId, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

_DEFAULT = FunctionScaling(minimum=3)
"""Lambda starts three environments before it calls a version active, one an availability zone."""


class ScalingOperations(Operations):
    """The bounds on the environments of versions whose function has a capacity provider."""

    def put_function_scaling_config(
        self, context: RequestContext, request: shapes.PutFunctionScalingConfigRequest
    ) -> shapes.PutFunctionScalingConfigResponse:
        """Set the bounds; a bound that is not sent is AWS's choice, and with none at all both are. 0 deactivates the version.

        They hold at once (`lambda_runtime.managed_instances`).
        """
        identity = resolve(context, request["FunctionName"], request["Qualifier"])
        member = request.get("FunctionScalingConfig", {})
        scaling = FunctionScaling(
            minimum=member.get("MinExecutionEnvironments"), maximum=member.get("MaxExecutionEnvironments")
        )
        with self.store.function(identity) as function:
            version = _managed_version(function.function, identity)
            if scaling.maximum is not None and (scaling.minimum or 0) > scaling.maximum:
                raise InvalidParameterValueException(
                    "MinExecutionEnvironments must be less than or equal to MaxExecutionEnvironments."
                )
            qualifier = identity.qualifier or LATEST_PUBLISHED
            if scaling == FunctionScaling():
                function.detach("scaling", qualifier)
            else:
                function.attach("scaling", qualifier, scaling)
        return {"FunctionState": function.function.state_of(version)}

    def get_function_scaling_config(
        self, context: RequestContext, request: shapes.GetFunctionScalingConfigRequest
    ) -> shapes.GetFunctionScalingConfigResponse:
        """The bounds that were asked for and, the same at once, those that hold."""
        identity = resolve(context, request["FunctionName"], request["Qualifier"])
        function = self.store.get(identity)
        _managed_version(function, identity)
        requested = function.scaling.get(identity.qualifier or LATEST_PUBLISHED)
        response: shapes.GetFunctionScalingConfigResponse = {
            "FunctionArn": identity.qualified_arn,
            "AppliedFunctionScalingConfig": _answer(requested or _DEFAULT),
        }
        if requested is not None:
            response["RequestedFunctionScalingConfig"] = _answer(requested)
        return response


def _managed_version(function: Function, identity: FunctionId) -> Version:
    """The version that a qualifier names; where nothing is published yet, the newest is the one that would be."""
    if identity.qualifier == LATEST_PUBLISHED:
        version: Version | None = next(reversed(function.versions.values()), function.latest)
    else:
        version = function.find(identity.qualifier)
    if version is None:
        raise identity.not_found()
    if version.configuration.capacity_provider_arn is None:
        raise InvalidParameterValueException("FunctionScalingConfig isn't supported for Lambda Default functions.")
    return version


def _answer(scaling: FunctionScaling) -> shapes.FunctionScalingConfig:
    return cast("shapes.FunctionScalingConfig", scaling.describe())
