"""Concurrency that is kept for a function or one of its versions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lambda_provider.model.configuration import present


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedConcurrency:
    """What was asked for on a version or an alias. What became of it is the data plane's to know.

    `requested` is a number of environments, `last_modified` the time as the API has it.
    """

    requested: int
    last_modified: str

    @classmethod
    def of(cls, requested: int) -> ProvisionedConcurrency:
        """A request that is made now."""
        return cls(
            requested=requested,
            last_modified=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "+0000"),
        )

    def shares(self, additional: dict[str, float], version: str) -> dict[str, int]:
        """Environments by version: those of an alias are split by the shares of its invokes."""
        counts = {number: math.floor(self.requested * weight + 0.5) for number, weight in additional.items()}
        counts[version] = self.requested - sum(counts.values())
        return {number: count for number, count in counts.items() if count > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionScaling:
    """How many environments of a version on managed instances there are at least and at most; None was not said."""

    minimum: int | None = None
    maximum: int | None = None

    @property
    def deactivates(self) -> bool:
        """No environment at all: the version cannot be invoked."""
        return self.maximum == 0

    def describe(self) -> dict[str, Any]:
        """FunctionScalingConfig."""
        return present(MinExecutionEnvironments=self.minimum, MaxExecutionEnvironments=self.maximum)
