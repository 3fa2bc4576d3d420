"""Why the data plane did not run a function. The control plane turns each into the error that AWS gives."""

from __future__ import annotations


class RuntimeServiceError(Exception):
    """Base of all errors that `RuntimeService` raises on purpose."""


class VersionNotDeployed(RuntimeServiceError):
    """No version with this ARN is known here."""


class VersionFailed(RuntimeServiceError):
    """The version cannot run: `code` is a StateReasonCode of the model, the message says what to do about it."""

    def __init__(self, code: str, message: str, *, passing: bool = False) -> None:
        """`passing` is what may be over at the next invoke, which then tries again: no engine answers."""
        super().__init__(message)
        self.code = code
        self.passing = passing


class EnvironmentNotStarted(RuntimeServiceError):
    """The machine could not start an execution environment; the message says what failed."""


class SnapStartFailed(RuntimeServiceError):
    """A hook after the restore of a snapshot failed; the function's log says how."""


class SnapStartTimedOut(SnapStartFailed):
    """The runtime was not restored within the limit."""


class SnapshotNotRegenerated(RuntimeServiceError):
    """The snapshot of a version was lost, and making it again failed; the next invoke tries again."""


class Throttled(RuntimeServiceError):
    """No environment may run now; `reason` is a value of the model's ThrottleReason.

    `retry_after_s` is None if a slot has to become free first, else how long it takes, by the clock, until it may work again.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class ZeroReservedConcurrency(Throttled):
    """The function's reserved concurrency is zero: nothing of it may run until that is changed."""


class ServiceStopped(RuntimeServiceError):
    """The service is stopping and takes no more work."""
