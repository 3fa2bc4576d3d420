"""How moto is changed: one function at a time, with a look at what is replaced.

Moto promises nothing about what is inside. What we replace must be there and take the parameters that we know; otherwise the
service says which moto it cannot work with, instead of failing somewhere at the first event.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any


class MotoChanged(RuntimeError):
    """The installed moto is not the one that we know how to change."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"moto {version('moto')} {what}: this version of lambda-provider does not know it; install another moto >=5.1.15,<6"
        )


def replace(owner: Any, name: str, parameters: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the place of `owner.name`.

    `parameters` are the names of those that the original takes, in their order; it may have more after them. Raises
    MotoChanged if there is no such function, or it takes others.
    """
    original = vars(owner).get(name)
    kind = type(original) if isinstance(original, staticmethod | classmethod) else None
    function = getattr(original, "__func__", original)
    where = f"{getattr(owner, '__module__', '')}.{owner.__name__}.{name}".lstrip(".")
    if not callable(function):
        raise MotoChanged(f"has no {where}")
    known = parameters.split()
    found = list(inspect.signature(function).parameters)
    if found[: len(known)] != known:
        raise MotoChanged(f"has another {where}, with the parameters {', '.join(found)}")
    replacement = make(function)
    setattr(owner, name, kind(replacement) if kind is not None else replacement)


class View:
    """An object of moto with some attributes of another value; everything else is the object's own."""

    def __init__(self, seen: Any, **others: Any) -> None:
        self.__dict__.update(others)
        self.__dict__["_seen"] = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._seen, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._seen, name, value)
