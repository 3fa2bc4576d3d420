"""Values as they come: out of JSON bodies, and as text out of paths, queries and headers.

Where a value has the wrong JSON type, AWS's services answer SerializationException in these words (seen for Lambda:
"NUMBER_VALUE can not be converted to a String").
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from lambda_provider.api.errors import SerializationException

Reader = Callable[[Any], Any]
TextReader = Callable[[str], Any]


def _refuse_scalar(value: Any, wanted: str) -> NoReturn:
    if isinstance(value, dict):
        raise SerializationException("Start of structure or map found where not expected.")
    if isinstance(value, list):
        raise SerializationException("Start of list found where not expected")
    if isinstance(value, bool):
        token = "TRUE_VALUE" if value else "FALSE_VALUE"
    else:
        token = "STRING_VALUE" if isinstance(value, str) else "NUMBER_VALUE"
    raise SerializationException(f"{token} can not be converted to {wanted}")


def refuse_for_collection(value: Any, wanted: str) -> NoReturn:
    """Raise AWS's error for a value that should have been a list, a map or a structure."""
    if isinstance(value, dict):
        raise SerializationException("Start of structure or map found where not expected.")
    if isinstance(value, list):
        raise SerializationException("Start of list found where not expected")
    raise SerializationException(f"Expected {wanted} or null")


def list_reader(read_element: Reader, *, drop_nulls: bool) -> Reader:
    """A reader of lists. A null element stays for validation to refuse in AWS's words, or is dropped where it may be there."""

    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            refuse_for_collection(value, "list")
        if drop_nulls:
            value = [element for element in value if element is not None]
        return [None if element is None else read_element(element) for element in value]

    return read


def map_reader(read_value: Reader, *, drop_nulls: bool) -> Reader:
    """A reader of maps, whose keys are strings throughout the model. Nulls are treated as in lists."""

    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            refuse_for_collection(value, "map")
        if drop_nulls:
            value = {key: item for key, item in value.items() if item is not None}
        return {_read_string(key): None if item is None else read_value(item) for key, item in value.items()}

    return read


def _read_string(value: Any) -> str:
    if type(value) is not str:
        _refuse_scalar(value, "a String")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, written as an escape
            raise SerializationException("STRING_VALUE is not valid Unicode") from None
    return value


def _read_integer(value: Any, wanted: str = "an Integer") -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    _refuse_scalar(value, wanted)


def _read_long(value: Any) -> int:
    return _read_integer(value, "a Long")


def _read_double(value: Any) -> float:
    if type(value) in (int, float):
        try:
            return float(value)
        except OverflowError:
            pass
    _refuse_scalar(value, "a Double")


def _read_boolean(value: Any) -> bool:
    if type(value) is not bool:
        _refuse_scalar(value, "a Boolean")
    return value


def _read_blob(value: Any) -> bytes:
    if type(value) is not str:
        _refuse_scalar(value, "a Blob")
    try:
        return a2b_base64(value, strict_mode=True)
    except ValueError:
        raise SerializationException("STRING_VALUE can not be converted to a Blob: it is not valid Base64") from None


def _read_timestamp(value: Any) -> datetime:
    if type(value) in (int, float):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, ValueError, OSError):
            pass
    _refuse_scalar(value, "a Timestamp")


def _text_integer(text: str) -> int:
    # 19 digits are a 64-bit number; int() alone would take blanks, underscores and other scripts' digits.
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        _refuse_scalar(text, "an Integer")
    return int(text)


def _text_double(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        _refuse_scalar(text, "a Double")


def _text_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        _refuse_scalar(text, "a Boolean")
    return text == "true"


def _text_timestamp(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _refuse_scalar(text, "a Timestamp")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


JSON_READERS: dict[str, Reader] = {
    "string": _read_string,
    "integer": _read_integer,
    "long": _read_long,
    "double": _read_double,
    "boolean": _read_boolean,
    "blob": _read_blob,
    "timestamp": _read_timestamp,
}
TEXT_READERS: dict[str, TextReader] = {
    "string": str,
    "integer": _text_integer,
    "long": _text_integer,
    "double": _text_double,
    "boolean": _text_boolean,
    "timestamp": _text_timestamp,
}
