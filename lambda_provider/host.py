"""The Host protocol: what the provider needs from whoever loads it, and nothing else.

An adapter in `hosts/` speaks it for one emulator; a third party registers its own under the entry-point group
`lambda_provider.hosts`. Ground floor: this module imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line for CloudWatch Logs: `timestamp_ms` since the epoch, and the message without a size limit of its own."""

    timestamp_ms: int
    message: str


@dataclass(frozen=True, slots=True)
class FunctionCredentials:
    """What the code of a function signs its requests with: temporary credentials of the execution role."""

    access_key_id: str
    secret_access_key: str
    session_token: str


@runtime_checkable
class Host(Protocol):
    """The emulator around the provider.

    Every method may be called from any thread. `put_log_events` and `put_metric_data` are called on the runtime's event loop
    and must return at once; what they do with the data happens elsewhere.
    """

    name: str

    @property
    def settings(self) -> Mapping[str, str]:
        """Configuration as `NAME: value`, by default the process's environment variables."""
        ...

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        """A botocore client for another AWS service in that account and region.

        `service` is botocore's name (`s3`, `sqs`). Raises `ServiceUnavailable` when the host does not offer the service.
        """
        ...

    def function_endpoint_url(self) -> str | None:
        """The URL at which function code reaches the host's AWS services, or None: no `AWS_ENDPOINT_URL` is set then."""
        ...

    def issue_credentials(
        self, *, role_arn: str, account_id: str, region: str, session_name: str
    ) -> FunctionCredentials:
        """Credentials for an execution environment; requests signed with them must be seen as `account_id`'s.

        On AWS they are those of the execution role, assumed under `session_name`, which follows from the function's name. A
        host that has no use for it may leave the parameter out.
        """
        ...

    def put_log_events(
        self, *, account_id: str, region: str, log_group: str, log_stream: str, events: Sequence[LogEvent]
    ) -> None:
        """Append to a stream of CloudWatch Logs, creating group and stream. A host without Logs drops the events."""
        ...

    def put_metric_data(
        self, *, account_id: str, region: str, namespace: str, metrics: Sequence[Mapping[str, Any]]
    ) -> None:
        """Record CloudWatch metrics, in the shape of PutMetricData. A host without CloudWatch drops them."""
        ...


class ServiceUnavailable(Exception):
    """The host has no such AWS service; the message says which, and what to install or enable."""
