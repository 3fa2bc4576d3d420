"""The rules for tags, whatever has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lambda_provider.api import InvalidParameterValueException

RESERVED_PREFIX = "aws:"


def check_tags(tags: Mapping[str, str], limit: int) -> None:
    """Raise unless a resource may have these tags, which are all that it will have (recorded: test_tag_limits)."""
    if len(tags) > limit:
        raise InvalidParameterValueException("Number of tags exceeds resource tag limit.")
    check_keys(tags)


def check_keys(keys: Iterable[str]) -> None:
    """Raise for keys in any case that belong to AWS: "the aws: prefix is reserved" (Developer Guide, tag requirements)."""
    if reserved := [key for key in keys if key.lower().startswith(RESERVED_PREFIX)]:
        raise InvalidParameterValueException(
            f"Tag keys starting with 'aws:' are reserved for system use: {reserved[0]}"
        )


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags without those that AWS gave, which do not count."""
    return {key: value for key, value in tags.items() if not key.lower().startswith(RESERVED_PREFIX)}
