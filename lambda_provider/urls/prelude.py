"""The metadata in front of a streamed HTTP response: `application/vnd.awslambda.http-integration-response`.

JSON with `statusCode`, `headers` and `cookies`, eight NUL bytes, then the body (runtimes-custom.html, "Response streaming
in custom runtimes").
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from lambda_provider.urls.responses import MalformedResponse

CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
BODY_CONTENT_TYPE = "application/octet-stream"
"""Of a body whose metadata names none."""

_END = bytes(8)
_MAX_BYTES = 1024 * 1024


def split(whole: bytes) -> tuple[dict[str, Any], bytes]:
    """Metadata and body of a response that is here as a whole. Raises MalformedResponse."""
    metadata, end, body = whole.partition(_END)
    if not end:
        raise MalformedResponse("the metadata does not end")
    return _parse(metadata), body


async def read(chunks: AsyncIterator[bytes]) -> tuple[dict[str, Any], bytes]:
    """Metadata, and the part of the body that came with its last chunk; `chunks` goes on behind that.

    Raises MalformedResponse.
    """
    received = bytearray()
    async for chunk in chunks:
        # The end may have begun in the chunk before.
        start = max(0, len(received) - len(_END) + 1)
        received += chunk
        end = received.find(_END, start)
        if end >= 0:
            return _parse(bytes(received[:end])), bytes(received[end + len(_END) :])
        if len(received) > _MAX_BYTES:
            break
    raise MalformedResponse("the metadata does not end")


def _parse(text: bytes) -> dict[str, Any]:
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise MalformedResponse("the metadata is not JSON") from error
    if not isinstance(metadata, dict):
        raise MalformedResponse("the metadata is not an object")
    return metadata
