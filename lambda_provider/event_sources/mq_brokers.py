"""Where the broker of a mapping is, what it is, and as whom we come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.event_sources.credentials import Credentials, basic_credentials
from lambda_provider.event_sources.endpoints import overridden
from lambda_provider.event_sources.source import AUTHENTICATION_ERROR, AUTHORIZATION_ERROR, EventSource, SourceProblem
from lambda_provider.host import ServiceUnavailable

SETTING = "LAMBDA_MQ_ENDPOINTS"

RABBITMQ = "RabbitMQ"
ACTIVEMQ = "ActiveMQ"

_ENGINES = {"amqp": RABBITMQ, "amqps": RABBITMQ, "stomp": ACTIVEMQ, "stomp+ssl": ACTIVEMQ}
_PORTS = {"amqp": 5672, "amqps": 5671, "stomp": 61613, "stomp+ssl": 61614}


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that can be connected to. `virtual_host` is RabbitMQ's.

    The query of the endpoint's URL may have `cafile=PATH`, the authority that signed the broker's certificate, and
    `no_verify_ssl=1`, which trusts any.
    """

    url: str
    credentials: Credentials
    virtual_host: str = "/"

    @property
    def engine(self) -> str:
        """RABBITMQ or ACTIVEMQ."""
        return _ENGINES[urlsplit(self.url).scheme]

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme in ("amqps", "stomp+ssl")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "localhost", parts.port or _PORTS[parts.scheme]

    def option(self, name: str) -> str | None:
        """A parameter of the URL's query."""
        return next(iter(parse_qs(urlsplit(self.url).query).get(name, ())), None)


async def find_broker(source: EventSource) -> Broker:
    """The broker of a mapping, as its setting or the host's Amazon MQ says. Raises SourceProblem."""
    url = await _url(source)
    parts = urlsplit(url)
    if parts.scheme not in _ENGINES:
        raise SourceProblem(
            f"{url!r} is no endpoint that can be used: amqp:// and amqps:// are RabbitMQ's, "
            "stomp:// and stomp+ssl:// ActiveMQ's"
        )
    credentials = await basic_credentials(source)
    if credentials is None:
        raise SourceProblem("the mapping has no BASIC_AUTH credentials", reason=AUTHENTICATION_ERROR)
    virtual_host = next((each.uri for each in source.settings.access or () if each.type == "VIRTUAL_HOST"), None)
    return Broker(url, credentials, virtual_host or "/")


async def _url(source: EventSource) -> str:
    """What the setting says of the broker's name or id, of the name that Amazon MQ knows, of all others, or what Amazon MQ says.

    Not every host's ARNs have the name in them.
    """
    name, _, id_ = (source.mapping.event_source_arn or "").partition(":broker:")[2].partition(":")
    setting = source.setting(SETTING)
    if (url := overridden(setting, {name, id_}, default_too=False)) is not None:
        return url
    default = overridden(setting, ())
    try:
        described = await _describe(source, id_ or name)
    except SourceProblem:
        if default is None:
            raise
        return default
    named = overridden(setting, {described.get("BrokerName", "")}, default_too=False)
    return named or default or _endpoint(described)


async def _describe(source: EventSource, id_: str) -> Mapping[str, Any]:
    """What Amazon MQ knows of a broker. Raises SourceProblem."""
    try:
        client = await source.call(source.client, "mq")
        return dict(await source.call(client.describe_broker, BrokerId=id_))
    except (ClientError, BotoCoreError, ServiceUnavailable, OSError) as error:
        code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
        reason = {"reason": AUTHORIZATION_ERROR} if code in ("ForbiddenException", "AccessDeniedException") else {}
        raise SourceProblem(f"Amazon MQ knows no broker {id_}, and {SETTING} names none: {error}", **reason) from error


def _endpoint(broker: Mapping[str, Any]) -> str:
    endpoints = [url for instance in broker.get("BrokerInstances") or () for url in instance.get("Endpoints") or ()]
    for url in endpoints:
        if urlsplit(url).scheme in _ENGINES and (
            _ENGINES[urlsplit(url).scheme].upper() == str(broker.get("EngineType", "")).upper()
        ):
            return str(url)
    raise SourceProblem(f"the broker has no endpoint for AMQP (RabbitMQ) or STOMP (ActiveMQ): {endpoints}")
