"""Repositories of accounts and regions, in every form in which clients, engines and functions name them.

On AWS account and region are in the host name (`ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME`). An engine reaches the gateway
without TLS and without a name server only at `localhost:PORT`, so here they are in the path:
`localhost:PORT/ACCOUNT/REGION/NAME`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from lambda_provider.context import DEFAULT_ACCOUNT_ID, DEFAULT_REGION

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
"""A repository's name, in the words of the distribution specification; ECR's rule is the same."""
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLACED = re.compile(r"(?P<account>\d{12})/(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d+)/(?P<name>.+)", re.DOTALL)
_AWS_HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+(?::\d+)?")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's name in an account and a region."""

    account_id: str
    region: str
    name: str

    @property
    def path(self) -> str:
        """How it is addressed behind the registry's host and port."""
        return f"{self.account_id}/{self.region}/{self.name}"


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image by its tag, its digest, or neither; a `digest` decides if both are there."""

    repository: Repository
    tag: str | None = None
    digest: str | None = None


def repository_at(path: str, host: str = "") -> Repository | None:
    """The repository that the path of a request names; None for what cannot be a name.

    Account and region are those of the path, or of the `Host` header if that has the form of AWS's, or the default ones.
    """
    account_id, region, name = DEFAULT_ACCOUNT_ID, DEFAULT_REGION, path
    if match := _PLACED.fullmatch(path) or _AWS_HOST.fullmatch(host):
        account_id, region = match["account"], match["region"]
        name = match.groupdict().get("name", path)
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        return None
    return Repository(account_id, region, name)


def is_registry_host(host: str) -> bool:
    """A `Host` header, or the first part of an image's name, that has the form of AWS's registries."""
    return _AWS_HOST.fullmatch(host) is not None


def image_named(uri: str, address: str) -> ImageName | None:
    """The image that an ImageUri names in this ECR, whose registry is at `address`; None for one that is somewhere else.

    Raises ValueError for a URI that has the form of this ECR's and is not the name of an image.
    """
    host, slash, rest = uri.partition("/")
    if not slash:
        return None
    ours = is_registry_host(host) or host == address
    # The port is another one after a restart: what names account and region stays the same.
    if not ours and not (host.rpartition(":")[0] in _LOOPBACK and _PLACED.fullmatch(rest)):
        return None
    path, at, digest = rest.partition("@")
    head, slash, last = path.rpartition("/")
    last, colon, tag = last.partition(":")
    repository = repository_at(f"{head}{slash}{last}", host)
    wrong_tag = colon and (at or not TAG.fullmatch(tag))
    if repository is None or wrong_tag or (at and not DIGEST.fullmatch(digest)):
        raise ValueError(f"{uri} is not the name of an image")
    return ImageName(repository, tag or None, digest or None)


def address_of_gateway(url: str) -> str | None:
    """Host and port of the registry of a gateway at a URL; None where it cannot have one.

    Engines speak to a registry at the root of a server only, and without TLS only to this machine's loopback, where `localhost`
    is the name that other tools take for a registry, too.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.path.strip("/"):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{'localhost' if host in _LOOPBACK else host}:{port}"
