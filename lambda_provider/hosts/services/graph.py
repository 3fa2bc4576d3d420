"""In which order the resources of a template are made: what a resource refers to comes first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from lambda_provider.hosts.services.templates import TemplateError

_SUBSTITUTED = re.compile(r"\$\{([^!}.]+)(?:\.[^}]*)?\}")


def references_of(value: Any) -> Iterator[str]:
    """The logical ids that a part of a template names, and perhaps names of parameters."""
    if isinstance(value, list):
        for each in value:
            yield from references_of(each)
    if not isinstance(value, Mapping):
        return
    for name, each in value.items():
        if name == "Ref" and isinstance(each, str):
            yield each
        elif name == "Fn::GetAtt":
            yield each.split(".")[0] if isinstance(each, str) else each[0]
        elif name == "Fn::Sub":
            text = each if isinstance(each, str) else each[0]
            yield from (found.strip() for found in _SUBSTITUTED.findall(text))
            yield from references_of(each)
        else:
            yield from references_of(each)


def order(resources: Mapping[str, Any]) -> list[str]:
    """The logical ids, each after those that it needs, else as they stand. Raises TemplateError for a circle."""
    needs = {}
    for name, resource in resources.items():
        listed = resource.get("DependsOn") or []
        explicit = [listed] if isinstance(listed, str) else listed
        found = [*explicit, *references_of(resource.get("Properties"))]
        needs[name] = [each for each in dict.fromkeys(found) if each in resources and each != name]
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = ", ".join(dict.fromkeys(error.args[1]))
        raise TemplateError(f"Circular dependency between resources: [{circle}]") from error
