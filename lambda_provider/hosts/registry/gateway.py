"""The registry as a host has it: opened with the gateway, with a directory that ends with it or outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from lambda_provider.asgi import Receive, Scope, Send
from lambda_provider.host import ContainerImage
from lambda_provider.hosts.registry.application import Registry, for_registry
from lambda_provider.hosts.registry.ecr import Ecr
from lambda_provider.hosts.registry.ecr import Send as SendToEcr
from lambda_provider.hosts.registry.images import find_image
from lambda_provider.hosts.registry.names import address_of_gateway
from lambda_provider.hosts.registry.place import RegistryPlace
from lambda_runtime.scratch import Scratch

_SETTING = "LAMBDA_ECR_ENDPOINT"


class GatewayRegistry:
    """The registry of one gateway, between `open` and `close`. On the loop, but for `find_image`, which is for any thread."""

    CHANGED_BY: ClassVar[frozenset[str]] = frozenset({"ecr", "cloudformation"})
    """Services whose requests may delete images."""

    def __init__(self, settings: Mapping[str, str], send: SendToEcr) -> None:
        """`send` reaches whatever answers ECR's API. Raises ValueError for a setting that cannot be used."""
        self._endpoint = _endpoint(settings.get(_SETTING, ""))
        self._ecr = Ecr(send)
        self._kept: Path | None = None
        self._scratch: Scratch | None = None
        self._registry: Registry | None = None
        self.address = ""
        """Host and port by which engines reach the registry; empty if they cannot."""

    def keep_in(self, directory: Path) -> None:
        """What is pushed outlives the gateway there. Before `open`."""
        self._kept = directory

    def open(self, url: str) -> RegistryPlace:
        """Begin, or go on under another URL of the gateway; where everything is."""
        self.address = self._endpoint or address_of_gateway(url) or ""
        if self._kept is None and self._scratch is None:
            self._scratch = Scratch()
        directory = self._kept or (self._scratch.path / "registry" if self._scratch else Path())
        place = RegistryPlace(self.address, directory, durable=self._kept is not None)
        if self._registry is None:
            self._registry = Registry(place, self._ecr)
        return place

    def takes(self, scope: Scope, service: str, is_bucket: Callable[[str], bool]) -> bool:
        """Whether a request is for the registry; see `for_registry`."""
        return self._registry is not None and for_registry(scope, service, is_bucket)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is for the registry."""
        assert self._registry is not None, "`takes` was asked first"
        await self._registry(scope, receive, send)

    def changed(self) -> None:
        """ECR may have deleted images."""
        if self._registry is not None:
            self._registry.changed()

    def find_image(self, uri: str) -> ContainerImage | None:
        """See `Host.find_image`."""
        registry = self._registry
        return None if registry is None else find_image(registry.catalog, registry.blobs, self.address, uri)

    async def forget(self) -> None:
        """Delete all images."""
        if self._registry is not None:
            await self._registry.forget()

    async def close(self) -> None:
        """Delete what does not outlive the gateway. May be called twice."""
        registry, self._registry = self._registry, None
        if registry is not None:
            await registry.stop()
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            await asyncio.to_thread(scratch.remove)


def _endpoint(text: str) -> str:
    """Host and port out of what somebody wrote: `gateway:4566`, `http://gateway:4566/`."""
    if not text:
        return ""
    parts = urlsplit(text if "://" in text else f"//{text}")
    if not parts.netloc or parts.path.strip("/") or "@" in parts.netloc:
        raise ValueError(f"setting {_SETTING}={text!r}: must be HOST:PORT, as the Docker engine reaches the gateway")
    return parts.netloc
