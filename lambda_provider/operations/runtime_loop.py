"""From the thread of an operation to the loop of the data plane, which may have ended."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from lambda_runtime.service import RuntimeService

logger = logging.getLogger(__name__)

T = TypeVar("T")


def submit(runtime: RuntimeService, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T] | None:
    """Run work on the runtime's loop, in the order of calls. None, and nothing happens, when the loop does not run (any more)."""
    try:
        return runtime.submit(work)
    except RuntimeError as error:
        work.close()
        logger.info("not done, the runtime is not running: %s", error)
        return None
