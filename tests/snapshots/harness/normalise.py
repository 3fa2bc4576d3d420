"""Responses of boto3 as plain JSON, in the form in which snapshots are kept."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody


class Text(str):
    """A text that stays one although it is JSON: it was recorded so."""


def to_json(value: Any) -> Any:
    """A response, a part of one, or a botocore exception as JSON values.

    Of `ResponseMetadata` the status stays. Streams are read. Text that is a JSON object becomes that object (an invoke's
    payload, a policy); all other text, `null` and numbers included, stays text, so that `"null"` and `""` differ.
    """
    if isinstance(value, ClientError):
        return to_json(value.response)
    if isinstance(value, BotoCoreError):
        return str(value)
    if isinstance(value, dict):
        return {
            key: _metadata(member) if key == "ResponseMetadata" else to_json(member) for key, member in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [to_json(member) for member in value]
    if isinstance(value, StreamingBody):
        return to_json(value.read())
    if isinstance(value, bytes):
        return to_json(value.decode())
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        return _parsed(value)
    return value


def _parsed(text: str) -> Any:
    try:
        return to_json(json.loads(text))
    except ValueError:
        return text


def _metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    return {"HTTPHeaders": {}, "HTTPStatusCode": metadata["HTTPStatusCode"]}
