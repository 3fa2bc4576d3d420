"""The child process that runs moto: started when first needed, started again when it dies, ended with the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from lambda_provider.host import ServiceUnavailable
from lambda_provider.hosts.registry.place import RegistryPlace
from lambda_provider.hosts.services.link import Way

logger = logging.getLogger(__name__)

_EARLY_DEATHS_ALLOWED = 3
_BACKLOG = 1024
_REPORTS_BYTES = 64 * 1024


class MotoProcess:
    """One moto, at one address for the life of the gateway.

        IDLE -> STARTING -> RUNNING -> (died) STARTING -> …   -> STOPPED
                   \\-> FAILED (died several times before it was ready)

    The gateway owns the listening socket and the child inherits it: the address is known before the child exists, a request
    that arrives while it starts waits in the backlog, and a restarted child has the same address. Touched only on the
    gateway's loop, except `url`. Cancelling `ready()` cancels the wait, not the start.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.on_ready: list[Callable[[], None]] = []
        """Called on the loop each time a child is ready; what an earlier one knew is gone then."""
        self.on_report: Callable[[bytes], None] = lambda data: None
        """Called on the loop with what the child reports; see `moto_activity`."""
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._stopped = False

    def tell(self, told: Way | RegistryPlace) -> None:
        """How the child reaches the gateway, or where the registry is. Before the child is started."""
        self._environment.update(told.as_environment())

    @property
    def running(self) -> bool:
        """A child is there and answers."""
        return self._ready is not None and self._ready.done() and not self._failed()

    @property
    def wanted(self) -> bool:
        """Somebody asked for moto already; it runs, or is on its way."""
        return self._ready is not None

    @property
    def pid(self) -> int | None:
        """The process id of the child, if there is one."""
        return self._process.pid if self._process else None

    async def ready(self) -> None:
        """Return when moto answers, starting it if nobody did yet. Raises `ServiceUnavailable` with the reason."""
        if self._stopped:
            raise ServiceUnavailable("the gateway is stopping")
        if self._ready is None:
            if importlib.util.find_spec("moto") is None:
                raise ServiceUnavailable(
                    "other AWS services need moto, which is not installed: pip install 'lambda-provider[standalone]'"
                )
            self._ready = asyncio.get_running_loop().create_future()
            self._watcher = asyncio.create_task(self._keep_running(), name="moto")
        await asyncio.shield(self._ready)

    async def stop(self) -> None:
        """End the child and wait for it. May be called in any state, and twice."""
        self._stopped = True
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ServiceUnavailable("the gateway is stopping"))
        self._listener.close()

    async def _keep_running(self) -> None:
        early_deaths = 0
        while True:
            was_ready = await self._run_once()
            assert self._ready is not None
            early_deaths = 0 if was_ready else early_deaths + 1
            if early_deaths >= _EARLY_DEATHS_ALLOWED:
                self._ready.set_exception(ServiceUnavailable("moto ended before it was ready; its output says why"))
                # The exception may never be asked for; it was logged.
                self._ready.exception()
                # Nobody will accept: let clients see that, instead of waiting in the backlog.
                self._listener.close()
                logger.error("moto ended %d times before it was ready; other AWS services are off", early_deaths)
                return
            if was_ready:
                self._ready = asyncio.get_running_loop().create_future()
                logger.warning(
                    "moto ended unexpectedly and is started again: what the other AWS services held (buckets, queues, "
                    "logs, ...) is lost; Lambda itself is not affected"
                )

    async def _run_once(self) -> bool:
        """Start a child and wait until it ends; True if it was ready in between. Cancelling kills it."""
        started = time.monotonic()
        lifeline, childs_end = socket.socketpair()
        lifeline.setblocking(False)
        fds = (self._listener.fileno(), childs_end.fileno())
        # Popen is called on the loop, not in a thread: with PR_SET_PDEATHSIG the child dies with the thread that started it.
        process = self._process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-W", "ignore", "-m", "lambda_provider.hosts.moto_server", *map(str, fds)],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=2,
            env=self._environment,
            start_new_session=True,
        )
        childs_end.close()
        self.starts += 1
        was_ready = False
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(lifeline, _REPORTS_BYTES):
                if was_ready:
                    self.on_report(data)
                    continue
                was_ready = True
                logger.info("moto is ready after %.2f s (process %d)", time.monotonic() - started, process.pid)
                assert self._ready is not None
                self._ready.set_result(None)
                for callback in self.on_ready:
                    callback()
                self.on_report(data.partition(b"\n")[2])
        except OSError:
            logger.debug("the lifeline of moto broke", exc_info=True)
        finally:
            lifeline.close()
            process.kill()
            # The process is dead or dying; reaping takes no time worth a thread.
            process.wait()
            self._process = None
        return was_ready

    def _failed(self) -> bool:
        return self._ready is not None and (self._ready.cancelled() or self._ready.exception() is not None)
