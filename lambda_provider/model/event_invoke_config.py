"""How events of a function, version or alias are retried, and where their records go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lambda_provider.model.configuration import present

DEFAULT_RETRY_ATTEMPTS = 2
DEFAULT_EVENT_AGE_S = 21600


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInvokeConfig:
    """The configuration for asynchronous invokes under one qualifier. None is a setting that was not made: AWS's default.

    `last_modified` is in seconds since the epoch; destinations are ARNs.
    """

    last_modified: float
    maximum_retry_attempts: int | None = None
    maximum_event_age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None

    @classmethod
    def destinations(cls, member: Mapping[str, Any]) -> dict[str, str | None]:
        """The fields that a DestinationConfig sets: a side that is there without a destination has none."""
        fields = {"on_success": member.get("OnSuccess"), "on_failure": member.get("OnFailure")}
        return {name: side.get("Destination") or None for name, side in fields.items() if side is not None}

    def describe(self, function_arn: str) -> dict[str, Any]:
        """FunctionEventInvokeConfig; both destinations are always there (recorded: test_lambda_eventinvokeconfig_lifecycle)."""
        return present(
            LastModified=datetime.fromtimestamp(self.last_modified, UTC),
            FunctionArn=function_arn,
            MaximumRetryAttempts=self.maximum_retry_attempts,
            MaximumEventAgeInSeconds=self.maximum_event_age_s,
            DestinationConfig={
                "OnSuccess": present(Destination=self.on_success),
                "OnFailure": present(Destination=self.on_failure),
            },
        )
