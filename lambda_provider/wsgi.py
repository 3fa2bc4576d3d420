"""Lambda for WSGI servers (`gunicorn lambda_provider.wsgi:app`), and for WSGI applications that mount us: docs/hosts.md.

The data plane lives on an event loop in a thread of its own, which the first request of a process starts: a server may load this
and fork afterwards. Everything ends with the process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lambda_provider.hosts.embedded import EmbeddedApplication

if TYPE_CHECKING:
    from lambda_provider.hosts.loop_thread import LoopThread

STOP_TIMEOUT_S = 10.0
"""How long the end of a process waits for that of its functions."""


class WsgiApplication:
    """A WSGI application around an `EmbeddedApplication`, which explains the arguments.

    The server has to run several threads: a function that calls its host while a request waits for the function needs a second
    one. Several processes would be as many emulators.
    """

    def __init__(self, **options: Any) -> None:
        EmbeddedApplication(**options)  # What cannot be is said now, not at the first request.
        self._options = options
        self._lock = threading.Lock()
        self._running: tuple[LoopThread, EmbeddedApplication] | None = None
        os.register_at_fork(after_in_child=self._forget)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        from lambda_provider.hosts.wsgi_exchange import Exchange

        thread, application = self._started()
        exchange = Exchange(thread, application, environ)
        try:
            exchange.begin(start_response)
        except BaseException:
            exchange.close()
            raise
        return exchange

    def stop(self) -> None:
        """End functions, and the thread. May be called twice; the next request starts anew."""
        with self._lock:
            if self._running is None:
                return
            (thread, application), self._running = self._running, None
            try:
                thread.run(application.stop(), STOP_TIMEOUT_S)
            finally:
                thread.stop()

    def _forget(self) -> None:
        """Nothing runs in this process: threads do not come along into a forked one, and what they held is the parent's."""
        self._lock = threading.Lock()
        self._running = None

    def _started(self) -> tuple[LoopThread, EmbeddedApplication]:
        from lambda_provider.hosts.loop_thread import at_exit

        with self._lock:
            if self._running is None:
                self._running = self._start()
                at_exit(self.stop)
            return self._running

    def _start(self) -> tuple[LoopThread, EmbeddedApplication]:
        from lambda_provider.hosts.loop_thread import LoopThread
        from lambda_provider.hosts.server import new_event_loop

        thread, application = LoopThread("lambda-provider", new_event_loop), EmbeddedApplication(**self._options)
        try:
            thread.run(application.start())
        except BaseException:
            thread.stop()
            raise
        return thread, application


create_app = WsgiApplication
"""Makes an application that is told by its arguments, where `app` is told by the environment."""

app = create_app()
