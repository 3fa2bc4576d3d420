"""The constraints of the service model, checked as AWS checks them and reported in AWS's words.

For each operation the model is compiled once, when the operation is first called, into closures that walk a request. A
check takes (value, path of the value, list of violations to append to); the path is what AWS prints.

What the recordings show of the form (scenarios in brackets):

- Members in paths begin with a lower-case letter, that letter alone: `vpcConfig.securityGroupIds`, `kMSKeyArn`.
- Violations come in the order of the members in the model (test_layer_exceptions).
- A scalar in a list or map is not reported at its own place: the message names the whole list or map, and all constraints
  of the element, broken or not (test_create_lambda_exceptions, test_notfound_and_invalid_routingconfigs).
- Structures in a list or map are reported at their place: `filterCriteria.filters.1.member.pattern`.
- `Member must not be null` closes the constraints of an element, except where the server allows nulls: `sparse` in the
  patched model (test_invalid_vpc_config_security_group). Keys of maps never have it.
- A value that the model calls sensitive is not shown (AWS on Environment.Variables: `Value at 'environment.variables' failed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lambda_provider.api import spec
from lambda_provider.api.errors import ValidationException
from lambda_provider.api.spec import ServiceSpec, Shape
from lambda_provider.validation import java

Check = Callable[[Any, str, list[str]], None]

NOT_NULL = "Member must not be null"


def validate(operation: str, request: Mapping[str, Any]) -> None:
    """Check the input of an operation against the model.

    `operation` is the model's name (`CreateFunction`), `request` the parsed input: members by their model names, absent
    ones left out, values of the model's types. Raises ValidationException that names every violation.
    """
    violations: list[str] = []
    _compiled(operation)(request, "", violations)
    if violations:
        raise ValidationException(message(violations))


def message(violations: Sequence[str]) -> str:
    """The text of a ValidationException for these violations."""
    errors = "1 validation error" if len(violations) == 1 else f"{len(violations)} validation errors"
    return f"{errors} detected: {'; '.join(violations)}"


def violation(value: Any, path: str, phrase: str, *, sensitive: bool = False) -> str:
    """One violation: what value, where, and which constraint it breaks."""
    shown = "" if sensitive else " null" if value is None else f" '{java.text(value)}'"
    return f"Value{shown} at '{path}' failed to satisfy constraint: {phrase}"


@cache
def _compiled(operation: str) -> Check:
    model = spec.load()
    return ConstraintCompiler(model).members(model.input_of(operation))


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on one value, and AWS's phrase for it."""

    phrase: str
    holds: Callable[[Any], object]


