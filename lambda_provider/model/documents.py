"""Frozen dataclasses as JSON documents, and back.

The types are the schema: dataclasses, `str`, `int`, `float`, `bool`, `X | None`, `tuple[X, ...]`, `Mapping[str, X]` and `Any`
(JSON as it is). A field with its default value is not written, so a document names what is particular about a value, and a
field that is added later, with a default, needs no migration. A name that the type does not have is an error: it was
written by a newer version of this project.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class DocumentError(ValueError):
    """A stored document does not fit the type that it is read as; the message says where and what was found."""


def dump(value: object) -> str:
    """The JSON text of a dataclass value."""
    return json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)


def load(cls: type[T], text: str) -> T:
    """The value that `dump` wrote. Raises DocumentError."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}") from None
    return from_plain(cls, document)


def from_plain(cls: type[T], document: Any) -> T:
    """The value of a parsed document. Raises DocumentError."""
    hint: Any = cls
    value: T = _reader(hint)(document, cls.__name__)
    return value


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        cls: Any = type(value)
        return {
            name: _plain(item)
            for name, default in _defaults(cls)
            if (item := getattr(value, name)) is not default and item != default
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


@cache
def _defaults(cls: type) -> tuple[tuple[str, Any], ...]:
    def default(field: Any) -> Any:
        return field.default_factory() if field.default_factory is not MISSING else field.default

    return tuple((field.name, default(field)) for field in fields(cls))


_Reader = Callable[[Any, str], Any]


@cache
def _reader(hint: Any) -> _Reader:
    if hint is Any:
        return lambda value, _: value
    if isinstance(hint, type) and is_dataclass(hint):
        return _dataclass_reader(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        read = _reader(inner)
        return lambda value, where: None if value is None else read(value, where)
    if origin is tuple:
        read_item = _reader(arguments[0])
        return lambda value, where: tuple(
            read_item(item, f"{where}[{index}]") for index, item in enumerate(_expect(list, value, where))
        )
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        read_value = _reader(arguments[1])
        return lambda value, where: {
            key: read_value(item, f"{where}.{key}") for key, item in _expect(dict, value, where).items()
        }
    if hint is float:
        return lambda value, where: float(_expect((int, float), value, where))
    if hint in (str, int, bool):
        return lambda value, where: _expect(hint, value, where)
    raise TypeError(f"{hint!r} cannot be stored")


def _dataclass_reader(cls: type) -> _Reader:
    # The fields are looked at when the first document is read, so that types may refer to each other.
    readers: dict[str, _Reader] = {}
    required: set[str] = set()

    def read(value: Any, where: str) -> Any:
        if not readers:
            hints = get_type_hints(cls)
            readers.update({field.name: _reader(hints[field.name]) for field in fields(cls)})
            required.update(name for name, default in _defaults(cls) if default is MISSING)
        document = _expect(dict, value, where)
        if unknown := document.keys() - readers.keys():
            raise DocumentError(f"{where} has unknown fields: {', '.join(sorted(unknown))}")
        if missing := required - document.keys():
            raise DocumentError(f"{where} lacks {', '.join(sorted(missing))}")
        return cls(**{name: readers[name](item, f"{where}.{name}") for name, item in document.items()})

    return read


def _expect(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise DocumentError(f"{where} is {json.dumps(value)[:80]}, which is of the wrong type")
    return value
