"""A function as the records of the journal, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from lambda_provider.model.concurrency import FunctionScaling, ProvisionedConcurrency
from lambda_provider.model.documents import DocumentError, dump, load
from lambda_provider.model.event_invoke_config import EventInvokeConfig
from lambda_provider.model.function import LATEST, Alias, Function, FunctionSettings, Version
from lambda_provider.model.policy import Policy
from lambda_provider.model.runtime_management import RuntimeManagement
from lambda_provider.model.url import FunctionUrl
from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import Key

T = TypeVar("T")

QUALIFIED: dict[str, tuple[str, type[Any]]] = {
    "alias": ("aliases", Alias),
    "policy": ("policies", Policy),
    "url": ("urls", FunctionUrl),
    "event-invoke-config": ("event_invoke_configs", EventInvokeConfig),
    "runtime-management": ("runtime_management", RuntimeManagement),
    "provisioned-concurrency": ("provisioned", ProvisionedConcurrency),
    "scaling": ("scaling", FunctionScaling),
}
"""Kind of a record -> the mapping of `Function` that it is in, by qualifier, and its type."""

_KINDS: dict[str, type[Any]] = {"function": FunctionSettings, "version": Version}
_KINDS |= {kind: type_ for kind, (_, type_) in QUALIFIED.items()}

_Address = tuple[str, str, str]


def parts(function: Function) -> dict[Key, object]:
    """The parts of a function, each a record of its own: a change writes the parts that it changed."""

    def key(kind: str, name: str) -> Key:
        return Key(kind, function.account_id, function.region, name)

    found: dict[Key, object] = {key("function", function.name): function.settings}
    for version in function.all_versions():
        found[key("version", f"{function.name}:{version.number}")] = version
    for kind, (attribute, _) in QUALIFIED.items():
        for qualifier, part in getattr(function, attribute).items():
            found[key(kind, f"{function.name}:{qualifier}")] = part
    return found


def difference(old: Function | None, new: Function | None) -> tuple[dict[Key, str], list[Key]]:
    """What has to be written and deleted so that the records of `old` become those of `new`."""
    before = parts(old) if old is not None else {}
    after = parts(new) if new is not None else {}
    puts = {key: dump(part) for key, part in after.items() if before.get(key) is not part}
    return puts, [key for key in before if key not in after]


def read(type_: type[T], key: Key, document: str) -> T:
    """The value of a record. Raises StateError."""
    try:
        return load(type_, document)
    except DocumentError as error:
        raise StateError(f"the stored record {key} cannot be read: {error}") from error


def assemble(records: Iterable[tuple[Key, str]]) -> Iterator[Function]:
    """The functions of a journal, oldest first in each region. Raises StateError for records that do not fit."""
    settings: dict[_Address, FunctionSettings] = {}
    versions: dict[_Address, list[Version]] = defaultdict(list)
    qualified: dict[_Address, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for key, document in records:
        if key.kind not in _KINDS:
            raise StateError(f"the stored record {key} is of a kind that this version does not know")
        value = read(_KINDS[key.kind], key, document)
        name, _, qualifier = key.name.partition(":")
        function = (key.account_id, key.region, name)
        if isinstance(value, FunctionSettings):
            settings[function] = value
        elif isinstance(value, Version):
            versions[function].append(value)
        else:
            qualified[function][QUALIFIED[key.kind][0]][qualifier] = value
    for function in sorted(settings, key=lambda function: settings[function].sequence):
        yield _function(settings[function], versions[function], qualified[function])


def _function(settings: FunctionSettings, versions: list[Version], qualified: dict[str, dict[str, Any]]) -> Function:
    published = sorted((version for version in versions if version.number != LATEST), key=lambda v: int(v.number))
    latest = next((version for version in versions if version.number == LATEST), None)
    if latest is None:
        raise StateError(f"the stored function {settings.name} in {settings.region} has no $LATEST")
    return Function(
        settings=settings, latest=latest, versions={version.number: version for version in published}, **qualified
    )
