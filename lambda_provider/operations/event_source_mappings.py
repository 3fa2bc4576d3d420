"""Event source mappings as resources."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class EventSourceMappingOperations(Operations):
    """Event source mappings as resources."""
