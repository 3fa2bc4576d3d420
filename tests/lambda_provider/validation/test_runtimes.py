"""Which runtimes functions can be created with."""

from __future__ import annotations

import pytest

from lambda_provider.api.exceptions import InvalidParameterValueException
from lambda_provider.validation.runtimes import (
    DEPRECATED,
    RELEASED_SINCE,
    SUPPORTED,
    require_creatable,
    supports_snapstart,
)
from lambda_runtime.executors.process.languages import LANGUAGES, OS_ONLY, language_of

RECORDED_ORDER = (
    "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, "
    "python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, "
    "dotnet6, nodejs18.x, provided.al2, java8.al2"
)


@pytest.mark.parametrize("runtime", [*SUPPORTED, "ruby4.0", "arn:aws:lambda:us-east-1::runtime:0a1b"])
def test_a_runtime_that_functions_can_have(runtime):
    require_creatable(runtime)


@pytest.mark.parametrize("runtime", ["non-existent-runtime", "PYTHON3.9", "byol", "python3.99"])
def test_an_unknown_runtime(runtime):
    """Recorded: TestLambdaFunction::test_create_lambda_exceptions, test_update_lambda_exceptions."""
    with pytest.raises(InvalidParameterValueException) as refused:
        require_creatable(runtime)
    assert refused.value.message == (
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{RECORDED_ORDER}] or be a valid ARN"
    )


@pytest.mark.parametrize(
    "runtime", ["dotnetcore3.1", "go1.x", "java8", "nodejs12.x", "nodejs14.x", "provided", "python3.7", "ruby2.7"]
)
def test_a_deprecated_runtime(runtime):
    """Recorded: test_create_deprecated_function_runtime_with_validation_enabled."""
    with pytest.raises(InvalidParameterValueException) as refused:
        require_creatable(runtime)
    assert refused.value.message == (
        f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
        "We recommend you use a supported runtime while creating or updating functions."
    )


def test_no_runtime_is_both_supported_and_deprecated():
    assert DEPRECATED.isdisjoint(SUPPORTED)


def test_runtimes_with_snapstart():
    """Recorded for these: TestLambdaSnapStart::test_snapstart_lifecycle."""
    recorded = {"dotnet8", "dotnet10", "java11", "java17", "java21", "java25", "python3.12", "python3.13"}
    assert {runtime for runtime in SUPPORTED if supports_snapstart(runtime)} == recorded | {"python3.14"}
    assert not supports_snapstart("java99")


def test_whatever_functions_can_be_created_with_is_known_where_they_run():
    """By `doctor`, too; the deprecated ones, which only the state of another time has, are known where they run."""
    listed = {runtime for language in LANGUAGES.values() for runtime in language.runtimes} | set(OS_ONLY)
    assert (set(SUPPORTED) | RELEASED_SINCE) - listed == set()
    assert {runtime for runtime in DEPRECATED if runtime not in OS_ONLY and language_of(runtime) is None} == set()
