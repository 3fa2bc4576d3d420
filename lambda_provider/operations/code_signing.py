"""Code signing configs, and the functions that they guard."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class CodeSigningOperations(Operations):
    """Code signing configs, and the functions that they guard."""
