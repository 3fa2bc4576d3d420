"""Reserved concurrency of functions."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class ConcurrencyOperations(Operations):
    """Reserved concurrency of functions."""
