"""The cluster of DocumentDB that a mapping reads from, or any server that speaks MongoDB's protocol."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.event_sources.credentials import basic_credentials
from lambda_provider.event_sources.endpoints import overridden
from lambda_provider.event_sources.extras import library
from lambda_provider.event_sources.source import (
    AUTHENTICATION_ERROR,
    AUTHORIZATION_ERROR,
    NOT_VALID,
    EventSource,
    SourceProblem,
)
from lambda_provider.host import ServiceUnavailable

SETTING = "LAMBDA_DOCUMENTDB_ENDPOINTS"

EXPIRED = frozenset({136, 280, 286})
"""Codes of MongoDB: what comes after the position is not there any more."""

_UNAUTHENTICATED = frozenset({11, 18})
_UNAUTHORIZED = frozenset({13})
_AWAIT_MS = 20_000
"""How long the server waits for a change before it answers that there is none."""
_SELECT_MS = 10_000


class Cluster:
    """A connection to a cluster, on the runtime's loop: pymongo's asynchronous client, so that an idle stream costs no thread."""

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._pymongo: Any = None
        self._client: Any = None
        self._where = ""

    async def open(self) -> None:
        """Find the cluster and its credentials; nothing is asked of it yet. Raises SourceProblem."""
        self._pymongo = await self._source.call(library, "pymongo", extra="documentdb")
        name = (self._source.mapping.event_source_arn or "").rpartition(":cluster:")[2]
        url = overridden(self._source.setting(SETTING), {name}) or await self._described(name)
        credentials = await basic_credentials(self._source)
        options: dict[str, Any] = {}
        # A secret without a name is for servers that know no users.
        if credentials is not None and credentials.username and not urlsplit(url).username:
            options = {"username": credentials.username, "password": credentials.password}
        self._where = urlsplit(url).netloc.rpartition("@")[2]
        try:
            self._client = self._pymongo.AsyncMongoClient(
                url, serverSelectionTimeoutMS=_SELECT_MS, appname=f"lambda-{self._source.mapping.name}", **options
            )
        except (self._pymongo.errors.PyMongoError, ValueError) as error:
            raise self.problem(error) from error

    async def watch(self, position: dict[str, Any]) -> Any:
        """The change stream of the mapping's collection or database from a position on: an option of pymongo's `watch`.

        Raises pymongo's errors; see `problem`.
        """
        asked = self._source.settings.document_db
        assert asked is not None, "a mapping of DocumentDB says what it reads"
        database = self._client[asked.database]
        watched = database if asked.collection is None else database[asked.collection]
        return await watched.watch(
            full_document="updateLookup" if asked.full_document == "UpdateLookup" else None,
            batch_size=min(1000, self._source.settings.batch_size),
            max_await_time_ms=_AWAIT_MS,
            **position,
        )

    async def now(self) -> Any:
        """The cluster's time, behind which nothing has happened yet, as a Timestamp of BSON."""
        bson = await self._source.call(library, "bson", extra="documentdb")
        answer = await self._client.admin.command("ismaster")
        if (operation := answer.get("operationTime")) is not None:
            return bson.Timestamp(operation.time, operation.inc + 1)
        return bson.Timestamp(int(answer["localTime"].timestamp()), 0)

    async def oldest(self) -> Any:
        """The time of the oldest change that is kept, as far as the server lets us see."""
        bson = await self._source.call(library, "bson", extra="documentdb")
        first = None
        # Not everybody may look into it, and DocumentDB has none: a time before its oldest change will do there.
        with contextlib.suppress(self._pymongo.errors.OperationFailure):
            first = await self._client.local["oplog.rs"].find_one(sort=[("$natural", 1)])
        return first["ts"] if first is not None and "ts" in first else bson.Timestamp(1, 0)

    @property
    def errors(self) -> Any:
        """pymongo's exceptions."""
        return self._pymongo.errors

    def problem(self, error: BaseException) -> SourceProblem:
        """What an error of pymongo means for the mapping."""
        code = getattr(error, "code", None)
        reason = NOT_VALID
        if code in _UNAUTHENTICATED:
            reason = AUTHENTICATION_ERROR
        elif code in _UNAUTHORIZED:
            reason = AUTHORIZATION_ERROR
        text = f"DocumentDB at {self._where or 'an endpoint that is no URL'}: {error}"
        if code in EXPIRED:
            text += "; the changes behind the position have expired, so the mapping has to be made anew"
        return SourceProblem(f"{text}; {SETTING} says where a cluster is", reason=reason)

    async def close(self) -> None:
        """Disconnect. May be called twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _described(self, name: str) -> str:
        """The endpoint that DocumentDB tells of. Its clusters are encrypted unless somebody said otherwise."""
        try:
            client = await self._source.call(self._source.client, "docdb")
            answer = await self._source.call(client.describe_db_clusters, DBClusterIdentifier=name)
            cluster = answer["DBClusters"][0]
            return f"mongodb://{cluster['Endpoint']}:{cluster.get('Port') or 27017}/?tls=true&retryWrites=false"
        except (ClientError, BotoCoreError, ServiceUnavailable, OSError, KeyError, IndexError) as error:
            code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
            raise SourceProblem(
                f"DocumentDB knows no cluster {name}, and {SETTING} names none: {error!r}",
                reason=AUTHORIZATION_ERROR if code in ("AccessDenied", "AccessDeniedException") else NOT_VALID,
            ) from error
