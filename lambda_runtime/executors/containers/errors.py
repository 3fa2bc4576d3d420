"""What goes wrong with a container engine."""

from __future__ import annotations


class EngineError(OSError):
    """The engine refused or failed; `status` is that of its answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class EngineUnavailable(EngineError):
    """No engine answers."""
