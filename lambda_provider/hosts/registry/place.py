"""Where the registry is and keeps what it has; the process of ECR is told by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_ADDRESS, _DIRECTORY, _DURABLE = (
    "LAMBDA_PROVIDER_REGISTRY",
    "LAMBDA_PROVIDER_REGISTRY_DIR",
    "LAMBDA_PROVIDER_REGISTRY_KEPT",
)


@dataclass(frozen=True, slots=True)
class RegistryPlace:
    """`address` is host and port as engines reach the registry, empty if they cannot; `directory` is where everything lies.

    `durable`: it outlives the gateway.
    """

    address: str
    directory: Path
    durable: bool = False

    def as_environment(self) -> dict[str, str]:
        """For the environment of a child."""
        return {_ADDRESS: self.address, _DIRECTORY: str(self.directory), _DURABLE: "1" if self.durable else ""}

    @classmethod
    def from_environment(cls) -> RegistryPlace | None:
        """What the gateway told this process, if it has a registry."""
        if not os.environ.get(_DIRECTORY):
            return None
        return cls(os.environ.get(_ADDRESS, ""), Path(os.environ[_DIRECTORY]), bool(os.environ.get(_DURABLE)))
