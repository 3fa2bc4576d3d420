"""Settings of the swarm executor, besides those of the docker executor (LAMBDA_DOCKER_*), which mean the same here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

PREFIX = "LAMBDA_SWARM_"
DIRECTORY = "/var/tmp"


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """Where environments may be placed, where nodes keep code, and at which port they reach the gateway."""

    constraints: tuple[str, ...] = ()
    """In Swarm's words: `node.labels.lambda==yes`."""
    directory: str = DIRECTORY
    port: int = 0
    """0 for a free one."""

    @classmethod
    def read(cls, settings: Mapping[str, str]) -> SwarmSettings:
        """Raises ValueError that names the setting."""
        constraints = tuple(
            each.strip() for each in (settings.get(f"{PREFIX}CONSTRAINTS") or "").split(",") if each.strip()
        )
        for each in constraints:
            if "==" not in each and "!=" not in each:
                raise ValueError(f"setting {PREFIX}CONSTRAINTS={each!r}: must be name==value or name!=value")
        directory = settings.get(f"{PREFIX}DIRECTORY") or DIRECTORY
        if not PurePosixPath(directory).is_absolute():
            raise ValueError(f"setting {PREFIX}DIRECTORY={directory!r}: must be an absolute path")
        text = settings.get(f"{PREFIX}PORT") or "0"
        if not text.isdigit() or int(text) > 65535:
            raise ValueError(f"setting {PREFIX}PORT={text!r}: must be a port")
        return cls(constraints, directory, int(text))
