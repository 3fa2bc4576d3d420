"""A gateway in a thread of its own, for tests."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Coroutine
from typing import Any, TypeVar

from lambda_provider.hosts.application import HostedLambda
from lambda_provider.hosts.gateway import Gateway, GatewayOptions
from lambda_provider.hosts.loop_thread import LoopThread
from lambda_provider.hosts.server import new_event_loop

START_TIMEOUT_S = 30.0

T = TypeVar("T")


class GatewayThread:
    """Serves from its creation to `stop`; `url` is where. `host` is taken instead of the one that the options name.

    Creating it raises what `Gateway` and its `serve` raise. Usable from every thread.
    """

    def __init__(self, options: GatewayOptions, host: Any = None) -> None:
        self._gateway = Gateway(options, host)
        self.url = self._gateway.url
        self._thread = LoopThread("lambda-gateway", new_event_loop)
        ready: concurrent.futures.Future[str] = concurrent.futures.Future()
        self._serving = self._thread.submit(self._gateway.serve(ready.set_result))
        either: list[concurrent.futures.Future[Any]] = [ready, self._serving]
        try:
            concurrent.futures.wait(either, START_TIMEOUT_S, concurrent.futures.FIRST_COMPLETED)
            if not ready.done():
                self._serving.result(0)
        except BaseException:
            self._thread.stop()
            raise

    @property
    def hosted(self) -> HostedLambda:
        """What it serves; belongs to its loop, so look at it with `run`."""
        return self._gateway.hosted

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine on the gateway's loop and wait for its result. Raises TimeoutError, and cancels it, after that time."""
        return self._thread.run(work, timeout_s)

    def stop(self) -> None:
        """End everything, as at SIGTERM, and return when it has ended. Not on the loop itself."""
        self._thread.loop.call_soon_threadsafe(self._gateway.stop)
        try:
            self._serving.result()
        finally:
            self._thread.stop()
