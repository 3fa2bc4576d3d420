"""Which operation a method and a path mean. Built once, from the URI templates of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, unquote

T = TypeVar("T")

Query = Mapping[str, Sequence[str]]


class _Node(Generic[T]):
    """The routes that share the segments up to here."""

    __slots__ = ("literals", "parameter", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.parameter: _Node[T] | None = None
        self.routes: dict[str, list[tuple[tuple[tuple[str, str], ...], T]]] = {}


class Router(Generic[T]):
    """Finds the target of a request by walking its path's segments.

    A literal segment wins over a parameter at the same place, and nothing is tried twice: the model's templates need no
    more. Where templates differ only in a fixed query (`?List=ALL`), the one with the most of it that fits is taken.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._prefixes: set[str] = set()

    def add(self, method: str, template: str, target: T) -> None:
        """Add a template of the model, such as `/2018-10-31/layers/{LayerName}/versions?find=all`."""
        path, _, query = template.partition("?")
        segments = path.strip("/").split("/")
        node = self._root
        for segment in segments:
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        routes = node.routes.setdefault(method, [])
        routes.append((tuple(parse_qsl(query)), target))
        routes.sort(key=lambda route: -len(route[0]))
        self._prefixes.add("/".join(["", *segments[:2]]))

    def match(self, method: str, path: str, query: Query) -> tuple[T, list[str]] | None:
        """The target and the decoded path parameters, in the order of the template; None if there is no such route.

        `path` is still percent-encoded, so an ARN with encoded slashes is one segment. A slash at the end is ignored: the
        paths of several operations had one in earlier versions of the model, and their SDKs still send it.
        """
        segments = path.split("/")
        if not segments[-1]:
            segments.pop()
        node = self._root
        values: list[str] = []
        for segment in segments[1:]:
            child = node.literals.get(segment)
            if child is None:
                child = node.parameter
                if child is None:
                    return None
                values.append(unquote(segment) if "%" in segment else segment)
            node = child
        for fixed, target in node.routes.get(method, ()):
            if not fixed or all(expected in query.get(name, ()) for name, expected in fixed):
                return target, values
        return None

    def covers(self, path: str) -> bool:
        """Whether the path belongs to this API: an API version and a collection that a template begins with."""
        return "/".join(path.split("/", 3)[:3]) in self._prefixes
