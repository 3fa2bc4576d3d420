"""Layers: code and libraries shared by functions."""

from __future__ import annotations

from lambda_provider.operations.base import Operations


class LayerOperations(Operations):
    """Layers: code and libraries shared by functions."""
