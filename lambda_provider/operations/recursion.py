"""What happens when a function invokes itself in a loop: the setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_provider.context import RequestContext
from lambda_provider.operations.base import Operations
from lambda_provider.validation.names import Qualified, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes


class RecursionOperations(Operations):
    """Recursive loop detection of a function: Terminate unless it was set to Allow."""

    def get_function_recursion_config(
        self, context: RequestContext, request: shapes.GetFunctionRecursionConfigRequest
    ) -> shapes.GetFunctionRecursionConfigResponse:
        """The setting of a function."""
        function = self.store.get(resolve(context, request["FunctionName"], allow=Qualified.NONE))
        return {"RecursiveLoop": function.settings.recursive_loop}

    def put_function_recursion_config(
        self, context: RequestContext, request: shapes.PutFunctionRecursionConfigRequest
    ) -> shapes.PutFunctionRecursionConfigResponse:
        """Change the setting of a function."""
        identity = resolve(context, request["FunctionName"], allow=Qualified.NONE)
        with self.store.function(identity) as function:
            function.change_settings(recursive_loop=request["RecursiveLoop"])
        return {"RecursiveLoop": request["RecursiveLoop"]}
