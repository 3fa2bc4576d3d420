"""Functions, secrets and mappings on a gateway that knows where real brokers are."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

from ..conftest import DEFAULT_ACCOUNT, DEFAULT_REGION, RunningGateway, client_for, short_name, zip_of
from .conftest import Functions
from .message_brokers import PASSWORD, USER
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


class Mappings:
    """What was made goes with `end`."""

    def __init__(self, gateway: RunningGateway, witness: Witness) -> None:
        self.gateway, self.witness = gateway, witness
        self.lambda_ = client_for(gateway.url, "lambda")
        self.secrets = client_for(gateway.url, "secretsmanager")
        self.uuids: list[str] = []
        self.functions: list[str] = []

    def function(self, source: str = TELLS_EVENT, **variables: str) -> str:
        """The name of a function that tells the witness."""
        environment = {"Variables": {"PORT": str(self.witness.port), **variables}}
        created = Functions(self.lambda_, zip_of).create(short_name(), source, Environment=environment, Timeout=30)
        self.functions.append(created)
        return created

    def secret(self, **content: str) -> str:
        """The ARN of a secret; without content that of the brokers' user."""
        text = json.dumps(content or {"username": USER, "password": PASSWORD})
        return str(self.secrets.create_secret(Name=short_name("secret"), SecretString=text)["ARN"])

    def connect(
        self, arn: str, function: str, *, secret: str | None = None, virtual_host: str | None = None, **parameters: Any
    ) -> str:
        """A mapping's UUID, once it is enabled. Its window is long enough for what was sent together to come together."""
        parameters = {"MaximumBatchingWindowInSeconds": 5, **parameters}
        access = [{"Type": "BASIC_AUTH", "URI": secret or self.secret()}]
        if virtual_host is not None:
            access.append({"Type": "VIRTUAL_HOST", "URI": virtual_host})
        answer = self.lambda_.create_event_source_mapping(
            FunctionName=function, EventSourceArn=arn, SourceAccessConfigurations=access, **parameters
        )
        self.uuids.append(answer["UUID"])
        self.get(answer["UUID"])
        return self.uuids[-1]

    def enable(self, uuid: str, enabled: bool) -> None:
        """Begin or end to consume; returns when that is so for clients."""
        self.lambda_.update_event_source_mapping(UUID=uuid, Enabled=enabled)
        self.until(uuid, lambda mapping: mapping["State"] in ("Enabled", "Disabled"))

    def get(self, uuid: str) -> dict[str, Any]:
        return dict(self.lambda_.get_event_source_mapping(UUID=uuid))

    def until(self, uuid: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The mapping, once a condition holds of it."""
        return dict(until(lambda: self.get(uuid), condition))

    def events(self, count: int) -> list[dict[str, Any]]:
        """What functions got, once it is so many events."""
        return [json.loads(line) for line in self.witness.until(lambda lines: len(lines) >= count)]

    def end(self) -> None:
        for uuid in self.uuids:
            self.until(uuid, lambda mapping: mapping["State"] in ("Enabled", "Disabled"))
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


def broker_arn(name: str) -> str:
    return f"arn:aws:mq:{DEFAULT_REGION}:{DEFAULT_ACCOUNT}:broker:{name}:b-{name}"


def text(record: dict[str, Any]) -> str:
    """The data of a record."""
    return base64.b64decode(record["data"]).decode()
