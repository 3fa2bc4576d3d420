"""When the runtime of a version is updated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lambda_provider.model.configuration import present


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeManagement:
    """The runtime management configuration of a version. `runtime_version_arn` is there in the mode Manual only."""

    update_runtime_on: str = "Auto"
    runtime_version_arn: str | None = None

    def describe(self, function_arn: str) -> dict[str, Any]:
        """GetRuntimeManagementConfigResponse."""
        return present(
            UpdateRuntimeOn=self.update_runtime_on,
            FunctionArn=function_arn,
            RuntimeVersionArn=self.runtime_version_arn,
        )
