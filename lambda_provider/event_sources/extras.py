"""Libraries that only some sources need: extras of the package, with a clear word where one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lambda_provider.event_sources.source import NOT_VALID, SourceProblem


def library(name: str, *, extra: str) -> Any:
    """The module of a library that comes with an extra. Raises SourceProblem that says how to install it.

    Importing one blocks for a while, when it is the first time: use it through `EventSource.call`.
    """
    try:
        return import_module(name)
    except ImportError as error:
        advice = f"{name} is needed: pip install 'lambda-provider[{extra}]'"
        raise SourceProblem(f"{advice} ({error})", reason=f"{NOT_VALID}: {advice}") from error
