"""X-Ray's trace header: made where there is none, and sampled where the function traces actively.

https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader, and for the sampling
https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html: the first request each second, and five percent of the others.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

ACTIVE = "Active"
SHARE = 0.05


def new_trace_header() -> str:
    """A trace that nobody sampled, as Lambda makes one for a request without: `Root=1-…;Parent=…;Sampled=0`."""
    # Ids that have to be unique, not secret: a generator in the process costs a tenth of asking the kernel.
    ids = random.getrandbits(160)
    return f"Root=1-{int(time.time()):08x}-{ids >> 64:024x};Parent={ids & 0xFFFFFFFFFFFFFFFF:016x};Sampled=0"


class Sampler:
    """Decides for functions with active tracing which of their requests are sampled. Touched only on the runtime loop."""

    def __init__(self, now: Callable[[], float] = time.time, draw: Callable[[], float] = random.random) -> None:
        self._now = now
        self._draw = draw
        self._last: dict[str, int] = {}

    def header(self, received: str | None, function_arn: str, tracing_mode: str) -> str | None:
        """The header for an invocation, from the one that came with the request; None if there is none and none is needed.

        Whoever sent the request may have decided already (`Sampled=0` or `1`). A sampled trace gets the function's segment as
        the parent of what the function calls.
        """
        if tracing_mode != ACTIVE:
            return received
        fields = dict(field.split("=", 1) for field in (received or "").split(";") if "=" in field)
        if fields.get("Sampled") not in ("0", "1"):
            fields["Sampled"] = "1" if self._sample(function_arn) else "0"
        made = dict(field.split("=", 1) for field in new_trace_header().split(";"))
        if fields["Sampled"] == "1":
            fields["Parent"] = made["Parent"]
        ordered = {name: fields.pop(name, made[name]) for name in ("Root", "Parent", "Sampled")}
        return ";".join(f"{name}={value}" for name, value in {**ordered, **fields}.items())

    def _sample(self, function_arn: str) -> bool:
        second = int(self._now())
        if self._last.get(function_arn) != second:
            self._last[function_arn] = second
            return True
        return self._draw() < SHARE
