"""Code signing configurations, and what they let pass. Rules and words: TestCodeSigningConfig in the recordings."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.api import (
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.code_signing import WARN, CodeSigningConfig
from lambda_provider.operations.code_trust import CodeTrust
from lambda_provider.operations.tagging import check_tags
from lambda_provider.store.editor import now
from lambda_provider.store.paging import page
from lambda_provider.validation.names import Qualified, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

_ALPHABET = string.ascii_lowercase + string.digits
_LARGEST_PAGE = 10_000


class CodeSigningOperations(CodeTrust):
    """The code signing configurations of an account in a region, and which functions have them."""

    def create_code_signing_config(
        self, context: RequestContext, request: shapes.CreateCodeSigningConfigRequest
    ) -> shapes.CreateCodeSigningConfigResponse:
        """Make a configuration; the policy is Warn if nothing is said."""
        tags = request.get("Tags", {})
        check_tags(tags, self.config.resource_tags)
        with self.store.code_signing_configs.changing(context.account_id, context.region) as configs:
            config = configs.put(
                CodeSigningConfig(
                    account_id=context.account_id,
                    region=context.region,
                    name="csc-" + "".join(secrets.choice(_ALPHABET) for _ in range(17)),
                    sequence=configs.next_sequence,
                    publishers=tuple(request["AllowedPublishers"]["SigningProfileVersionArns"]),
                    policy=request.get("CodeSigningPolicies", {}).get("UntrustedArtifactOnDeployment", WARN),
                    description=request.get("Description"),
                    last_modified=now(),
                    tags=tags,
                )
            )
        return cast("shapes.CreateCodeSigningConfigResponse", {"CodeSigningConfig": config.describe()})

    def get_code_signing_config(
        self, context: RequestContext, request: shapes.GetCodeSigningConfigRequest
    ) -> shapes.GetCodeSigningConfigResponse:
        """One configuration."""
        config = self._code_signing_config(context, request["CodeSigningConfigArn"])
        return cast("shapes.GetCodeSigningConfigResponse", {"CodeSigningConfig": config.describe()})

    def update_code_signing_config(
        self, context: RequestContext, request: shapes.UpdateCodeSigningConfigRequest
    ) -> shapes.UpdateCodeSigningConfigResponse:
        """Change a configuration; members that are not sent keep their values. Deployed code stays where it is."""
        with self.store.code_signing_configs.changing(context.account_id, context.region) as configs:
            config = self._code_signing_config(context, request["CodeSigningConfigArn"])
            changes: dict[str, Any] = {}
            if "Description" in request:
                changes["description"] = request["Description"]
            if "AllowedPublishers" in request:
                changes["publishers"] = tuple(request["AllowedPublishers"]["SigningProfileVersionArns"])
            if policy := request.get("CodeSigningPolicies", {}).get("UntrustedArtifactOnDeployment"):
                changes["policy"] = policy
            if changes:
                config = configs.put(replace(config, last_modified=now(), **changes))
        return cast("shapes.UpdateCodeSigningConfigResponse", {"CodeSigningConfig": config.describe()})

    def delete_code_signing_config(
        self, context: RequestContext, request: shapes.DeleteCodeSigningConfigRequest
    ) -> shapes.DeleteCodeSigningConfigResponse:
        """Delete a configuration that no function has."""
        with self.store.code_signing_configs.changing(context.account_id, context.region) as configs:
            config = self._code_signing_config(context, request["CodeSigningConfigArn"])
            if next(self._functions_with(config, -1), None) is not None:
                raise ResourceConflictException(
                    f"The Lambda code signing configuration {config.arn} is in use by one or more functions.", Type=None
                )
            configs.remove(config.name)
        return {}

    def list_code_signing_configs(
        self, context: RequestContext, request: shapes.ListCodeSigningConfigsRequest
    ) -> shapes.ListCodeSigningConfigsResponse:
        """All configurations of the account in the region, oldest first."""

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            for config in self.store.code_signing_configs.values(context.account_id, context.region):
                if position is None or config.sequence > position:
                    yield config.sequence, config.describe()

        items, more = page(request, "code-signing-configs", items_after, largest=_LARGEST_PAGE)
        return cast("shapes.ListCodeSigningConfigsResponse", {"CodeSigningConfigs": items, **more})

    def put_function_code_signing_config(
        self, context: RequestContext, request: shapes.PutFunctionCodeSigningConfigRequest
    ) -> shapes.PutFunctionCodeSigningConfigResponse:
        """Have a function take code by a configuration, from the next deployment on.

        The configuration is looked for before the function (recorded: put_function_csc_invalid_both).
        """
        identity = resolve(context, request["FunctionName"], allow=Qualified.NONE)
        # Within the lock of the configurations, so that this one is not deleted meanwhile.
        with self.store.code_signing_configs.changing(context.account_id, context.region):
            function_now = self.store.find(identity.account_id, identity.region, identity.name)
            package_type = function_now.latest.configuration.package_type if function_now is not None else "Zip"
            config = self.require_code_signing_config(context, request["CodeSigningConfigArn"], package_type)
            with self.store.function(identity) as function:
                function.change_settings(code_signing_config_arn=config.arn)
        return {"CodeSigningConfigArn": config.arn, "FunctionName": identity.name}

    def get_function_code_signing_config(
        self, context: RequestContext, request: shapes.GetFunctionCodeSigningConfigRequest
    ) -> shapes.GetFunctionCodeSigningConfigResponse:
        """The configuration of a function; the answer is empty if it has none."""
        function = self.store.get(resolve(context, request["FunctionName"], allow=Qualified.NONE))
        arn = function.settings.code_signing_config_arn
        members = {"CodeSigningConfigArn": arn, "FunctionName": function.name} if arn is not None else {}
        return cast("shapes.GetFunctionCodeSigningConfigResponse", members)

    def delete_function_code_signing_config(
        self, context: RequestContext, request: shapes.DeleteFunctionCodeSigningConfigRequest
    ) -> None:
        """Let a function take any code; nothing to take away is not an error."""
        with self.store.function(resolve(context, request["FunctionName"], allow=Qualified.NONE)) as function:
            if function.function.settings.code_signing_config_arn is not None:
                function.change_settings(code_signing_config_arn=None)

    def list_functions_by_code_signing_config(
        self, context: RequestContext, request: shapes.ListFunctionsByCodeSigningConfigRequest
    ) -> shapes.ListFunctionsByCodeSigningConfigResponse:
        """The ARNs of the functions that have a configuration, oldest first."""
        config = self._code_signing_config(context, request["CodeSigningConfigArn"])

        def items_after(position: Any) -> Iterator[tuple[Any, str]]:
            yield from self._functions_with(config, -1 if position is None else position)

        items, more = page(request, f"functions-by/{config.arn}", items_after, largest=_LARGEST_PAGE)
        return cast("shapes.ListFunctionsByCodeSigningConfigResponse", {"FunctionArns": items, **more})

    def _code_signing_config(self, context: RequestContext, arn: str) -> CodeSigningConfig:
        config = self.find_code_signing_config(context, arn)
        if config is None:
            raise ResourceNotFoundException(f"The Lambda code signing configuration {arn} can not be found.", Type=None)
        return config

    def _functions_with(self, config: CodeSigningConfig, after: int) -> Iterator[tuple[int, str]]:
        for function in self.store.functions(config.account_id, config.region, after):
            if function.settings.code_signing_config_arn == config.arn:
                yield function.settings.sequence, function.arn
