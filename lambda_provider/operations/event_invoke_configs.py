"""How events are retried and where their records go. Rules and words: TestLambdaEventInvokeConfig in the recordings."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.api import InvalidParameterValueException, ResourceNotFoundException
from lambda_provider.context import RequestContext
from lambda_provider.model.event_invoke_config import DEFAULT_EVENT_AGE_S, DEFAULT_RETRY_ATTEMPTS, EventInvokeConfig
from lambda_provider.model.function import LATEST
from lambda_provider.operations.base import Operations
from lambda_provider.store.paging import page
from lambda_provider.validation.names import FunctionId, resolve
from lambda_runtime.event_queue import RetryPolicy
from lambda_runtime.types import Invocation

if TYPE_CHECKING:
    from lambda_provider.api import shapes

# What an asynchronous invoke can send its record to; S3 for failures only (Developer Guide, "Capturing records of Lambda
# asynchronous invocations"). FIFO queues and topics are not among them.
_DESTINATION = re.compile(
    r"arn:[a-z-]+:(?P<service>sqs|sns|lambda|events|s3):(?P<region>[a-z0-9-]*):(?P<account>\d{12}|):(?P<resource>.+)"
)


class EventInvokeConfigOperations(Operations):
    """The configurations for asynchronous invokes of a function, its versions and its aliases, each on its own."""

    def put_function_event_invoke_config(
        self, context: RequestContext, request: shapes.PutFunctionEventInvokeConfigRequest
    ) -> shapes.FunctionEventInvokeConfig:
        """Replace the configuration: what is not sent goes back to AWS's default."""
        return self._configure_event_invokes(context, request, keep=False)

    def update_function_event_invoke_config(
        self, context: RequestContext, request: shapes.UpdateFunctionEventInvokeConfigRequest
    ) -> shapes.FunctionEventInvokeConfig:
        """Change a configuration that exists; what is not sent stays."""
        return self._configure_event_invokes(context, request, keep=True)

    def get_function_event_invoke_config(
        self, context: RequestContext, request: shapes.GetFunctionEventInvokeConfigRequest
    ) -> shapes.FunctionEventInvokeConfig:
        """The configuration under one qualifier; a version or alias does not inherit the function's."""
        identity = _identity(context, request)
        function = self.store.find(identity.account_id, identity.region, identity.name)
        config = function.event_invoke_configs.get(identity.qualifier or LATEST) if function is not None else None
        if config is None:
            raise _no_config(identity)
        return _answer(config, identity)

    def delete_function_event_invoke_config(
        self, context: RequestContext, request: shapes.DeleteFunctionEventInvokeConfigRequest
    ) -> None:
        """Go back to AWS's defaults."""
        identity = _identity(context, request)
        if self.store.find(identity.account_id, identity.region, identity.name) is None:
            raise _no_config(identity)
        with self.store.function(identity) as function:
            if identity.qualifier not in function.function.event_invoke_configs:
                raise _no_config(identity)
            function.detach("event_invoke_configs", identity.qualifier or LATEST)

    def list_function_event_invoke_configs(
        self, context: RequestContext, request: shapes.ListFunctionEventInvokeConfigsRequest
    ) -> shapes.ListFunctionEventInvokeConfigsResponse:
        """All configurations of a function."""
        identity = resolve(context, request["FunctionName"]).unqualified()
        function = self.store.find(identity.account_id, identity.region, identity.name)
        if function is None:
            raise _no_function()
        configs = function.event_invoke_configs

        def items_after(position: Any) -> Iterator[tuple[Any, Any]]:
            for qualifier in sorted(configs):
                if position is None or qualifier > position:
                    yield qualifier, configs[qualifier].describe(f"{function.arn}:{qualifier}")

        items, more = page(request, f"event-invoke-configs/{function.arn}", items_after)
        return cast("shapes.ListFunctionEventInvokeConfigsResponse", {"FunctionEventInvokeConfigs": items, **more})

    def retry_policy(self, invocation: Invocation) -> RetryPolicy | None:
        """How the event of an invoke is retried: by what is configured for the qualifier that was invoked.

        None if the function, or the version that was to run, does not exist any more.
        """
        _, _, _, region, account_id, _, name, *qualifier = invocation.invoked_arn.split(":")
        function = self.store.find(account_id, region, name)
        if function is None or function.version(invocation.version_arn.rpartition(":")[2]) is None:
            return None
        config = function.event_invoke_configs.get(qualifier[0] if qualifier else LATEST)
        if config is None:
            return RetryPolicy()
        attempts, age_s = config.maximum_retry_attempts, config.maximum_event_age_s
        return RetryPolicy(
            maximum_retry_attempts=DEFAULT_RETRY_ATTEMPTS if attempts is None else attempts,
            maximum_event_age_s=DEFAULT_EVENT_AGE_S if age_s is None else age_s,
        )

    def _configure_event_invokes(
        self, context: RequestContext, request: Mapping[str, Any], *, keep: bool
    ) -> shapes.FunctionEventInvokeConfig:
        if request.keys().isdisjoint(("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")):
            raise InvalidParameterValueException(
                "You must specify at least one of error handling or destination setting."
            )
        identity = _identity(context, request)
        missing = _no_config(identity) if keep else _no_function()
        if self.store.find(identity.account_id, identity.region, identity.name) is None:
            raise missing
        with self.store.function(identity) as function:
            qualifier = identity.qualifier or LATEST
            old = function.function.event_invoke_configs.get(qualifier)
            if (old is None) if keep else (function.function.find(qualifier) is None):
                raise missing
            self._check_invoke_destinations(identity, request.get("DestinationConfig", {}))
            config = _changed(old if keep and old is not None else EventInvokeConfig(last_modified=0), request)
            function.attach("event_invoke_configs", qualifier, config)
        return _answer(config, identity)

    def _check_invoke_destinations(self, identity: FunctionId, member: Mapping[str, Any]) -> None:
        for side, arn in EventInvokeConfig.destinations(member).items():
            if arn is None:
                continue
            match = _DESTINATION.fullmatch(arn)
            if match is None or (match["service"] == "s3" and side == "on_success"):
                raise InvalidParameterValueException(f"The provided destination config {_shown(member)} is invalid.")
            if match["service"] == "lambda":
                self._check_destination_function(identity, arn, match)
            elif match["service"] in ("sqs", "sns") and arn.endswith(".fifo"):
                raise _invalid(arn)

    def _check_destination_function(self, identity: FunctionId, arn: str, match: re.Match[str]) -> None:
        kind, _, rest = match["resource"].partition(":")
        name, _, qualifier = rest.partition(":")
        if kind != "function" or match["region"] != identity.region:
            raise _invalid(arn)
        if f"{identity.arn}:".startswith(f"{arn}:") or arn.startswith(f"{identity.arn}:"):
            raise InvalidParameterValueException("You can't specify the function as a destination for itself.")
        function = self.store.find(match["account"], match["region"], name)
        if function is None or function.find(qualifier or None) is None:
            raise _invalid(arn)


