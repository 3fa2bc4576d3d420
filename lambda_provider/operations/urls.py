"""Function URLs as resources."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class UrlOperations(Operations):
    """Function URLs as resources."""
