"""Provisioned concurrency of versions and aliases."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class ProvisionedConcurrencyOperations(Operations):
    """Provisioned concurrency of versions and aliases."""