def _changed(config: EventInvokeConfig, request: Mapping[str, Any]) -> EventInvokeConfig:
    changes: dict[str, Any] = EventInvokeConfig.destinations(request.get("DestinationConfig", {}))
    if "MaximumRetryAttempts" in request:
        changes["maximum_retry_attempts"] = request["MaximumRetryAttempts"]
    if "MaximumEventAgeInSeconds" in request:
        changes["maximum_event_age_s"] = request["MaximumEventAgeInSeconds"]
    return replace(config, last_modified=time.time(), **changes)


def _identity(context: RequestContext, request: Mapping[str, Any]) -> FunctionId:
    """AWS names `$LATEST` where the request has no qualifier (recorded: test_ops_on_nonexisting_fn)."""
    return resolve(context, request["FunctionName"], request.get("Qualifier")).or_latest()


def _answer(config: EventInvokeConfig, identity: FunctionId) -> shapes.FunctionEventInvokeConfig:
    return cast("shapes.FunctionEventInvokeConfig", config.describe(identity.qualified_arn))


def _no_config(identity: FunctionId) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"The function {identity.qualified_arn} doesn't have an EventInvokeConfig")


def _no_function() -> ResourceNotFoundException:
    return ResourceNotFoundException("The function doesn't exist.")


def _invalid(arn: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"The destination ARN {arn} is invalid.")


def _shown(member: Mapping[str, Any]) -> str:
    """A DestinationConfig as AWS's service prints it."""

    def side(name: str) -> str:
        if member.get(name) is None:
            return "null"
        return f"{name}(destination={member[name].get('Destination', 'null')})"

    return f"DestinationConfig(onSuccess={side('OnSuccess')}, onFailure={side('OnFailure')})"
