"""Limits and switches of the control plane, with AWS's values as defaults, overridable by the host's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lambda_runtime.settings import Settings, count, milliseconds, switch, values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """Settings of a `LambdaProvider`.

    The limits are AWS's quotas (lambda/latest/dg/gettingstarted-limits.html) or the numbers in recorded error messages, in
    bytes where nothing else is said. `settle_s` is how long a finished change stays Pending or InProgress when nobody asks
    for it, and `reader_patience_s` how long a reader waits for a preparation that is not finished. `enforce_permissions`
    refuses invokes from other accounts and by services that no policy of the function allows. `hot_reload_bucket` is the bucket
    name that stands for this machine's folders.
    """

    concurrent_executions: int = 1000
    minimum_unreserved_concurrency: int = 100
    total_code_size: int = 80_530_636_800
    code_size_zipped: int = 52_428_800
    code_size_unzipped: int = 262_144_000
    code_files: int = 100_000
    create_function_request_size: int = 70_167_211
    environment_size: int = 4096
    payload_size: int = 6_291_456
    event_payload_size: int = 1_048_576
    function_layers: int = 5
    resource_tags: int = 50
    event_source_mapping_filters: int = 5
    settle_s: float = 0.3
    reader_patience_s: float = 1.0
    enforce_permissions: bool = False
    hot_reload_bucket: str = "hot-reload"

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> ProviderConfig:
        """Read the `LAMBDA_*` names from a host's settings.

        Raises ValueError that names the setting when a value cannot be used.
        """
        return cls(**values_of(settings, _SETTINGS))


_SETTINGS: Settings = {
    "LAMBDA_LIMITS_CONCURRENT_EXECUTIONS": ("concurrent_executions", count),
    "LAMBDA_LIMITS_MINIMUM_UNRESERVED_CONCURRENCY": ("minimum_unreserved_concurrency", count),
    "LAMBDA_LIMITS_TOTAL_CODE_SIZE": ("total_code_size", count),
    "LAMBDA_LIMITS_CODE_SIZE_ZIPPED": ("code_size_zipped", count),
    "LAMBDA_LIMITS_CODE_SIZE_UNZIPPED": ("code_size_unzipped", count),
    "LAMBDA_LIMITS_CODE_FILES": ("code_files", count),
    "LAMBDA_LIMITS_CREATE_FUNCTION_REQUEST_SIZE": ("create_function_request_size", count),
    "LAMBDA_LIMITS_MAX_FUNCTION_ENVVAR_SIZE_BYTES": ("environment_size", count),
    "LAMBDA_LIMITS_MAX_FUNCTION_PAYLOAD_SIZE_BYTES": ("payload_size", count),
    "LAMBDA_LIMITS_MAX_EVENT_PAYLOAD_SIZE_BYTES": ("event_payload_size", count),
    "LAMBDA_LIMITS_EVENT_SOURCE_MAPPING_FILTERS": ("event_source_mapping_filters", count),
    "LAMBDA_SETTLE_MS": ("settle_s", milliseconds),
    "LAMBDA_ENFORCE_PERMISSIONS": ("enforce_permissions", switch),
    "LAMBDA_HOT_RELOAD_BUCKET": ("hot_reload_bucket", str),
}
