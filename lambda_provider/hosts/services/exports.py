"""What stacks export to each other: an export that somebody imports can neither change nor go.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_IMPORT = "Fn::ImportValue"
_IMPORTING = ("Resources", "Outputs", "Conditions")


def importers(stack: Any, name: str) -> list[str]:
    """The other stacks of the account and region that import an export, by name."""
    from moto.cloudformation.models import cloudformation_backends

    others = list(cloudformation_backends[stack.account_id][stack.region_name].stacks.values())
    return sorted(each.name for each in others if each.stack_id != stack.stack_id and name in set(_imports(each)))


def conflict(stack: Any, wanted: Mapping[str, Any]) -> str | None:
    """Why the exports of a stack cannot become `wanted`, by name; None if they can."""
    for export in stack.exports:
        new = wanted.get(export.name)
        if new is not None and new.value == export.value:
            continue
        if users := importers(stack, export.name):
            change = "deleted" if new is None else "updated"
            return f"Export {export.name} cannot be {change} as it is in use by {_listed(users)}"
    return None


def kept_by_others(stack: Any) -> str | None:
    """Why a stack cannot be deleted: an export that is in use; None if there is none."""
    for export in stack.exports:
        if users := importers(stack, export.name):
            return f"Delete canceled. Cannot delete export {export.name} as it is in use by {_listed(users)}."
    return None


def _imports(stack: Any) -> Iterator[str]:
    from moto.cloudformation import parsing

    for part in _IMPORTING:
        for argument in _arguments(stack.resource_map._template.get(part) or {}):
            yield str(parsing.clean_json(argument, stack.resource_map))


def _arguments(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, each in value.items():
            if name == _IMPORT:
                yield each
            else:
                yield from _arguments(each)
    elif isinstance(value, list):
        for each in value:
            yield from _arguments(each)


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
