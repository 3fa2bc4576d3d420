"""`/_lambda/state`: all state of a running gateway as one file, out and in."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import IO
from urllib.parse import parse_qs

from lambda_provider.api import ServiceException
from lambda_provider.hosts.internal import json_response
from lambda_provider.provider import LambdaProvider
from lambda_provider.store.errors import NotEmpty, StateError
from lambda_provider.wire.http import HttpRequest, HttpResponse

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20


class StateRoutes:
    """`GET` exports, `POST` imports: `lambda-provider state` is the client.

    A file comes in parts, because a request body is bounded: `POST ?upload=ID&more=true` adds a part, the last one is sent
    without `more` and begins the import; with `replace=true` it may overwrite. One upload is open at a time, the newest; its
    file has no name, so nothing is left of it whatever happens.
    """

    def __init__(self, provider: LambdaProvider) -> None:
        self._provider = provider
        self._upload: tuple[str, IO[bytes]] | None = None

    async def export(self, request: HttpRequest) -> HttpResponse:
        """The whole state as it is now."""
        file = await asyncio.to_thread(tempfile.TemporaryFile)
        try:
            summary = await asyncio.to_thread(self._provider.export_state, file)
        except StateError as error:
            file.close()
            logger.error("nothing was exported: %s", error)
            return json_response(500, {"message": str(error)})
        logger.info("exported %s", summary)
        headers = [("content-type", "application/zip"), ("content-length", str(file.tell()))]
        file.seek(0)
        if request.method == "HEAD":
            file.close()
            return HttpResponse(200, headers)
        return HttpResponse(200, headers, _chunks(file))

    async def take(self, request: HttpRequest) -> HttpResponse:
        """A part of a file, or the last one and what came of it."""
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        name = query.get("upload", "")
        if self._upload is None or self._upload[0] != name:
            if self._upload is not None:
                self._upload[1].close()
            self._upload = (name, await asyncio.to_thread(tempfile.TemporaryFile))
        _, file = self._upload
        await asyncio.to_thread(file.write, request.body)
        if query.get("more") == "true":
            return json_response(202, {"received": file.tell()})
        self._upload = None
        try:
            summary = await asyncio.to_thread(self._provider.import_state, file, replace=query.get("replace") == "true")
        except NotEmpty as error:
            return json_response(409, {"message": str(error)})
        except StateError as error:
            return json_response(400, {"message": str(error)})
        except ServiceException as error:
            return json_response(500, {"message": str(error)})
        finally:
            file.close()
        logger.info("imported %s", summary)
        return json_response(200, {"imported": asdict(summary)})


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
