"""Which of several plugins with one name is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from lambda_provider import plugins


@dataclass(frozen=True)
class Point:
    """An entry point of a package, or of none."""

    name: str
    package: str | None
    value: str = "module:attribute"
    load: Callable[[], Any] = lambda: None

    @property
    def dist(self) -> Any:
        return None if self.package is None else SimpleNamespace(name=self.package)


def point(name: str, package: str | None) -> Point:
    return Point(name, package, load=lambda: f"{name} of {package}")


@pytest.mark.parametrize("turned", [False, True])
def test_a_plugin_of_another_package_is_taken_instead_of_ours(monkeypatch: pytest.MonkeyPatch, turned: bool) -> None:
    installed = [point("mq", "theirs"), point("mq", "lambda-provider"), point("sqs", "lambda-provider")]
    if turned:
        installed.reverse()
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: installed)
    assert plugins.load_plugins("any") == {"mq": "mq of theirs", "sqs": "sqs of lambda-provider"}
