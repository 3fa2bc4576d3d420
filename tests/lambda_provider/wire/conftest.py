"""A `LambdaWire` on a provider that records what it is asked and answers what the test says."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from lambda_provider.api import LambdaApi
from lambda_provider.api.spec import load
from lambda_provider.wire import Asker, HttpRequest, HttpResponse, LambdaWire

# HYPOTHESIS_PROFILE=thorough looks longer; a failing example prints its blob either way.
_COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
}
settings.register_profile("quick", max_examples=6, **_COMMON)
settings.register_profile("thorough", max_examples=300, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


class InlineExecutor(Executor):
    """Runs what is submitted at once, so that a test needs no thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it
            future.set_exception(error)
        return future


class Peer:
    """The wire under test and the provider behind it."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.requests: list[tuple[str, Any]] = []
        self.contexts: list[Any] = []
        self.validated: list[tuple[str, Any]] = []
        self.answer: Any = None
        self.issued_keys: dict[str, str] = {}
        self.wire = LambdaWire(
            self._provider(),
            validate=lambda operation, request: self.validated.append((operation, request)),
            account_of=self.issued_keys.get,
            executor=InlineExecutor(),
        )

    def _provider(self) -> LambdaApi:
        provider = type("Recorder", (LambdaApi,), {})
        for operation in load().operations.values():
            if inspect.iscoroutinefunction(getattr(LambdaApi, operation.method_name)):
                setattr(provider, operation.method_name, self._async_method(operation.name))
            else:
                setattr(provider, operation.method_name, self._method(operation.name))
        return provider()

    def _method(self, operation: str) -> Callable[..., Any]:
        def method(_: LambdaApi, context: Any, request: Any) -> Any:
            self.contexts.append(context)
            self.requests.append((operation, request))
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return method

    def _async_method(self, operation: str) -> Callable[..., Any]:
        record = self._method(operation)

        async def method(api: LambdaApi, context: Any, request: Any) -> Any:
            return record(api, context, request)

        return method

    def send(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        asker: Asker | None = None,
    ) -> HttpResponse:
        """One request, answered whole: a streamed body is read to its end."""
        return self._runner.run(self._send(HttpRequest(method, path, query, headers or {}, body), asker))

    async def _send(self, request: HttpRequest, asker: Asker | None) -> HttpResponse:
        response = await self.wire.handle(request, asker)
        if not isinstance(response.body, bytes):
            response.body = b"".join([chunk async for chunk in response.body])
        return response


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def peer(runner: asyncio.Runner) -> Peer:
    return Peer(runner)
