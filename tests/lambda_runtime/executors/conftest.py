from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lambda_runtime.types import FunctionVersion


@pytest.fixture
def version() -> Callable[..., FunctionVersion]:
    """`version(runtime=…)`: one without code, for Python."""

    def make(**fields: Any) -> FunctionVersion:
        arn = "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST"
        fine: dict[str, Any] = {
            "arn": arn,
            "account_id": "000000000000",
            "region": "us-east-1",
            "function_name": "f",
            "version": "$LATEST",
            "revision": "r",
            "runtime": "python3.12",
            "handler": "index.handler",
            "code": None,
        }
        return FunctionVersion(**(fine | fields))

    return make
