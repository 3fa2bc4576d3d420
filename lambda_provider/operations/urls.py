"""Function URLs as resources. Rules and words: TestLambdaUrl in the recordings."""

from __future__ import annotations

import ipaddress
import re
import secrets
import string
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from lambda_provider.api import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.function import LATEST, Function
from lambda_provider.model.url import DEFAULT_INVOKE_MODE, FunctionUrl
from lambda_provider.operations.base import Operations
from lambda_provider.store.editor import now
from lambda_provider.store.paging import page
from lambda_provider.urls.addresses import PATH_PREFIX
from lambda_provider.validation.names import FunctionId, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

ID_LENGTH = 32
CUSTOM_ID_TAG = "_custom_id_"
"""The tag by which users of other emulators choose the id of a function's URL."""

_ALPHABET = string.ascii_lowercase + string.digits
_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# What the console and the CloudFormation reference of AWS::Lambda::Url allow; the API's model has no list.
_METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "*")


class UrlOperations(Operations):
    """The URLs of a function: one of its own, and one for each alias."""

    def create_function_url_config(
        self, context: RequestContext, request: shapes.CreateFunctionUrlConfigRequest
    ) -> shapes.CreateFunctionUrlConfigResponse:
        """Give a function or an alias its URL."""
        identity = _identity(context, request)
        _check_cors(request.get("Cors", {}))
        created_at = now()
        url = FunctionUrl(
            url_id=_new_id(),
            auth_type=request["AuthType"],
            created_at=created_at,
            last_modified=created_at,
            cors=request.get("Cors"),
            invoke_mode=request.get("InvokeMode"),
        )
        if self.store.find(identity.account_id, identity.region, identity.name) is None:
            raise _no_function()
        with self.store.function(identity) as function:
            qualifier = identity.qualifier
            if qualifier is not None and qualifier not in function.function.aliases:
                raise _no_function()
            if (qualifier or LATEST) in function.function.urls:
                raise ResourceConflictException(
                    f"Failed to create function url config for [functionArn = {identity.qualified_arn}]. "
                    "Error message:  FunctionUrlConfig exists for this Lambda function"
                )
            if function.latest.configuration.tenant_isolated:
                raise InvalidParameterValueException(
                    "Function URLs are not supported for functions with tenant isolation enabled."
                )
            if custom := self._custom_url_id(function.function, qualifier):
                url = replace(url, url_id=custom)
            function.attach("urls", qualifier or LATEST, url)
        members = self._url_members(context, function.function, qualifier or LATEST)
        del members["LastModifiedTime"]
        return cast("shapes.CreateFunctionUrlConfigResponse", members)

    def get_function_url_config(
        self, context: RequestContext, request: shapes.GetFunctionUrlConfigRequest
    ) -> shapes.GetFunctionUrlConfigResponse:
        """The URL of a function or an alias, even of one that is deleted."""
        identity = _identity(context, request)
        function = self.store.find(identity.account_id, identity.region, identity.name)
        if function is None or (identity.qualifier or LATEST) not in function.urls:
            raise _no_url()
        members = self._url_read(context, function, identity.qualifier or LATEST)
        return cast("shapes.GetFunctionUrlConfigResponse", members)

    def update_function_url_config(
        self, context: RequestContext, request: shapes.UpdateFunctionUrlConfigRequest
    ) -> shapes.UpdateFunctionUrlConfigResponse:
        """Change a URL; members that are not sent keep their values."""
        identity = _identity(context, request)
        _check_cors(request.get("Cors", {}))
        key = identity.qualifier or LATEST
        function = self.store.find(identity.account_id, identity.region, identity.name)
        if function is None or key not in function.urls:
            raise _no_url()
        with self.store.function(identity) as editor:
            old = editor.function.urls.get(key)
            if old is None:
                raise _no_url()
            url = replace(
                old,
                auth_type=request.get("AuthType", old.auth_type),
                cors=request.get("Cors", old.cors),
                invoke_mode=request.get("InvokeMode", old.invoke_mode),
                last_modified=now(),
            )
            editor.attach("urls", key, url)
        members = self._url_members(context, editor.function, key)
        return cast("shapes.UpdateFunctionUrlConfigResponse", members)

    def delete_function_url_config(
        self, context: RequestContext, request: shapes.DeleteFunctionUrlConfigRequest
    ) -> None:
        """Take a URL away; those of the function's other qualifiers stay."""
        identity = _identity(context, request)
        if self.store.find(identity.account_id, identity.region, identity.name) is None:
            raise _no_url()
        with self.store.function(identity) as function:
            if (identity.qualifier or LATEST) not in function.function.urls:
                raise _no_url()
            function.detach("urls", identity.qualifier or LATEST)

    def list_function_url_configs(
        self, context: RequestContext, request: shapes.ListFunctionUrlConfigsRequest
    ) -> shapes.ListFunctionUrlConfigsResponse:
        """All URLs of a function, its own first, then those of aliases by name."""
        identity = resolve(context, request["FunctionName"]).unqualified()
        function = self.store.find(identity.account_id, identity.region, identity.name)
        if function is None:
            raise _no_function()

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            # "$" sorts before every character of an alias.
            for qualifier in sorted(function.urls):
                if position is None or qualifier > position:
                    yield qualifier, self._url_read(context, function, qualifier)

        items, more = page(request, f"urls/{function.arn}", items_after)
        return cast("shapes.ListFunctionUrlConfigsResponse", {"FunctionUrlConfigs": items, **more})

    def _custom_url_id(self, function: Function, qualifier: str | None) -> str | None:
        custom = function.settings.tags.get(CUSTOM_ID_TAG)
        if custom is None:
            return None
        url_id = (custom if qualifier is None else f"{custom}-{qualifier}").lower()
        if not _HOST_LABEL.fullmatch(url_id) or self.store.url(url_id) is not None:
            return None
        return url_id

    def _url_read(self, context: RequestContext, function: Function, qualifier: str) -> dict[str, Any]:
        return {"InvokeMode": DEFAULT_INVOKE_MODE, **self._url_members(context, function, qualifier)}

    def _url_members(self, context: RequestContext, function: Function, qualifier: str) -> dict[str, Any]:
        url = function.urls[qualifier]
        endpoint = context.endpoint_url if self.host.function_endpoint_url() else None
        arn = function.qualified_arn(None if qualifier == LATEST else qualifier)
        return url.describe(url=url_of(url.url_id, function.region, endpoint), function_arn=arn)


