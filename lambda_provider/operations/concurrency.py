"""Reserved concurrency of functions. Rules and words: TestLambdaReservedConcurrency in the recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_provider.api import InvalidParameterValueException, ValidationException
from lambda_provider.context import RequestContext
from lambda_provider.operations.base import Operations
from lambda_provider.operations.capacity import claimed, provisioned
from lambda_provider.store.editor import FunctionEditor
from lambda_provider.validation.constraints import message, violation
from lambda_provider.validation.names import FunctionId, Qualified, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes


class ConcurrencyOperations(Operations):
    """What a function has of its account's concurrency for itself, and may not exceed."""

    def put_function_concurrency(
        self, context: RequestContext, request: shapes.PutFunctionConcurrencyRequest
    ) -> shapes.Concurrency:
        """Reserve concurrency; 0 lets nothing of the function run."""
        reserved = request["ReservedConcurrentExecutions"]
        identity = _changed_function(context, request["FunctionName"])
        with self.capacity.lock, self.store.function(identity) as function:
            if reserved < 0:
                # Behind the look-up, other than what the model bounds (recorded: test_function_concurrency_exceptions).
                phrase = "Member must have value greater than or equal to 0"
                raise ValidationException(message([violation(reserved, "reservedConcurrentExecutions", phrase)]))
            self._require_reservable(function, reserved)
            function.change_settings(reserved_concurrency=reserved)
        return {"ReservedConcurrentExecutions": reserved}

    def get_function_concurrency(
        self, context: RequestContext, request: shapes.GetFunctionConcurrencyRequest
    ) -> shapes.GetFunctionConcurrencyResponse:
        """What is reserved; nothing at all without a reserve."""
        identity = resolve(context, request["FunctionName"], allow=Qualified.NONE)
        reserved = self.store.get(identity).settings.reserved_concurrency
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    def delete_function_concurrency(
        self, context: RequestContext, request: shapes.DeleteFunctionConcurrencyRequest
    ) -> None:
        """Give the reserve back; a function without one is not an error."""
        with self.store.function(_changed_function(context, request["FunctionName"])) as function:
            if function.function.settings.reserved_concurrency is not None:
                function.change_settings(reserved_concurrency=None)

    def _require_reservable(self, function: FunctionEditor, reserved: int) -> None:
        """Raise InvalidParameterValueException (without a Type, as recorded) unless so much can be reserved."""
        needed = provisioned(function.function)
        if reserved < needed:
            # Recorded: test_reserved_provisioned_overlap; the spaces are AWS's.
            raise InvalidParameterValueException(
                f" ReservedConcurrentExecutions  {reserved} should not be lower than function's "
                f"total provisioned concurrency [{needed}].",
                Type=None,
            )
        settings, own = function.function.settings, claimed(function.function)
        left = self.capacity.unreserved(settings.account_id, settings.region) + own - reserved
        minimum = self.config.minimum_unreserved_concurrency
        if reserved > own and left < minimum:
            raise InvalidParameterValueException(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{minimum}].",
                Type=None,
            )


def _changed_function(context: RequestContext, name: str) -> FunctionId:
    """The function; one that does not exist is reported as its `$LATEST` (test_function_concurrency_exceptions)."""
    return resolve(context, name, allow=Qualified.NONE).or_latest()
