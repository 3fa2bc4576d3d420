"""From the cluster to the partitions by way of a schema registry: in order, and in threads, since it takes time."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from lambda_provider.event_sources.alarm import Alarm
from lambda_provider.event_sources.credentials import Credentials, read_secret
from lambda_provider.event_sources.kafka_cluster import CERTIFICATE_PROBLEM, token_client
from lambda_provider.event_sources.kafka_records import Record
from lambda_provider.event_sources.kafka_schemas import (
    ConfluentRegistry,
    Door,
    GlueRegistry,
    InvalidRecord,
    Registry,
    RegistryProblem,
    Schemas,
)
from lambda_provider.event_sources.source import AUTHENTICATION_ERROR, EventSource, SourceProblem, retry_delay_s

MOST_WAITING = 5000
"""Records that wait for their schema before nothing more is fetched."""

Decoded = Sequence[tuple[Record, Record | InvalidRecord]]
"""Each record as it came, and as the function gets it, or why it does not get it."""


class Decoder:
    """Takes what arrives and hands it on decoded. A registry that does not answer is waited for. Touched only on the loop."""

    def __init__(
        self,
        source: EventSource,
        schemas: Schemas,
        hand_on: Callable[[Decoded], Awaitable[None]],
        trouble: Callable[[RegistryProblem], None],
        flow: Callable[[bool], None],
    ) -> None:
        """`flow` is told whether more is wanted, when that changes."""
        self._source = source
        self._schemas = schemas
        self._hand_on = hand_on
        self._trouble = trouble
        self._flow = flow
        self._chunks: deque[Sequence[Record]] = deque()
        self._waiting = 0
        self._news = Alarm(source.clock, None, None)

    def put(self, records: Sequence[Record]) -> None:
        """Records came."""
        before = self._waiting
        self._chunks.append(records)
        self._waiting += len(records)
        self._news.ring()
        if before < MOST_WAITING <= self._waiting:
            self._flow(False)

    async def run(self) -> None:
        """Work until it is cancelled."""
        while True:
            self._news.clear()
            while self._chunks:
                chunk = self._chunks.popleft()
                decoded = await self.decode(chunk)
                await self._hand_on(list(zip(chunk, decoded, strict=True)))
                before = self._waiting
                self._waiting -= len(chunk)
                if before >= MOST_WAITING > self._waiting:
                    self._flow(True)
            await self._news.wait(None)

    async def decode(self, chunk: Sequence[Record]) -> Sequence[Record | InvalidRecord]:
        """Records as the function gets them, or why it does not get one; waits for the registry."""
        failures = 0
        while True:
            try:
                return await self._source.call(self._schemas.decode, chunk)
            except RegistryProblem as problem:
                self._trouble(problem)
                failures += 1
                await self._source.clock.sleep_until(self._source.clock.now() + retry_delay_s(failures))


async def schemas_of(source: EventSource, config: Mapping[str, Any]) -> Schemas | None:
    """What a KafkaSchemaRegistryConfig says; None if nothing is to be validated. Raises SourceProblem."""
    attributes = [each["Attribute"].lower() for each in config.get("SchemaValidationConfigs") or ()]
    uri = config.get("SchemaRegistryURI") or ""
    if not attributes or not uri:
        return None
    return Schemas(await _registry(source, uri, config), config.get("EventRecordFormat") == "JSON", attributes)


async def _registry(source: EventSource, uri: str, config: Mapping[str, Any]) -> Registry:
    if uri.startswith("arn:"):
        return GlueRegistry(lambda: source.client("glue"))
    found: dict[str, Any] = {}
    for access in config.get("AccessConfigs") or ():
        secret = await read_secret(source, access["URI"])
        if access["Type"] == "BASIC_AUTH":
            found["credentials"] = Credentials(str(secret.get("username")), str(secret.get("password")))
        elif access["Type"] == "OAUTHBEARER_AUTH":
            found["tokens"] = token_client(secret)
        elif access["Type"] == "SERVER_ROOT_CA_CERTIFICATE":
            found["authority"] = secret.get("certificate")
        else:
            found |= {"certificate": secret.get("certificate"), "key": secret.get("privateKey")}
            found["key_password"] = secret.get("privateKeyPassword")
    try:
        return ConfluentRegistry(uri, Door(**found))
    except (OSError, TypeError, ValueError) as error:
        raise SourceProblem(
            f"the certificates for {uri} cannot be used: {error}",
            reason=AUTHENTICATION_ERROR,
            result=CERTIFICATE_PROBLEM,
        ) from error
