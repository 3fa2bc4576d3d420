"""UpdateFunctionCode and UpdateFunctionConfiguration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lambda_provider.context import RequestContext
from lambda_provider.operations.code import require_matching_source
from lambda_provider.operations.feature_rules import check_immutable
from lambda_provider.operations.functions import FunctionOperations, answer
from lambda_provider.validation.names import Qualified, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes


class UpdateOperations(FunctionOperations):
    """Changes to `$LATEST`. Each one, equal to what was there or not, makes it InProgress until it is prepared."""

    def update_function_code(
        self, context: RequestContext, request: shapes.UpdateFunctionCodeRequest
    ) -> shapes.FunctionConfiguration:
        """Give a function new code.

        With DryRun the answer is what it would be, and nothing changes. With Publish the answer is the new version, with its
        qualified ARN, and Pending (recorded: test_publish_with_update).
        """
        identity = resolve(context, request["FunctionName"], allow=Qualified.LATEST_ONLY)
        package_type = self.store.get(identity).latest.configuration.package_type
        require_matching_source(package_type, request)
        with (
            self.accepted_code(context, package_type, request, identity.arn) as code,
            self.store.function(identity) as function,
        ):
            function.require_revision(function.latest, request.get("RevisionId"))
            function.require_settled()
            old = function.latest.configuration
            self.require_code_storage(context, max(0, code.stored_size - old.code.stored_size))
            architecture = request.get("Architectures", [old.architecture])[0]
            self.require_unzipped_size(code, old.layers)
            signing = function.function.settings.code_signing_config_arn
            code = self.trusted(context, signing, identity.name, code)
            configuration = replace(old, code=code, architecture=architecture)
            if request.get("DryRun"):
                would_be = replace(function.latest, configuration=configuration)
                return answer(would_be.describe(function.function, function.arn))
            latest = function.update_latest(configuration)
            published = function.publish() if request.get("Publish") else None
            changed = [latest] if published is None or published.status.settled else [latest, published]
            self.deploy_on_commit(function, *changed)
        if published is not None:
            return answer(published.describe(function.function, f"{function.arn}:{published.number}"))
        return answer(latest.describe(function.function, function.arn))

    def update_function_configuration(
        self, context: RequestContext, request: shapes.UpdateFunctionConfigurationRequest
    ) -> shapes.FunctionConfiguration:
        """Change the configuration of a function; members that are not sent keep their values."""
        identity = resolve(context, request["FunctionName"], allow=Qualified.LATEST_ONLY)
        with self.store.function(identity) as function:
            function.require_revision(function.latest, request.get("RevisionId"))
            function.require_settled()
            check_immutable(function.latest.configuration, request)
            configuration = self.configured(context, function.latest.configuration, request)
            if "Layers" in request:
                signing = function.function.settings.code_signing_config_arn
                self.require_trusted_layers(context, signing, identity.name, configuration.layers)
            latest = function.update_latest(configuration)
            self.deploy_on_commit(function, latest)
        return answer(latest.describe(function.function, function.arn))
