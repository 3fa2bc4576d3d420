"""Addresses of this machine in an environment's variables, as its containers reach them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit, urlunsplit

from lambda_runtime.executors.containers.relay import Relay

LOOPBACK = "127.0.0.1"
_OF_LISTENERS = ("AWS_LAMBDA_RUNTIME_API", "AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_ADDRESS")
"""Variables that begin with the address of a listener of ours."""


class Addresses:
    """Rewrites variables, and relays the gateway's own address where containers cannot reach it. On the loop only."""

    def __init__(self, endpoint_url: Callable[[], str | None]) -> None:
        """`endpoint_url` tells the gateway's URL as functions on this machine have it."""
        self._endpoint_url = endpoint_url
        self._ports: dict[tuple[str, str, int], asyncio.Task[int]] = {}
        self._relays: list[Relay] = []

    async def as_seen(
        self,
        variables: Mapping[str, str],
        *,
        listeners: str,
        gateway: str,
        relays: str | None,
        from_this_machine: bool = False,
    ) -> dict[str, str]:
        """The variables with `gateway`, by which containers know this machine, in place of `listeners`, where ours are bound.

        AWS_ENDPOINT_URL, if it is the gateway's and only this machine can use it, becomes that of a relay which listens at
        `relays`; None leaves it alone, for containers that share this machine's network. `from_this_machine` keeps others out of
        the relay. Raises OSError if none can be opened.
        """
        found = dict(variables)
        for name in _OF_LISTENERS:
            if found.get(name, "").startswith(listeners):
                found[name] = gateway + found[name].removeprefix(listeners)
        url = self._endpoint_url()
        if url and found.get("AWS_ENDPOINT_URL") == url and relays is not None:
            found["AWS_ENDPOINT_URL"] = await self._relayed(url, relays, gateway, from_this_machine)
        return found

    def close(self) -> None:
        """Relay no more. May be called twice."""
        for relay in self._relays:
            relay.close()
        self._relays.clear()
        self._ports.clear()

    async def _relayed(self, url: str, listen: str, gateway: str, from_this_machine: bool) -> str:
        parts = urlsplit(url)
        if not is_loopback(parts.hostname):
            return url
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or LOOPBACK
        key = (listen, host, port)
        opening = self._ports.get(key)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception() is not None)):
            relay = Relay(host, port)
            self._relays.append(relay)
            opening = asyncio.ensure_future(relay.open(listen, from_this_machine=from_this_machine))
            self._ports[key] = opening
        own_port = await asyncio.shield(opening)
        return urlunsplit(parts._replace(netloc=f"{gateway}:{own_port}"))


def is_loopback(host: str | None) -> bool:
    """Whether a host of a URL means this machine alone. Resolves names: blocking, if not for long."""
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except OSError:
        return False
    return all(str(each[4][0]).startswith("127.") or each[4][0] == "::1" for each in found)
