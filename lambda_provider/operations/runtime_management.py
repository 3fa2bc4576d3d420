"""When the runtime of a function is updated."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class RuntimeManagementOperations(Operations):
    """When the runtime of a function is updated."""
