"""ARNs of Lambda's resources. Every ARN that the provider answers is built here."""

from __future__ import annotations

from lambda_provider.context import partition_of

LATEST = "$LATEST"
"""The unpublished version of a function, as qualifier and as version."""

LATEST_PUBLISHED = "$LATEST.PUBLISHED"
"""The newest published version of a function on managed instances, as qualifier."""


def lambda_arn(account_id: str, region: str, resource: str) -> str:
    """`arn:PARTITION:lambda:REGION:ACCOUNT:RESOURCE`."""
    return f"arn:{partition_of(region)}:lambda:{region}:{account_id}:{resource}"


def function_arn(account_id: str, region: str, name: str, qualifier: str | None = None) -> str:
    """A function's ARN, or with a qualifier that of one of its versions or aliases (`$LATEST` is a qualifier, too)."""
    return lambda_arn(account_id, region, f"function:{name}" if qualifier is None else f"function:{name}:{qualifier}")


def layer_arn(account_id: str, region: str, name: str, version: int | None = None) -> str:
    """A layer's ARN, or that of one of its versions."""
    return lambda_arn(account_id, region, f"layer:{name}" if version is None else f"layer:{name}:{version}")


def event_source_mapping_arn(account_id: str, region: str, uuid: str) -> str:
    """An event source mapping's ARN."""
    return lambda_arn(account_id, region, f"event-source-mapping:{uuid}")


def code_signing_config_arn(account_id: str, region: str, config_id: str) -> str:
    """A code signing configuration's ARN; `config_id` is `csc-` and 17 lower-case letters or digits."""
    return lambda_arn(account_id, region, f"code-signing-config:{config_id}")


def capacity_provider_arn(account_id: str, region: str, name: str) -> str:
    """A capacity provider's ARN."""
    return lambda_arn(account_id, region, f"capacity-provider:{name}")


def runtime_version_arn(region: str, digest: str) -> str:
    """A runtime version's ARN: it belongs to no account."""
    return lambda_arn("", region, f"runtime:{digest}")
