"""Stands where moto's other services look for moto's Lambda.

Moto's services reach Lambda as `moto.awslambda.models.lambda_backends[account][region]` and `moto.awslambda.utils.get_backend`.
Both are found here, under those names, and lead to the gateway; moto's own package is never imported. Event source mappings are
not among what is here: Lambda polls, nobody calls it.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

from lambda_provider.context import partition_of
from lambda_provider.hosts.services.link import Answer, Origin, link

PACKAGE = "moto.awslambda"


class UnknownFunctionException(Exception):
    """There is no such function, or whoever asks may not run it."""


class LambdaFunction:
    """A function, a version or an alias, by its ARN."""

    def __init__(self, arn: str, account_id: str) -> None:
        self.function_arn = arn
        self._account_id = account_id

    def invoke(self, body: Any, request_headers: Any = None, response_headers: Any = None) -> str:
        """Run it with a JSON text, and answer what it returned."""
        return _text(link().invoke(self.function_arn, _bytes(body), Origin(account_id=self._account_id)))


class LambdaBackend:
    """Lambda in one account and region, as moto's services use it: those that we do not treat in detail elsewhere."""

    def __init__(self, account_id: str, region_name: str) -> None:
        self.account_id = account_id
        self.region_name = region_name

    def arn_of(self, name_or_arn: str, qualifier: str | None = None) -> str:
        """The ARN of a function that is named in any way."""
        arn = name_or_arn
        if not arn.startswith("arn:"):
            region = self.region_name
            arn = f"arn:{partition_of(region)}:lambda:{region}:{self.account_id}:function:{name_or_arn}"
        return f"{arn}:{qualifier}" if qualifier else arn

    def get_function(self, function_name_or_arn: str, qualifier: str | None = None) -> LambdaFunction:
        """A function that can be run. Raises UnknownFunctionException."""
        arn = self.arn_of(function_name_or_arn, qualifier)
        answer = link().invoke(arn, b"{}", Origin(account_id=self.account_id), kind="DryRun")
        if answer.error is not None:
            raise UnknownFunctionException(answer.message)
        return LambdaFunction(arn, self.account_id)

    def invoke(
        self, function_name: str, qualifier: str | None, body: Any, headers: Any, response_headers: Any
    ) -> str | bytes:
        """Run a function and answer what it returned. `headers` are those of an invoke."""
        kind = (headers or {}).get("x-amz-invocation-type", "RequestResponse")
        arn = self.arn_of(function_name, qualifier)
        answer = link().invoke(arn, _bytes(body), Origin(account_id=self.account_id), kind=kind)
        if answer.function_error is not None and response_headers is not None:
            response_headers["x-amz-function-error"] = answer.function_error
        return _text(answer)


class LambdaBackends:
    """`lambda_backends[account][region]`."""

    def __getitem__(self, account_id: str) -> _Regions:
        return _Regions(account_id)


class _Regions:
    def __init__(self, account_id: str) -> None:
        self._account_id = account_id

    def __getitem__(self, region: str) -> LambdaBackend:
        return LambdaBackend(self._account_id, region)


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _text(answer: Answer) -> str:
    if answer.error is not None:
        raise UnknownFunctionException(f"{answer.error}: {answer.message}")
    return answer.payload.decode("utf-8", "replace")


def stand_in() -> None:
    """Be what is imported as `moto.awslambda` from now on. Before moto's services are imported."""
    package, models, utils = (ModuleType(PACKAGE + suffix) for suffix in ("", ".models", ".utils"))
    backends = LambdaBackends()
    package.__path__ = []
    vars(package).update(models=models, utils=utils, lambda_backends=backends)
    vars(models).update(lambda_backends=backends, LambdaBackend=LambdaBackend, LambdaFunction=LambdaFunction)
    vars(utils).update(get_backend=LambdaBackend)
    for module in (package, models, utils):
        sys.modules[module.__name__] = module
