"""The resource-based policy of a resource as one document."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class ResourcePolicyOperations(Operations):
    """The resource-based policy of a resource as one document."""
