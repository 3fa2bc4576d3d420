"""CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions and DeleteFunction."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.api import (
    InvalidParameterValueException,
    ResourceConflictException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.function import LATEST, Function, FunctionSettings, Version
from lambda_provider.operations.code import CodeIntake
from lambda_provider.operations.code_trust import CodeTrust
from lambda_provider.operations.configuration import ConfigurationRules, require_zip_members
from lambda_provider.operations.tagging import check_tags
from lambda_provider.store.editor import FunctionEditor
from lambda_provider.store.paging import page
from lambda_provider.validation.names import resolve, resolve_new

if TYPE_CHECKING:
    from lambda_provider.api import shapes


class FunctionOperations(CodeIntake, CodeTrust, ConfigurationRules):
    """The life of a function."""

    def create_function(
        self, context: RequestContext, request: shapes.CreateFunctionRequest
    ) -> shapes.FunctionConfiguration:
        """Create a function; it is Pending until it is prepared.

        With Publish the answer is `$LATEST` with the number of the version (recorded: test_list_functions).
        """
        identity = resolve_new(context, request["FunctionName"])
        require_zip_members(request)
        tags = request.get("Tags", {})
        check_tags(tags, self.config.resource_tags)
        settings = FunctionSettings(
            name=identity.name,
            account_id=identity.account_id,
            region=identity.region,
            tags=tags,
            code_signing_config_arn=request.get("CodeSigningConfigArn") or None,
        )
        if self.store.find(identity.account_id, identity.region, identity.name) is not None:
            raise ResourceConflictException(f"Function already exist: {identity.name}")
        package_type = request.get("PackageType", "Zip")
        if signing := settings.code_signing_config_arn:
            self.require_code_signing_config(context, signing, package_type)
        with self.accepted_code(context, package_type, request["Code"], identity.arn) as code:
            self.require_code_storage(context, code.stored_size)
            code = self.trusted(context, signing, identity.name, code)
            configuration = self.new_configuration(context, identity.name, code, request)
            self.require_trusted_layers(context, signing, identity.name, configuration.layers)
            with self.store.new_function(FunctionEditor.new(settings, configuration)) as function:
                number = function.publish().number if request.get("Publish") else LATEST
                self.deploy_on_commit(function, *function.function.all_versions())
        return answer(function.latest.describe(function.function, function.arn) | {"Version": number})

    def get_function(self, context: RequestContext, request: shapes.GetFunctionRequest) -> shapes.GetFunctionResponse:
        """A function's configuration, where its code can be downloaded, and its tags and reserved concurrency.

        A client that names no qualifier may be a waiter, so what is prepared is finished before the answer. With a
        qualifier the state is shown as it is (recorded: test_publish_with_update).
        """
        identity = resolve(context, request["FunctionName"], request.get("Qualifier"))
        look_up = self.look_up_settled if identity.qualifier is None else self.look_up
        function, version = look_up(identity)
        response: shapes.GetFunctionResponse = {
            "Configuration": answer(version.describe(function, function.qualified_arn(identity.qualifier))),
            "Code": self._code_location(context, function, version),
        }
        if function.settings.tags:
            response["Tags"] = dict(function.settings.tags)
        if function.settings.reserved_concurrency is not None:
            response["Concurrency"] = {"ReservedConcurrentExecutions": function.settings.reserved_concurrency}
        return response

    def get_function_configuration(
        self, context: RequestContext, request: shapes.GetFunctionConfigurationRequest
    ) -> shapes.FunctionConfiguration:
        """The configuration of a version; the wait for it is over when this is asked (waiters poll every 5 s)."""
        identity = resolve(context, request["FunctionName"], request.get("Qualifier"))
        function, version = self.look_up_settled(identity)
        return answer(version.describe(function, function.qualified_arn(identity.qualifier)))

    def list_functions(
        self, context: RequestContext, request: shapes.ListFunctionsRequest
    ) -> shapes.ListFunctionsResponse:
        """The functions of the account in the region, with ALL also their versions, oldest first.

        At most 50 items in a page, whatever MaxItems says (API reference).
        """
        with_versions = request.get("FunctionVersion") == "ALL"

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            sequence, number = position or (-1, LATEST)
            # The function that the page ended with may have versions that did not fit.
            first = sequence - 1 if with_versions else sequence
            for function in self.store.functions(context.account_id, context.region, first):
                here = function.settings.sequence
                if not with_versions:
                    yield (here, LATEST), function.latest.describe_in_list(function, function.arn)
                    continue
                behind = number if here == sequence else None
                yield from (((here, found), item) for found, item in versions_behind(function, behind))

        items, more = page(request, f"functions/{with_versions}", items_after)
        return cast("shapes.ListFunctionsResponse", {"Functions": items, **more})

    def delete_function(
        self, context: RequestContext, request: shapes.DeleteFunctionRequest
    ) -> shapes.DeleteFunctionResponse:
        """Delete a function, or one of its versions; a version that does not exist is not an error."""
        identity = resolve(context, request["FunctionName"], request.get("Qualifier"))
        number = identity.qualifier
        if number == LATEST:
            # Before the look-up (recorded: test_ops_with_arn_qualifier_mismatch).
            raise InvalidParameterValueException("$LATEST version cannot be deleted without deleting the function.")
        if number is None:
            deleted = self.store.delete(identity)
            self.transitions.retire(deleted, [version.number for version in deleted.all_versions()])
            return {"StatusCode": 204}
        with self.store.function(identity) as function:
            if not number.isdecimal():
                raise InvalidParameterValueException("Deletion of aliases is not currently supported.")
            function.require_unreferenced(number)
            function.remove_version(number)
        self.transitions.retire(function.function, [number])
        return {"StatusCode": 204}

    def deploy_on_commit(self, editor: FunctionEditor, *versions: Version) -> None:
        """Have versions prepared as soon as the unit of work is durable."""
        for version in versions:
            editor.committing.append(partial(self.transitions.begin, version=version))

    def _code_location(
        self, context: RequestContext, function: Function, version: Version
    ) -> shapes.FunctionCodeLocation:
        code = version.configuration.code
        if code.image_uri is not None and code.resolved_image_uri is not None:
            return {
                "RepositoryType": "ECR",
                "ImageUri": code.image_uri,
                "ResolvedImageUri": code.resolved_image_uri,
            }
        if code.folder is not None:
            return {"RepositoryType": "S3", "Location": Path(code.folder).as_uri()}
        location: shapes.FunctionCodeLocation = {
            "RepositoryType": "S3",
            "Location": self.code_locations.make(
                context.endpoint_url or self.host.function_endpoint_url() or "",
                account_id=function.account_id,
                region=function.region,
                name=function.name,
                sha256=code.sha256,
            ),
        }
        if code.source_kms_key_arn:
            location["SourceKMSKeyArn"] = code.source_kms_key_arn
        if code.s3_object:
            location["ResolvedS3Object"] = cast("shapes.ResolvedS3Object", code.s3_object.describe())
        return location


def versions_behind(function: Function, number: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The versions of a function as lists have them, with qualified ARNs: those behind a number, or for None all."""
    for version in function.all_versions():
        if number is None or _position(version.number) > _position(number):
            yield version.number, version.describe_in_list(function, f"{function.arn}:{version.number}")


def answer(members: dict[str, Any]) -> shapes.FunctionConfiguration:
    """A described version in the shape that the API declares."""
    return cast("shapes.FunctionConfiguration", members)


def _position(number: str) -> int:
    return 0 if number == LATEST else int(number)
