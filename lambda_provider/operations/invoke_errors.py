"""Why a function does not run, in AWS's words."""

from __future__ import annotations

from lambda_provider.api import (
    InvalidParameterValueException,
    InvalidRuntimeException,
    InvalidZipFileException,
    LambdaError,
    RecursiveInvocationException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
    SnapStartException,
    SnapStartNotReadyException,
    SnapStartRegenerationFailureException,
    SnapStartTimeoutException,
    TooManyRequestsException,
)
from lambda_provider.model.function import Version
from lambda_runtime.concurrency import ACCOUNT_RATE_EXCEEDED
from lambda_runtime.errors import (
    RuntimeServiceError,
    ServiceStopped,
    SnapshotNotRegenerated,
    SnapStartFailed,
    SnapStartTimedOut,
    Throttled,
    VersionFailed,
    VersionNotDeployed,
)


def require_tenant(version: Version, tenant_id: str | None) -> None:
    """Raise unless an invoke names its tenant exactly when the function isolates tenants.

    Developer Guide, "Troubleshooting tenant isolation".
    """
    if version.configuration.tenant_isolated == (tenant_id is not None):
        return
    raise InvalidParameterValueException(
        "The invoked function is not enabled with tenancy configuration. "
        "Remove the tenant ID from your request and try again."
        if tenant_id is not None
        else "The invoked function is enabled with tenancy configuration. "
        "Add a valid tenant ID in your request and try again."
    )


def cannot_run(version: Version, state: str) -> LambdaError:
    """The error for a version that failed to become Active, or is not any more; its reason tells what to do about it."""
    status = version.status
    reason = status.state_reason or ""
    if status.state_reason_code == "InvalidRuntime":
        return InvalidRuntimeException(reason)
    if status.state_reason_code == "InvalidZipFileException":
        return InvalidZipFileException(reason)
    return ResourceConflictException(
        f"The operation cannot be performed at this time. The function is currently in the following state: {state}"
    )


def not_ready() -> LambdaError:
    """The error while a snapshot is being made: lambda/latest/dg/snapstart-troubleshooting.html."""
    return SnapStartNotReadyException(
        "Lambda is initializing your function. It will be ready to invoke once your function state becomes ACTIVE."
    )


def in_a_loop() -> LambdaError:
    """The error for an invocation that would close a recursive loop."""
    return RecursiveInvocationException(
        "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources "
        "and stopped your function's invocation."
    )


def as_aws_error(error: RuntimeServiceError, version_arn: str) -> LambdaError:
    """AWS's error for what the data plane refused (recorded for throttling: test_reserved_provisioned_overlap)."""
    if isinstance(error, Throttled):
        # The account's rate has words of its own (https://github.com/fyoorer/ShadowClone/issues/46).
        message = "Rate exceeded" if error.reason == ACCOUNT_RATE_EXCEEDED else "Rate Exceeded."
        return TooManyRequestsException(message, Reason=error.reason)
    if isinstance(error, VersionNotDeployed):
        return ResourceNotFoundException(f"Function not found: {version_arn}")
    if isinstance(error, VersionFailed):
        return InvalidRuntimeException(str(error))
    if isinstance(error, SnapStartTimedOut):
        return SnapStartTimeoutException("Lambda couldn't restore the snapshot within the timeout limit.")
    if isinstance(error, SnapStartFailed):
        # The words are the model's.
        return SnapStartException(
            "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs."
        )
    if isinstance(error, SnapshotNotRegenerated):
        return SnapStartRegenerationFailureException(
            "Lambda couldn't regenerate the SnapStart snapshot for the function."
        )
    if isinstance(error, ServiceStopped):
        return ServiceException("The service is stopping.")
    return ServiceException(str(error))
