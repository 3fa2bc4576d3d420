"""Who may invoke a function: its resource-based policy, statement by statement."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class PermissionOperations(Operations):
    """Who may invoke a function: its resource-based policy, statement by statement."""
