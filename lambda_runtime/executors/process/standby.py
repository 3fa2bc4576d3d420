"""A started interpreter that waits for a function: what it needs to know comes when there is one.

For languages whose processes cannot be forked. The interpreter is started in a sandbox of its own, before anybody asked for it;
then it gets the variables of an environment, whose code is mounted meanwhile. Only what an interpreter reads at its start
cannot be given to it later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from lambda_runtime.executors.process.output import OutputPipe

PAUSE_S = 0.2
"""How long after a start the next one is made ready: not while the last one's function starts."""
_READ_AT_START = ("LANG", "LC_", "LD_", "MALLOC_", "NODE_", "OPENSSL_", "SSL_", "TZ", "UV_")
_FOLLOWED = frozenset({"NODE_PATH"})


class Standby:
    """The gateway's side of it: the pipe that it writes to. On the loop only."""

    def __init__(self, pipe: OutputPipe) -> None:
        self.pipe = pipe
        self.write_end = os.dup(pipe.write_end)
        """What goes with the order to make one; the pipe keeps its own end, in case that it has ended when it is needed."""

    def close_write_end(self) -> None:
        """The zygote has its copy."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """It is not needed any more. May be called twice."""
        self.close_write_end()
        self.pipe.close()


def may_stand_by(variables: Mapping[str, str], given: Mapping[str, str]) -> bool:
    """Whether an interpreter that was started with the `given` variables can go on with these."""
    return all(
        given.get(name) == value
        for name, value in variables.items()
        if name.startswith(_READ_AT_START) and name not in _FOLLOWED
    )
