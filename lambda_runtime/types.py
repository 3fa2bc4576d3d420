"""What goes into the data plane and what comes out."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CodeArchive:
    """A zip file on disk that nobody will change. `sha256` is hex and identifies the content."""

    sha256: str
    path: Path


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """All that running one version of a function needs; a changed function is a new value.

    `arn` is qualified (`…:function:NAME:$LATEST` or `…:7`) and identifies the version; `revision` differs whenever code or
    configuration differ, so two values with one `arn` can be told apart while the old one drains.
    """

    arn: str
    account_id: str
    region: str
    function_name: str
    version: str
    revision: str
    runtime: str | None
    """`python3.12`, `provided.al2023`, …; None for a container image."""
    handler: str | None
    code: CodeArchive | None
    code_folder: Path | None = None
    """Where the code is instead of in an archive: a folder whose changes take effect at the next invoke."""
    layers: tuple[CodeArchive, ...] = ()
    """In the function's order: a later one wins over an earlier one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "x86_64"
    memory_mib: int = 128
    timeout_s: float = 3
    ephemeral_storage_mib: int = 512
    role_arn: str = ""
    log_group: str = ""
    log_format: str = "Text"
    application_log_level: str | None = None
    system_log_level: str | None = None
    tracing_mode: str = "PassThrough"
    snap_start: bool = False
    """Environments are to start from a snapshot of an initialised one."""
    runtime_version_arn: str = ""
    """For the INIT_START line; the control plane shows the same one as RuntimeVersionConfig."""
    image_uri: str | None = None
    image_address: str | None = None
    """By what an engine pulls exactly the image that was meant when the version was made; None if only `image_uri` is known."""
    image_command: tuple[str, ...] | None = None
    image_entry_point: tuple[str, ...] | None = None
    image_working_directory: str | None = None
    reserved_concurrency: int | None = None
    max_concurrency: int | None = None
    """Invocations that an environment takes at once, on managed instances; None for one, as everywhere else."""

    @property
    def function_arn(self) -> str:
        """The ARN without the qualifier."""
        return self.arn.rpartition(":")[0]


class InvocationType(enum.Enum):
    """How the caller waits, in the words of the Invoke operation."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


@dataclass(slots=True)
class Invocation:
    """One request to run a version.

    `invoked_arn` is the ARN as the caller named it, with the alias if one was used: the function sees it in its context.
    `payload` is JSON text that nobody parses on the way. `client_context` is the decoded JSON, `trace_header` the value of
    `X-Amzn-Trace-Id`.
    """

    version_arn: str
    invoked_arn: str
    payload: bytes
    request_id: str
    client_context: str | None = None
    cognito_identity: str | None = None
    trace_header: str | None = None
    tenant_id: str | None = None
    want_log_tail: bool = False
    streaming: bool = False
    """The caller takes the response in chunks (InvokeWithResponseStream, a streaming function URL)."""


@dataclass(slots=True)
class InvocationResult:
    """What a function answered.

    `function_error` is None, or the value of `X-Amz-Function-Error` (`Unhandled`). `log_tail` holds the last 4 KiB of the log
    when asked for. A streamed response has `stream` instead of `payload`; once that is exhausted, `function_error` and, for a
    failure, `payload` (the error's JSON) are set on this value. `request_id` is there for who did not choose it.
    """

    payload: bytes
    executed_version: str
    function_error: str | None = None
    content_type: str | None = None
    log_tail: bytes | None = None
    stream: AsyncIterator[bytes] | None = None
    request_id: str | None = None
