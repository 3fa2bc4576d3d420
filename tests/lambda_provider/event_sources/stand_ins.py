"""A host whose services answer what a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from lambda_provider.event_sources.source import EventSource
from lambda_provider.host import Host
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_runtime.types import InvocationResult


class Services:
    """Operations of any service by botocore's names: an answer, or an exception. `calls` are the requests."""

    def __init__(self, settings: Mapping[str, str] | None = None, **answers: Any) -> None:
        self.settings: Mapping[str, str] = settings or {}
        self.answers = answers
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        return _Client(self, service)


class _Client:
    def __init__(self, services: Services, name: str) -> None:
        self._services, self._name = services, name

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self._services.calls.append((self._name, operation, parameters))
            answer = self._services.answers[operation]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


class _Idle(EventSource):
    async def run(self) -> None:
        """Nothing to do."""


async def _nobody(event: bytes, trace_header: str | None) -> InvocationResult:
    raise AssertionError("no function is invoked here")


def source_with(services: Services, world: Callable[..., Any], mapping: EventSourceMapping) -> EventSource:
    """A source of a mapping on a host with these services."""
    return _Idle(mapping, world(_nobody).surroundings(host=cast(Host, services)))
