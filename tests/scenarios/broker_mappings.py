"""Mappings of real brokers, on a gateway that knows where they are."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from ..conftest import DEFAULT_ACCOUNT, DEFAULT_REGION, RunningGateway, client_for, start_gateway, stop_gateway
from .message_brokers import PASSWORD, USER
from .source_mappings import SourceMappings
from .witness import Witness


class Mappings(SourceMappings):
    def __init__(self, gateway: RunningGateway, witness: Witness) -> None:
        super().__init__(lambda service: client_for(gateway.url, service), witness)
        self.gateway = gateway

    def secret(self, **content: str) -> str:
        """The ARN of a secret; without content that of the brokers' user."""
        return super().secret(**(content or {"username": USER, "password": PASSWORD}))

    def connect(
        self, arn: str, function: str, *, secret: str | None = None, virtual_host: str | None = None, **parameters: Any
    ) -> str:
        """A mapping's UUID, once it is enabled. Its window is long enough for what was sent together to come together."""
        parameters = {"MaximumBatchingWindowInSeconds": 5, **parameters}
        access = [{"Type": "BASIC_AUTH", "URI": secret or self.secret()}]
        if virtual_host is not None:
            access.append({"Type": "VIRTUAL_HOST", "URI": virtual_host})
        return self.make(function, EventSourceArn=arn, SourceAccessConfigurations=access, **parameters)


def mappings_of(gateway: RunningGateway) -> Iterator[Mappings]:
    """For fixtures: `yield from mappings_of(gateway)`."""
    with Witness() as witness:
        made = Mappings(gateway, witness)
        yield made
        made.end()


def gateway_that_knows(name: str, url: str, tls_url: str, certificate: object) -> Iterator[RunningGateway]:
    """For fixtures: a gateway on which a broker has that name, and by TLS those of how far it is trusted."""
    endpoints = [
        f"{name}={url}",
        f"trusted={tls_url}?cafile={certificate}",
        f"anybody={tls_url}?no_verify_ssl=1",
        f"stranger={tls_url}",
    ]
    running = start_gateway(env={"LAMBDA_MQ_ENDPOINTS": ",".join(endpoints), "LAMBDA_CLOCK_RATE": "10"})
    yield running
    stop_gateway(running)


def broker_arn(name: str) -> str:
    return f"arn:aws:mq:{DEFAULT_REGION}:{DEFAULT_ACCOUNT}:broker:{name}:b-{name}"


def text(record: dict[str, Any]) -> str:
    """The data of a record."""
    return base64.b64decode(record["data"]).decode()
