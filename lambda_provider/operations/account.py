"""GetAccountSettings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_provider.context import RequestContext
from lambda_provider.operations.base import Operations

if TYPE_CHECKING:
    from lambda_provider.api import shapes


class AccountOperations(Operations):
    """The limits of the account in a region, and what it uses of them."""

    def get_account_settings(
        self, context: RequestContext, request: shapes.GetAccountSettingsRequest
    ) -> shapes.GetAccountSettingsResponse:
        """Limits and usage; sizes in bytes."""
        functions, used = self.store.usage(context.account_id, context.region)
        return {
            "AccountLimit": {
                "TotalCodeSize": self.config.total_code_size,
                "CodeSizeUnzipped": self.config.code_size_unzipped,
                "CodeSizeZipped": self.config.code_size_zipped,
                "ConcurrentExecutions": self.config.concurrent_executions,
                "UnreservedConcurrentExecutions": self.capacity.unreserved(context.account_id, context.region),
            },
            "AccountUsage": {"TotalCodeSize": used, "FunctionCount": functions},
        }
