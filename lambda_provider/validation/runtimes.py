"""Which runtimes functions can be created with, and what AWS answers for the others."""

from __future__ import annotations

import re

from lambda_provider.api import spec
from lambda_provider.api.exceptions import InvalidParameterValueException

# What AWS names in its answer, in its order (test_create_lambda_exceptions), which is also the bound of a layer's runtimes.
SUPPORTED: tuple[str, ...] = spec.load().shape("CompatibleRuntimes").enum or ()

# In botocore's model, and newer than the recordings.
RELEASED_SINCE = frozenset({"nodejs26.x", "python3.15", "ruby4.0", "java8.al2023", "java11.al2023", "java17.al2023"})

# Known to AWS, and no longer taken (test_create_deprecated_function_runtime_with_validation_enabled for the youngest of each
# language; the AWS page "Lambda runtimes", table of deprecated runtimes, for the others).
DEPRECATED = frozenset(
    {
        "dotnetcore1.0",
        "dotnetcore2.0",
        "dotnetcore2.1",
        "dotnetcore3.1",
        "go1.x",
        "java8",
        "nodejs",
        "nodejs4.3",
        "nodejs4.3-edge",
        "nodejs6.10",
        "nodejs8.10",
        "nodejs10.x",
        "nodejs12.x",
        "nodejs14.x",
        "provided",
        "python2.7",
        "python3.6",
        "python3.7",
        "ruby2.5",
        "ruby2.7",
    }
)

# Java from 11, Python from 3.12, .NET from 8 (the AWS page "Lambda SnapStart", supported features and limitations).
_SNAPSTART_SINCE = {"java": (11,), "python": (3, 12), "dotnet": (8,)}

_ACCEPTED = frozenset(SUPPORTED) | RELEASED_SINCE
_FAMILY_AND_VERSION = re.compile(r"([a-z]+)(\d+(?:\.\d+)?)")
_RUNTIME_ARN = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:(\d{12})?:runtime[:/].+")


def require_creatable(runtime: str) -> None:
    """Refuse a runtime that no function can be created with or changed to.

    Raises InvalidParameterValueException in AWS's words, which differ for a runtime that AWS once had and for one that it
    never had. An ARN of a runtime is taken, as AWS's message says.
    """
    if runtime in _ACCEPTED or _RUNTIME_ARN.fullmatch(runtime):
        return
    if runtime in DEPRECATED:
        raise InvalidParameterValueException(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    raise InvalidParameterValueException(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: "
        f"Member must satisfy enum value set: [{', '.join(SUPPORTED)}] or be a valid ARN"
    )


def supports_snapstart(runtime: str) -> bool:
    """Whether AWS makes snapshots of this runtime's initialised environments."""
    match = _FAMILY_AND_VERSION.match(runtime)
    if runtime not in _ACCEPTED or match is None:
        return False
    since = _SNAPSTART_SINCE.get(match[1])
    return since is not None and tuple(map(int, match[2].split("."))) >= since
