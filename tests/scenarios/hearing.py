"""A function that tells a witness its event: proof of what other services hand over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.scenarios.witness import TELLS, Witness

HEARS = f"""{TELLS}
import json, os
def handler(event, context):
    heard = {{"event": event, "arn": context.invoked_function_arn, "trace": os.environ.get("_X_AMZN_TRACE_ID")}}
    tell(int(os.environ["PORT"]), json.dumps(heard))
    return event
"""


@dataclass(frozen=True)
class Hearing:
    """A function, and what it was called with."""

    arn: str
    name: str
    witness: Witness

    def events(self, count: int = 1) -> list[Any]:
        """The first `count` events, once they are there."""
        return [each["event"] for each in self.calls(count)]

    def calls(self, count: int = 1) -> list[dict[str, Any]]:
        """The first `count` calls: `event`, `arn` and `trace`."""
        heard = self.witness.until(lambda all_of_it: len(all_of_it) >= count)
        return [json.loads(text) for text in heard[:count]]


def hearing(
    deploy: Callable[..., str], account: str = "000000000000", region: str = "us-east-1", source: str = HEARS
) -> Iterator[Hearing]:
    """Deploy such a function; for fixtures: `yield from hearing(deploy)`."""
    with Witness() as witness:
        name = deploy(
            source, account=account, region=region, Environment={"Variables": {"PORT": str(witness.port)}}, Timeout=30
        )
        yield Hearing(f"arn:aws:lambda:{region}:{account}:function:{name}", name, witness)
