"""Lists in pages, as AWS does it: `MaxItems` and an opaque `Marker`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

from lambda_provider.api import InvalidParameterValueException

DEFAULT_PAGE = 50
"""How many items a page has when nothing is said, and at most where AWS says "a maximum of 50 items in each response"."""

_KEY = secrets.token_bytes(32)

T = TypeVar("T")


def page(
    request: Mapping[str, Any],
    kind: str,
    items_after: Callable[[Any], Iterable[tuple[Any, T]]],
    *,
    largest: int = DEFAULT_PAGE,
) -> tuple[list[T], dict[str, str]]:
    """One page of a list, and the `NextMarker` member if there is more.

    `items_after` gives (position, item) in order, those behind a position or, for None, all; a position is anything that JSON
    holds. Only what the page needs is taken from it. `kind` tells lists apart: a marker is signed, and only the list that
    gave it takes it back, within the life of this process. `largest` bounds MaxItems silently, as AWS does.
    Raises InvalidParameterValueException for any other marker.
    """
    size = min(request.get("MaxItems", DEFAULT_PAGE), largest)
    found = list(islice(items_after(_position(request.get("Marker"), kind)), size + 1))
    items = [item for _, item in found[:size]]
    return items, ({"NextMarker": _marker(found[size - 1][0], kind)} if len(found) > size else {})


def _marker(position: Any, kind: str) -> str:
    text = json.dumps(position).encode()
    return base64.urlsafe_b64encode(_signature(text, kind) + text).decode()


def _position(marker: str | None, kind: str) -> Any:
    if not marker:
        return None
    try:
        signed = base64.b64decode(marker.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        signed = b""
    signature, text = signed[:16], signed[16:]
    if not hmac.compare_digest(signature, _signature(text, kind)):
        raise InvalidParameterValueException("The provided marker is not valid.")
    return json.loads(text)


def _signature(text: bytes, kind: str) -> bytes:
    return hmac.digest(_KEY, kind.encode() + b"\0" + text, hashlib.sha256)[:16]
