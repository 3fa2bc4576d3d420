"""When the runtime of a version is updated."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.context import RequestContext
from lambda_provider.model.function import LATEST, Function, Version
from lambda_provider.model.runtime_management import RuntimeManagement
from lambda_provider.operations.functions import FunctionOperations
from lambda_provider.validation.names import FunctionId, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes


class RuntimeManagementOperations(FunctionOperations):
    """Runtime management of `$LATEST` and of published versions, each on its own (API reference)."""

    def get_runtime_management_config(
        self, context: RequestContext, request: shapes.GetRuntimeManagementConfigRequest
    ) -> shapes.GetRuntimeManagementConfigResponse:
        """The configuration of a version; Auto if nothing was configured."""
        identity = resolve(context, request["FunctionName"], request.get("Qualifier"))
        version = _version(self.store.get(identity), identity)
        managed = self.store.get(identity).runtime_management.get(version.number, RuntimeManagement())
        return cast("shapes.GetRuntimeManagementConfigResponse", managed.describe(identity.or_latest().qualified_arn))

    def put_runtime_management_config(
        self, context: RequestContext, request: shapes.PutRuntimeManagementConfigRequest
    ) -> shapes.PutRuntimeManagementConfigResponse:
        """Choose when the runtime is updated, and with Manual which version of it runs.

        There is one build of each runtime here, so a version that was chosen shows in RuntimeVersionConfig and in INIT_START
        lines, and changes nothing else.
        """
        identity = resolve(context, request["FunctionName"], request.get("Qualifier"))
        mode, runtime_version_arn = request["UpdateRuntimeOn"], request.get("RuntimeVersionArn")
        with self.store.function(identity) as function:
            version = _version(function.function, identity)
            if version.configuration.package_type == "Image":
                raise InvalidParameterValueException(
                    "Runtime management configuration is not supported for functions with package type Image."
                )
            if (mode == "Manual") != (runtime_version_arn is not None):
                raise InvalidParameterValueException(
                    "RuntimeVersionArn is required when UpdateRuntimeOn is Manual."
                    if mode == "Manual"
                    else f"RuntimeVersionArn is not supported when UpdateRuntimeOn is {mode}."
                )
            managed = RuntimeManagement(update_runtime_on=mode, runtime_version_arn=runtime_version_arn)
            function.attach("runtime_management", version.number, managed)
            self.deploy_on_commit(function, version)
        return cast("shapes.PutRuntimeManagementConfigResponse", managed.describe(identity.or_latest().qualified_arn))


def _version(function: Function, identity: FunctionId) -> Version:
    """The version that is meant: aliases have no runtime of their own ("$LATEST or a published version number")."""
    version = function.version(identity.qualifier or LATEST)
    if version is None:
        raise identity.not_found()
    return version
