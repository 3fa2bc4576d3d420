"""What the answer to `GET invocation/next` says beside the event."""

from __future__ import annotations

from lambda_runtime.types import Invocation


def next_headers(invocation: Invocation, deadline_ms: int) -> bytes:
    """The headers of an invocation, each line ended: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.

    Every one that a runtime client may want is there: awslambdaric fails without a trace id.
    """
    lines = [
        f"Lambda-Runtime-Aws-Request-Id: {invocation.request_id}\r\n"
        f"Lambda-Runtime-Deadline-Ms: {deadline_ms}\r\n"
        f"Lambda-Runtime-Invoked-Function-Arn: {invocation.invoked_arn}\r\n"
        f"Lambda-Runtime-Trace-Id: {invocation.trace_header or ''}\r\n"
    ]
    if invocation.client_context is not None:
        lines.append(f"Lambda-Runtime-Client-Context: {invocation.client_context}\r\n")
    if invocation.cognito_identity is not None:
        lines.append(f"Lambda-Runtime-Cognito-Identity: {invocation.cognito_identity}\r\n")
    if invocation.tenant_id is not None:
        lines.append(f"Lambda-Runtime-Aws-Tenant-Id: {invocation.tenant_id}\r\n")
    return "".join(lines).encode()
