"""Botocore clients for services that the host itself serves."""

from __future__ import annotations

import os
from typing import Any

from lambda_provider.host import ServiceUnavailable


def make_client(service: str, account_id: str, region: str, url: str, **config: Any) -> Any:
    """A client that reads nothing of the developer's own AWS configuration. `config` is botocore's."""
    from botocore.config import Config
    from botocore.exceptions import UnknownServiceError
    from botocore.session import Session

    nothing = {"profile": None, "config_file": os.devnull, "credentials_file": os.devnull}
    session = Session(session_vars={name: (None, None, value, None) for name, value in nothing.items()})
    try:
        return session.create_client(
            service,
            region_name=region,
            endpoint_url=url,
            aws_access_key_id=account_id,
            aws_secret_access_key="lambda-provider",
            config=Config(**{"s3": {"addressing_style": "path"}, "max_pool_connections": 50, **config}),
        )
    except UnknownServiceError as error:
        raise ServiceUnavailable(str(error)) from error
