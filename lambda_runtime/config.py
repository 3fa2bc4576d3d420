"""How the data plane is set up: values with AWS's defaults, each overridable by the host's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lambda_runtime.settings import Settings, count, milliseconds, one_of, positive, values_of


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """Settings of a `RuntimeService` and its executor.

    `endpoint_url` is where functions find AWS's services, or what says it when an environment starts. `idle_timeout_s` is how
    long an environment stays warm without work. `init_timeout_s` is AWS's limit on the init phase of an on-demand environment
    (10 s: lambda/latest/dg/lambda-runtime-environment.md), and `provisioned_init_timeout_s` that of one with
    provisioned concurrency unless the function's own timeout is longer (130 s, the same page).
    `restore_timeout_s` is AWS's limit on the hooks after the restore of a snapshot (snapstart-runtime-hooks-python.md).
    `provisioning_delay_s` is how long an allocation of provisioned concurrency waits before it begins (AWS: a minute or two).
    `concurrency_limit` is the account's pool in a region, `scaling_rate` how many environments a function may add in ten
    seconds, `requests_per_concurrency` how many synchronous requests a second each unit of concurrency allows, and
    `tenant_environments` how many environments of tenants a function with a concurrency of 1,000 may have; 0 means no limit
    for the two rates. `cache_dir` holds unpacked code; None means a temporary directory
    that is removed on stop. `runtime_mismatch` says what happens when the exact interpreter of a runtime is missing: `warn`
    runs the nearest one and says so in the function's log, `error` fails the version. `clock_rate` is how much faster than
    the machine's the clock of retries and event ages runs. `isolation` is `auto` (what the machine allows) or `none`.
    `freeze_after_s` is how long an environment waits for work before what runs in it is stopped until there is some; 0 is never.
    `cgroup` is a directory of cgroup v2 that was delegated to us, to be divided among environments.
    """

    endpoint_url: str | Callable[[], str | None] | None = None
    idle_timeout_s: float = 600.0
    init_timeout_s: float = 10.0
    provisioned_init_timeout_s: float = 130.0
    provisioning_delay_s: float = 0.3
    restore_timeout_s: float = 10.0
    shutdown_timeout_s: float = 2.0
    concurrency_limit: int = 1000
    scaling_rate: int = 1000
    requests_per_concurrency: int = 10
    tenant_environments: int = 2500
    max_response_bytes: int = 6_291_556
    max_streamed_response_bytes: int = 200 * 1024 * 1024
    cache_dir: Path | None = None
    runtime_mismatch: str = "warn"
    clock_rate: float = 1.0
    isolation: str = "auto"
    freeze_after_s: float = 0.1
    cgroup: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """Anything else, as `NAME: value`, e.g. `LAMBDA_PYTHON3_12=/path/to/python`."""

    def current_endpoint_url(self) -> str | None:
        """`AWS_ENDPOINT_URL` of an environment that starts now; None where functions are told nothing."""
        return self.endpoint_url() if callable(self.endpoint_url) else self.endpoint_url

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], **overrides: Any) -> RuntimeConfig:
        """Read the `LAMBDA_*` names from a host's settings.

        Raises ValueError that names the setting when a value cannot be used.
        """
        return cls(**{"settings": dict(settings), **values_of(settings, _SETTINGS), **overrides})


_SETTINGS: Settings = {
    "LAMBDA_KEEPALIVE_S": ("idle_timeout_s", positive),
    "LAMBDA_INIT_TIMEOUT_S": ("init_timeout_s", positive),
    "LAMBDA_SETTLE_MS": ("provisioning_delay_s", milliseconds),
    "LAMBDA_LIMITS_CONCURRENT_EXECUTIONS": ("concurrency_limit", count),
    "LAMBDA_LIMITS_CONCURRENCY_SCALING_RATE": ("scaling_rate", count),
    "LAMBDA_LIMITS_REQUESTS_PER_CONCURRENCY": ("requests_per_concurrency", count),
    "LAMBDA_LIMITS_TENANT_ENVIRONMENTS": ("tenant_environments", count),
    "LAMBDA_LIMITS_MAX_FUNCTION_STREAMED_RESPONSE_SIZE_BYTES": ("max_streamed_response_bytes", count),
    "LAMBDA_CACHE_DIR": ("cache_dir", Path),
    "LAMBDA_RUNTIME_MISMATCH": ("runtime_mismatch", one_of("warn", "error")),
    "LAMBDA_CLOCK_RATE": ("clock_rate", positive),
    "LAMBDA_CGROUP": ("cgroup", Path),
    "LAMBDA_FREEZE_MS": ("freeze_after_s", milliseconds),
    "LAMBDA_ISOLATION": ("isolation", one_of("auto", "none")),
}
