"""The shutdown phase of an environment that has extensions.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from lambda_runtime.executors.base import Sandbox
from lambda_runtime.extensions import ExtensionGroup
from lambda_runtime.telemetry import TelemetryPlatformLog

INTERNAL_LIMIT_S = 0.5
_RUNTIME_LIMIT_S = 0.3
_RUNTIME_LIMIT_WITH_INTERNAL_S = 0.5


def reason_after(status: str) -> str:
    """The reason with which an environment is shut down after an invocation or init with this outcome."""
    return "timeout" if status == "timeout" else "failure"


async def shut_down(
    sandbox: Sandbox,
    extensions: ExtensionGroup,
    telemetry: TelemetryPlatformLog,
    reason: str,
    limit_s: float,
    on_end: Callable[[], None],
) -> None:
    """End the runtime, then give the extensions what is left of the time.

    The runtime gets SIGTERM, and SIGKILL after 300 ms (500 ms with an internal extension). Then those extensions that want it get
    their SHUTDOWN event with the reason (`spindown`, `timeout` or `failure`), and all of it is over when their processes have
    ended or `limit_s` (2 s on AWS) have passed; without external extensions with the runtime. `on_end` is called in any case,
    also when this is cancelled, and has to kill the sandbox.
    """
    began, loop = time.time(), asyncio.get_running_loop()
    until = loop.time() + (limit_s if extensions.any_external else INTERNAL_LIMIT_S)
    try:
        sandbox.terminate()
        grace_s = _RUNTIME_LIMIT_WITH_INTERNAL_S if extensions.any_internal else _RUNTIME_LIMIT_S
        await asyncio.wait([sandbox.exited], timeout=grace_s)
        if not sandbox.exited.done():
            sandbox.kill_runtime()
        sandbox.drain_output()
        if extensions.any_external:
            await telemetry.flush(min(grace_s, until - loop.time()))
            changed = asyncio.Event()
            extensions.shut_down(reason, int((began + limit_s) * 1000), changed.set)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    while not extensions.shut_down_in_peace:
                        changed.clear()
                        await changed.wait()
    finally:
        on_end()
