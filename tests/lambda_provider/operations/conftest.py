from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lambda_provider.provider import LambdaProvider

from ..fakes import FakeHost, FakeRuntime, archive, context, creation


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    fake = FakeRuntime()
    yield fake
    fake.close()


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def provider(host: FakeHost, runtime: FakeRuntime) -> Iterator[LambdaProvider]:
    provider = LambdaProvider(host, runtime)  # type: ignore[arg-type]
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def active(provider: LambdaProvider) -> Callable[..., str]:
    """Create a function and wait until it is Active; the answer is its name."""

    def create(name: str = "f", **members: Any) -> str:
        provider.create_function(context(), creation(name, **members))
        assert configuration(provider, name)["State"] == "Active"
        return name

    return create


@pytest.fixture
def publish(provider: LambdaProvider) -> Callable[..., str]:
    """Change a function's description and publish it, so that there is a new version; the answer is its number."""

    def change_and_publish(name: str = "f", description: str = "changed") -> str:
        update(provider, name, Description=description)
        return provider.publish_version(context(), {"FunctionName": name})["Version"]

    return change_and_publish


def configuration(provider: LambdaProvider, name: str = "f", qualifier: str | None = None) -> Any:
    request: Any = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
    return provider.get_function_configuration(context(), request)


def update(provider: LambdaProvider, name: str = "f", **members: Any) -> Any:
    """Update the configuration and wait until the update is done."""
    provider.update_function_configuration(context(), {"FunctionName": name, **members})
    return configuration(provider, name)


def update_code(provider: LambdaProvider, name: str = "f", content: str = "other", **members: Any) -> Any:
    return provider.update_function_code(context(), {"FunctionName": name, "ZipFile": archive(content), **members})
