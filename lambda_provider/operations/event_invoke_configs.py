"""How asynchronous invokes are retried and where their outcome goes."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class EventInvokeConfigOperations(Operations):
    """How asynchronous invokes are retried and where their outcome goes."""
