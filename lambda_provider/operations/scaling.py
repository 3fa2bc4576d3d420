"""How many environments of a function a capacity provider keeps."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class ScalingOperations(Operations):
    """How many environments of a function a capacity provider keeps."""
