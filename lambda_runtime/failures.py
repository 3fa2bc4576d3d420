"""How a function that failed is told to its caller, in AWS's words."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from lambda_runtime.errors import RuntimeServiceError
from lambda_runtime.executors.base import ExitStatus

UNHANDLED = "Unhandled"
"""The `X-Amz-Function-Error` of every failure."""
TIMED_OUT = "Sandbox.Timedout"
EXITED = "Runtime.ExitError"
TOO_LARGE = "Function.ResponseSizeTooLarge"


@dataclass(frozen=True, slots=True)
class InitFailure:
    """Why an environment did not become ready, as the caller of an invoke would see it."""

    error_type: str
    payload: bytes
    status: str = "error"
    fault: tuple[str, str] | None = None
    """What the platform says of it in the log, and of which type it is, where the runtime could not report it."""
    error: RuntimeServiceError | None = None
    """What the caller gets instead of the payload, because the environment could not be restored from a snapshot."""
    lost: bool = False
    """The snapshot has ended: another environment can be had from the next one."""


def exit_in_init(status: ExitStatus, request_id: str = "") -> InitFailure:
    """The runtime ended before it asked for an event; the id is of the invocation that it was started for, if there is one."""
    error_type = "Runtime.InvalidEntrypoint" if status.entry_point_error else EXITED
    reason = exit_reason(status)
    payload = fault_body(error_type, request_id, reason)
    return InitFailure(reported_type(status, error_type), payload, fault=(reason, error_type))


def init_error_type(told: str | None) -> str:
    """The type of an init error that a runtime reports, as AWS logs it: of exceptions it only knows that there was one."""
    return told if told is not None and told.startswith(("Runtime.", "Function.")) else "Runtime.Unknown"


def exit_reason(status: ExitStatus) -> str:
    """AWS's words (recorded: `test_lambda_runtime_exit`, `test_lambda_runtime_wrapper_not_found`)."""
    if status.entry_point_error is not None:
        return status.entry_point_error
    if status.signal is not None:
        return f"Runtime exited with error: signal: {signal_name(status.signal)}"
    if status.code:
        return f"Runtime exited with error: exit status {status.code}"
    return "Runtime exited without providing a reason"


def signal_name(number: int) -> str:
    """As Go prints a signal."""
    return _SIGNALS.get(number, f"signal {number}")


def reported_type(status: ExitStatus, error_type: str) -> str:
    """The error type in the log's report: only there AWS tells what ran out of memory from what exited."""
    return "Runtime.OutOfMemory" if status.out_of_memory else error_type


_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    11: "segmentation fault",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
    25: "file size limit exceeded",
    31: "bad system call",
}


def error_body(error_type: str, message: str, type_first: bool = True) -> bytes:
    """A payload that the platform makes; AWS's order of members differs from case to case."""
    members = [("errorType", error_type), ("errorMessage", message)]
    return json.dumps(dict(members if type_first else reversed(members)), separators=(",", ":")).encode()


def fault_body(error_type: str, request_id: str, message: str) -> bytes:
    """The payload of an invocation that the platform ended."""
    return error_body(error_type, f"RequestId: {request_id} Error: {message}")


def timeout_body(request_id: str, timeout_s: float) -> bytes:
    """The payload of an invocation that took too long."""
    return fault_body(TIMED_OUT, request_id, f"Task timed out after {timeout_s:.2f} seconds")


def too_large_body(limit_bytes: int) -> bytes:
    """The payload of an invocation whose response is above the limit."""
    message = f"Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes)."
    return error_body(TOO_LARGE, message, False)


def status_of(error_type: str | None) -> str:
    """What the report of an invocation says of its end."""
    return "success" if error_type is None else "timeout" if error_type == TIMED_OUT else "error"


def lasted_ms(elapsed_ms: float, status: str, timeout_s: float) -> float:
    """How long an invocation took for its report: one that took too long exactly as long as it may, as on AWS."""
    return timeout_s * 1000.0 if status == "timeout" else elapsed_ms


def decoded(body: bytes) -> bytes:
    """The error of a streamed response comes in a trailer, base64-encoded."""
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        return body