def url_of(url_id: str, region: str, endpoint_url: str | None) -> str:
    """The address of a function URL: at the emulator's own endpoint if it has one, else in AWS's form.

    Every name under `localhost` is this machine (RFC 6761), so an endpoint that is an address or a bare name becomes that. An
    endpoint with a path is one of several at its host: only paths lead there.
    """
    if endpoint_url is None:
        return f"https://{url_id}.lambda-url.{region}.on.aws/"
    endpoint = urlsplit(endpoint_url)
    if endpoint.path not in ("", "/"):
        return f"{endpoint_url.rstrip('/')}{PATH_PREFIX}{url_id}/"
    host = endpoint.hostname or "localhost"
    if "." not in host or _is_address(host):
        host = "localhost"
    port = f":{endpoint.port}" if endpoint.port else ""
    return f"{endpoint.scheme}://{url_id}.lambda-url.{region}.{host}{port}/"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _new_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))


def _identity(context: RequestContext, request: Mapping[str, Any]) -> FunctionId:
    return resolve(context, request["FunctionName"], request.get("Qualifier"))


def _check_cors(cors: Mapping[str, Any]) -> None:
    if unknown := [method for method in cors.get("AllowMethods", ()) if method not in _METHODS]:
        raise InvalidParameterValueException(
            f"Cors AllowMethods contains an invalid method: {unknown[0]}. "
            "You can use GET, PUT, POST, DELETE, HEAD, PATCH, and the wildcard character (*)."
        )


def _no_function() -> ResourceNotFoundException:
    return ResourceNotFoundException("Function does not exist")


def _no_url() -> ResourceNotFoundException:
    """For a function that is not there, too (recorded: test_ops_on_nonexisting_fn[get_function_url_config])."""
    return ResourceNotFoundException("The resource you requested does not exist.")