class ConstraintCompiler:
    """Makes the checks of shapes. What can never fail has no check (None), so walking a request costs what it must."""

    def __init__(self, model: ServiceSpec) -> None:
        self._model = model

    def members(self, shape: Shape) -> Check:
        """The check of a structure's members. Its path is the prefix of theirs: empty, or ending with a dot."""
        checked = [
            (name, name[:1].lower() + name[1:], name in shape.required, check)
            for name, member in shape.members.items()
            if (check := self.value(self._model.shape(member.shape))) or name in shape.required
        ]

        def check_members(value: Any, prefix: str, violations: list[str]) -> None:
            for name, label, required, check in checked:
                member = value.get(name)
                if member is None:
                    if required:
                        violations.append(violation(None, prefix + label, NOT_NULL))
                elif check is not None:
                    check(member, prefix + label, violations)

        return check_members

    def value(self, shape: Shape) -> Check | None:
        """The check of a member's value: its own constraints, then those of what is inside it."""
        own, inside = own_constraints(shape), self._inside(shape)
        if not own:
            return inside
        # Where one value breaks several constraints AWS's services answer the pattern before the length.
        reported = tuple(reversed(own))
        hidden = self._is_sensitive(shape)

        def check_value(value: Any, path: str, violations: list[str]) -> None:
            for constraint in reported:
                if not constraint.holds(value):
                    violations.append(violation(value, path, constraint.phrase, sensitive=hidden))
            if inside is not None:
                inside(value, path, violations)

        return check_value

    def _inside(self, shape: Shape) -> Check | None:
        if shape.type == "structure":
            members = self.members(shape)
            return lambda value, path, violations: members(value, path + ".", violations)
        if shape.type == "list":
            return self._elements(shape)
        if shape.type == "map":
            return self._entries(shape)
        return None

    def _elements(self, shape: Shape) -> Check:
        element = self._model.shape(shape.element or "")
        phrase, all_hold = self._of_each(element, nullable=shape.sparse)
        inside = self._inside(element)
        hidden = self._is_sensitive(shape)

        def check_elements(value: Any, path: str, violations: list[str]) -> None:
            if not all_hold(value):
                phrase_here = f"Member must satisfy constraint: {phrase}"
                violations.append(violation(value, path, phrase_here, sensitive=hidden))
            if inside is not None:
                for position, item in enumerate(value, 1):
                    if item is not None:
                        inside(item, f"{path}.{position}.member", violations)

        return check_elements

    def _entries(self, shape: Shape) -> Check:
        item_shape = self._model.shape(shape.element or "")
        key_phrase, keys_hold = self._of_each(self._model.shape(shape.key or ""), nullable=True)
        phrase, all_hold = self._of_each(item_shape, nullable=shape.sparse)
        inside = self._inside(item_shape)
        hidden = self._is_sensitive(shape)

        def check_entries(value: Any, path: str, violations: list[str]) -> None:
            if not keys_hold(value):
                phrase_here = f"Map keys must satisfy constraint: {key_phrase}"
                violations.append(violation(value, path, phrase_here, sensitive=hidden))
            if not all_hold(value.values()):
                phrase_here = f"Map value must satisfy constraint: {phrase}"
                violations.append(violation(value, path, phrase_here, sensitive=hidden))
            if inside is not None:
                for key, item in value.items():
                    if item is not None:
                        inside(item, f"{path}.{key}.member", violations)

        return check_entries

    def _of_each(self, shape: Shape, *, nullable: bool) -> tuple[str, Callable[[Iterable[Any]], bool]]:
        """The constraints of every element as one phrase, and whether all elements satisfy them."""
        own = own_constraints(shape)
        phrases = [constraint.phrase for constraint in own] + ([] if nullable else [NOT_NULL])

        def all_hold(items: Iterable[Any]) -> bool:
            return all(
                nullable if item is None else all(constraint.holds(item) for constraint in own) for item in items
            )

        return f"[{', '.join(phrases)}]", all_hold

    def _is_sensitive(self, shape: Shape) -> bool:
        parts = (self._model.shape(name) for name in (shape.element, shape.key) if name)
        return shape.sensitive or any(part.sensitive for part in parts)


def own_constraints(shape: Shape) -> tuple[Constraint, ...]:
    """The constraints on a value itself, not on what is inside it, in the order in which AWS lists them."""
    if shape.type in ("integer", "long", "double"):
        return tuple(_range(shape))
    return (*_length(shape), *_pattern(shape), *_enum(shape))


def _range(shape: Shape) -> Iterable[Constraint]:
    number = float if shape.type == "double" else int
    if shape.max is not None:
        most = number(shape.max)
        yield Constraint(f"Member must have value less than or equal to {java.text(most)}", lambda value: value <= most)
    if shape.min is not None:
        least = number(shape.min)
        yield Constraint(
            f"Member must have value greater than or equal to {java.text(least)}", lambda value: value >= least
        )


def _length(shape: Shape) -> Iterable[Constraint]:
    if shape.max is not None:
        most = int(shape.max)
        yield Constraint(f"Member must have length less than or equal to {most}", lambda value: len(value) <= most)
    if shape.min is not None:
        least = int(shape.min)
        yield Constraint(f"Member must have length greater than or equal to {least}", lambda value: len(value) >= least)


def _pattern(shape: Shape) -> Iterable[Constraint]:
    if shape.pattern is not None:
        yield Constraint(
            f"Member must satisfy regular expression pattern: {shape.pattern}", java.matcher(shape.pattern)
        )


def _enum(shape: Shape) -> Iterable[Constraint]:
    if shape.enum is None:
        return
    phrase = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    values = frozenset(shape.enum + shape.unnamed)
    if shape.type == "list":
        # Not in botocore's model: the server constrains some lists as a whole (test_layer_exceptions).
        yield Constraint(phrase, values.issuperset)
    else:
        yield Constraint(phrase, values.__contains__)
