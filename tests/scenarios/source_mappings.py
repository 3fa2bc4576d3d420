"""Event source mappings of a real gateway, and functions that tell what they were called with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from ..conftest import short_name, zip_of
from .conftest import Functions
from .witness import PATIENCE_S, TELLS, Witness

TELLS_EVENT = (
    TELLS
    + """
import json, os
def handler(event, context):
    tell(int(os.environ["PORT"]), json.dumps(event))
    if os.environ.get("FAILS") and os.environ["FAILS"] in json.dumps(event):
        raise ValueError("on purpose")
"""
)
"""Tells its event, and fails when that has the text of the variable FAILS in it."""


class SourceMappings:
    """What a test makes on a gateway, of which `client` gives the clients; it goes with `end`."""

    def __init__(self, client: Callable[..., Any], witness: Witness) -> None:
        self.client, self.witness = client, witness
        self.lambda_ = client("lambda")
        self.uuids: list[str] = []
        self.functions: set[str] = set()

    @cached_property
    def secrets(self) -> Any:
        return self.client("secretsmanager")

    def function(
        self, source: str = TELLS_EVENT, *, name: str | None = None, timeout_s: int = 30, **variables: str
    ) -> str:
        """The name of a function that knows where the witness is: the variable PORT."""
        name = name or short_name()
        environment = {"Variables": {"PORT": str(self.witness.port), **variables}}
        Functions(self.lambda_, zip_of).create(name, source, Environment=environment, Timeout=timeout_s)
        self.functions.add(name)
        return name

    def heard(self, count: int) -> list[str]:
        """What functions told, once they told so much."""
        return self.witness.until(lambda lines: len(lines) >= count)

    def events(self, count: int) -> list[dict[str, Any]]:
        """What functions got, once it is so many events."""
        return [json.loads(line) for line in self.heard(count)]

    def secret(self, **content: str) -> str:
        """The ARN of a secret."""
        answer = self.secrets.create_secret(Name=short_name("secret"), SecretString=json.dumps(content))
        return str(answer["ARN"])

    def make(self, function: str, **parameters: Any) -> str:
        """A mapping's UUID, once it is enabled."""
        answer = self.lambda_.create_event_source_mapping(FunctionName=function, **parameters)
        self.uuids.append(answer["UUID"])
        self.get(answer["UUID"])
        return self.uuids[-1]

    def update(self, uuid: str, **parameters: Any) -> None:
        """Change a mapping; returns when that is so for clients."""
        self.lambda_.update_event_source_mapping(UUID=uuid, **parameters)
        self.settled(uuid)

    def get(self, uuid: str) -> dict[str, Any]:
        return dict(self.lambda_.get_event_source_mapping(UUID=uuid))

    def until(self, uuid: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The mapping, once a condition holds of it."""
        return dict(until(lambda: self.get(uuid), condition))

    def settled(self, uuid: str) -> None:
        """Return when a mapping is not in between two states."""
        self.until(uuid, lambda mapping: mapping["State"] in ("Enabled", "Disabled"))

    def end(self) -> None:
        for uuid in self.uuids:
            self.settled(uuid)
            self.lambda_.delete_event_source_mapping(UUID=uuid)
        for name in self.functions:
            self.lambda_.delete_function(FunctionName=name)


def until(look: Callable[[], Any], condition: Callable[[Any], bool]) -> Any:
    """What is seen once a condition holds of it. Brokers have nothing to wait on, so they are looked at again and again."""
    over = time.monotonic() + PATIENCE_S
    while not condition(found := look()):
        assert time.monotonic() < over, found
        time.sleep(0.05)
    return found
