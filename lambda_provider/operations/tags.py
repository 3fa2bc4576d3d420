"""Tags of functions and of the resources beside them."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class TagOperations(Operations):
    """Tags of functions and of the resources beside them."""
