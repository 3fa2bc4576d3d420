"""A function as the records of the journal, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from lambda_provider.model.documents import DocumentError, dump, load
from lambda_provider.model.function import LATEST, Alias, Function, FunctionSettings, Version
from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import Key

_KINDS: dict[str, type[Any]] = {"function": FunctionSettings, "version": Version, "alias": Alias}


def parts(function: Function) -> dict[Key, object]:
    """The parts of a function, each a record of its own: a change writes the parts that it changed."""

    def key(kind: str, name: str) -> Key:
        return Key(kind, function.account_id, function.region, name)

    found: dict[Key, object] = {key("function", function.name): function.settings}
    for version in function.all_versions():
        found[key("version", f"{function.name}:{version.number}")] = version
    for alias in function.aliases.values():
        found[key("alias", f"{function.name}:{alias.name}")] = alias
    return found


def difference(old: Function | None, new: Function | None) -> tuple[dict[Key, str], list[Key]]:
    """What has to be written and deleted so that the records of `old` become those of `new`."""
    before = parts(old) if old is not None else {}
    after = parts(new) if new is not None else {}
    puts = {key: dump(part) for key, part in after.items() if before.get(key) is not part}
    return puts, [key for key in before if key not in after]


def assemble(records: Iterable[tuple[Key, str]]) -> Iterator[Function]:
    """The functions of a journal, oldest first in each region. Raises StateError for records that do not fit."""
    settings: dict[tuple[str, str, str], FunctionSettings] = {}
    versions: dict[tuple[str, str, str], list[Version]] = defaultdict(list)
    aliases: dict[tuple[str, str, str], list[Alias]] = defaultdict(list)
    for key, document in records:
        if key.kind not in _KINDS:
            raise StateError(f"the stored record {key} is of a kind that this version does not know")
        try:
            value = load(_KINDS[key.kind], document)
        except DocumentError as error:
            raise StateError(f"the stored record {key} cannot be read: {error}") from error
        function = (key.account_id, key.region, key.name.partition(":")[0])
        if isinstance(value, FunctionSettings):
            settings[function] = value
        else:
            (versions if isinstance(value, Version) else aliases)[function].append(value)
    for function in sorted(settings, key=lambda function: settings[function].sequence):
        yield _function(settings[function], versions[function], aliases[function])


def _function(settings: FunctionSettings, versions: list[Version], aliases: list[Alias]) -> Function:
    published = sorted((version for version in versions if version.number != LATEST), key=lambda v: int(v.number))
    latest = next((version for version in versions if version.number == LATEST), None)
    if latest is None:
        raise StateError(f"the stored function {settings.name} in {settings.region} has no $LATEST")
    return Function(
        settings=settings,
        latest=latest,
        versions={version.number: version for version in published},
        aliases={alias.name: alias for alias in aliases},
    )
