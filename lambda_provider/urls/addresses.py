"""Which function URL a request is for: by the name of the host, or by a path where that name cannot be resolved."""

from __future__ import annotations

from typing import NamedTuple

PATH_PREFIX = "/_lambda/url/"
"""`/_lambda/url/URL-ID/path?query` is the same as `/path?query` at the URL's own host."""

_LABEL = ".lambda-url."


class Address(NamedTuple):
    """The id of a URL, the path behind it as it stood on the wire, and the region if the host's name has one."""

    url_id: str
    path: str
    region: str | None


def address_of(host: str, path: str) -> Address | None:
    """The function URL of a request, whether it exists or not; None for a request that is for something else.

    `host` is the Host header: `URL-ID.lambda-url.REGION.` and any domain, with or without a port.
    """
    if _LABEL in host:
        url_id, _, rest = host.partition(_LABEL)
        region, dot, _ = rest.partition(".")
        if dot and url_id and "." not in url_id:
            return Address(url_id.lower(), path, region)
    if path.startswith(PATH_PREFIX):
        url_id, _, rest = path[len(PATH_PREFIX) :].partition("/")
        return Address(url_id.lower(), f"/{rest}", None)
    return None
