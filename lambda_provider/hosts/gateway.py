"""The gateway from its first request to its last: host, provider and server started and stopped in the right order."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_provider.hosts.application import HostedLambda
from lambda_provider.hosts.embedded import make_host
from lambda_provider.hosts.server import GatewayServer, listen, stop_on_signals, url_of


@dataclass(frozen=True)
class GatewayOptions:
    """What `lambda-provider start` can be told. `port` 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 4566
    executor: str = "process"
    state_dir: Path | None = None
    host_adapter: str = "standalone"


class Gateway:
    """One gateway at one address.

    Creating it takes the address, so that a busy port is known at once: OSError. `serve` runs until `stop` is called on its
    loop or, with `signals`, until SIGINT or SIGTERM; a second stop does not wait for requests that are under way.
    """

    def __init__(self, options: GatewayOptions, host: Any = None) -> None:
        """`host` is taken instead of the one that the options name."""
        self.options = options
        self._host = host
        self._hosted: HostedLambda | None = None
        self._listener: socket.socket = listen(options.host, options.port)
        self.url = url_of(self._listener, options.host)
        self._server: GatewayServer | None = None

    async def serve(self, on_ready: Callable[[str], None] = lambda url: None, *, signals: bool = False) -> None:
        """Start everything, call `on_ready` with the URL, and return when all is stopped again.

        Raises LookupError for an unknown executor or host, ValueError for a setting and StateError for a state directory that
        cannot be used.
        """
        with contextlib.closing(self._listener):
            host = make_host(self.options.host_adapter, os.environ) if self._host is None else self._host
            hosted = self._hosted = HostedLambda(host, executor=self.options.executor, state_dir=self.options.state_dir)
            try:
                await hosted.start(self.url)
                self._server = GatewayServer(hosted.application, lambda: on_ready(self.url))
                if signals:
                    stop_on_signals(self._server)
                await self._server.serve([self._listener])
            finally:
                await hosted.stop()

    @property
    def hosted(self) -> HostedLambda:
        """What the gateway serves. Raises RuntimeError before `serve`."""
        if self._hosted is None:
            raise RuntimeError("the gateway was not started")
        return self._hosted

    def stop(self) -> None:
        """End `serve`. Only on its loop."""
        if self._server is not None:
            self._server.stop()
