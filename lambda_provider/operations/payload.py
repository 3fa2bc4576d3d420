"""Is the payload of an invoke JSON, and small enough?"""

from __future__ import annotations

import base64
import binascii
import json
from typing import NoReturn

from lambda_provider.api import InvalidRequestContentException, RequestEntityTooLargeException
from lambda_provider.operations import jackson

EMPTY = b"{}"
"""What a function gets as its event when the request has no payload."""


def _not_json(constant: str) -> NoReturn:
    raise ValueError(constant)


# Numbers stay text: nobody looks at them, and Python would refuse to make integers of more than 4,300 digits.
_scan = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_not_json).decode


def check_json(payload: bytes) -> None:
    """Raise InvalidRequestContentException, in AWS's words, unless `payload` is one JSON value in UTF-8.

    On the way of every invoke, so the good case is one run of the C scanner; only a payload that it refuses is read
    again to say what is wrong with it as AWS's parser does (recorded: test_lambda_invoke_payload_encoding_error).
    """
    try:
        _scan(payload.decode())
    except (ValueError, RecursionError):
        error = jackson.find_error(payload)
        if error is not None:
            raise InvalidRequestContentException(
                f"Could not parse request body into json: Could not parse payload into json: {error}"
            ) from None


def check_size(payload: bytes, limit: int) -> None:
    """Raise RequestEntityTooLargeException if `payload` has more than `limit` bytes."""
    if len(payload) > limit:
        raise RequestEntityTooLargeException(
            f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
        )


def decode_client_context(encoded: str) -> str:
    """The JSON text of an `X-Amz-Client-Context` header, in one line. Raises InvalidRequestContentException."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        if not isinstance(json.loads(text), dict):
            raise ValueError(text)
    except (ValueError, RecursionError, binascii.Error):
        raise InvalidRequestContentException("Client context must be a valid Base64-encoded JSON object.") from None
    # The function gets it in a header, which a line break would end. In JSON that was read, line breaks are only blanks.
    return text.replace("\r", " ").replace("\n", " ")
