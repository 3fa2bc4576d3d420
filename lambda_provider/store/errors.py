"""What can be wrong with stored state. For whoever runs the provider, not for API callers."""

from __future__ import annotations


class StateError(Exception):
    """The state directory cannot be used; the message says why and what to do. Nothing in it was changed."""
