"""Who may use a layer version."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class LayerPermissionOperations(Operations):
    """Who may use a layer version."""
