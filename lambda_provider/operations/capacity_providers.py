"""Capacity providers: EC2 instances of the account that run functions."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class CapacityProviderOperations(Operations):
    """Capacity providers: EC2 instances of the account that run functions."""
