"""What happens when a function sets off itself."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class RecursionOperations(Operations):
    """What happens when a function sets off itself."""
