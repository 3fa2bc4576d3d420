"""The HTTP endpoint of a function or alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_provider.model.configuration import present

DEFAULT_INVOKE_MODE = "BUFFERED"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUrl:
    """A function URL. It outlives the alias that it was made for (recorded: test_lambda_url_persists_after_alias_delete).

    `url_id` is the first label of its host name and unique everywhere; `cors` has the members of the API's Cors.
    `invoke_mode` is None as long as nobody chose one: AWS then answers it to readers, but not to who creates or updates
    (recorded: test_url_config_lifecycle). Times are ISO 8601.
    """

    url_id: str
    auth_type: str
    created_at: str
    last_modified: str
    cors: Mapping[str, Any] | None = None
    invoke_mode: str | None = None

    def describe(self, *, url: str, function_arn: str) -> dict[str, Any]:
        """FunctionUrlConfig as UpdateFunctionUrlConfig answers it."""
        return present(
            FunctionUrl=url,
            FunctionArn=function_arn,
            AuthType=self.auth_type,
            Cors=dict(self.cors) if self.cors else None,
            CreationTime=self.created_at,
            LastModifiedTime=self.last_modified,
            InvokeMode=self.invoke_mode,
        )
