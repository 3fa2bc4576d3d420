"""The start of an interpreter before there is a function for it.

It reads what it is to do from a descriptor: the request, whole, when the environment's own directories are mounted. What comes
with the request are descriptors that it has already, so they are dropped.
"""

from __future__ import annotations

import json
import os
from typing import Any

from . import environment, messages

DESCRIPTOR = 4
"""Where the interpreter reads its request."""


def order_in(message: bytes) -> dict[str, Any] | None:
    """What is to be started, if the message is an order to stand by."""
    return json.loads(message)["stand_by"] if message.startswith(b'{"stand_by"') else None


def execute(order: dict[str, Any], output: int, requests: messages.Channel) -> int:
    """Replace this process, which is `sbx_user1051` already. Returns only if that failed: the exit code of a shell."""
    environment.limit(order["limits"])
    environment.attach(output)
    os.dup2(requests.fileno(), DESCRIPTOR)
    os.closerange(DESCRIPTOR + 1, 256)
    command: list[str] = order["command"]
    try:
        os.execve(command[0], command, order["variables"])
    except OSError:
        return 126
