"""Which operations of the API a provider implements."""

from __future__ import annotations

from lambda_provider.api.interface import LambdaApi
from lambda_provider.api.spec import load


def operation_names() -> tuple[str, ...]:
    """All operations of the API, sorted."""
    return tuple(sorted(load().operations))


def implemented_operations(api: LambdaApi | type[LambdaApi]) -> frozenset[str]:
    """The operations whose method the provider overrides; the others answer OperationNotImplemented."""
    provider = api if isinstance(api, type) else type(api)
    return frozenset(
        operation.name
        for operation in load().operations.values()
        if getattr(provider, operation.method_name) is not getattr(LambdaApi, operation.method_name)
    )
