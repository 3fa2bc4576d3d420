"""An emulator inside of a test: `Emulator`, for unittest `LambdaTestCase`, and for pytest the fixture `lambda_emulator`.

Reader's order: `emulator`, `deployment` (from code to CreateFunction), `functions` (a deployed function), `logbook`; `plugin`
for pytest, `case` for unittest, and `conformance` for authors of hosts. Importing this package imports none of them: pytest does
it in every run. See docs/testing-your-functions.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambda_provider.testing.case import LambdaTestCase
    from lambda_provider.testing.emulator import Emulator
    from lambda_provider.testing.functions import DeployedFunction, FunctionFailed

__all__ = ["DeployedFunction", "Emulator", "FunctionFailed", "LambdaTestCase"]

_HOMES = {
    "DeployedFunction": "functions",
    "Emulator": "emulator",
    "FunctionFailed": "functions",
    "LambdaTestCase": "case",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
