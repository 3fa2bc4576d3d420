"""In moto's process: is the bucket of an S3 request in the host name or in the path?

Moto takes every host name with a dot for one that begins with a bucket, except those that it knows. A gateway has names that
nobody knows beforehand (`gateway.my-network`), so here it is the other way round: the bucket is in the path unless what follows
the first label is known to be a name of S3 or of the gateway.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

_KNOWN = r"s3[.-].+|localhost|localhost\.localstack\.cloud"


def bucket_in_host(settings: Mapping[str, str]) -> Callable[[str], bool]:
    """A test for `Host` headers. A name that `LAMBDA_FUNCTION_ENDPOINT_URL` gives the gateway counts as known."""
    own = urlsplit(settings.get("LAMBDA_FUNCTION_ENDPOINT_URL", "")).hostname
    suffixes = f"{_KNOWN}|{re.escape(own)}" if own else _KNOWN
    matches = re.compile(rf"(?!s3\.).+\.(?:{suffixes})(?::\d+)?", re.IGNORECASE).fullmatch
    return lambda host: matches(host) is not None


def address_buckets() -> None:
    """Have moto's S3 decide by our rule, except where its own setting says that buckets are in paths only."""
    from moto import settings
    from moto.s3.responses import S3Response

    in_host = bucket_in_host(os.environ)

    def subdomain_based_buckets(request: Any) -> bool:
        return not settings.S3_IGNORE_SUBDOMAIN_BUCKETNAME and in_host(request.headers.get("host") or "")

    cast(Any, S3Response).subdomain_based_buckets = staticmethod(subdomain_based_buckets)
