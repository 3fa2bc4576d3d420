"""The truth: account -> region -> functions.

Values are immutable. A reader takes what is there, without a lock, and never sees half a change. A writer has the function's
lock for the length of its unit of work; the value that it leaves behind is journalled and then put where readers find it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple, Protocol

from lambda_provider.api import InvalidParameterValueException, ResourceNotFoundException
from lambda_provider.model.capacity_provider import CapacityProvider
from lambda_provider.model.code_signing import CodeSigningConfig
from lambda_provider.model.documents import dump
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.model.function import LATEST, Function, Status
from lambda_provider.model.layers import Layer
from lambda_provider.store.archives import ArchiveGone, ArchiveStore
from lambda_provider.store.editor import FunctionEditor
from lambda_provider.store.errors import StateError, refused
from lambda_provider.store.journal import Journal, Key
from lambda_provider.store.records import assemble, difference, parts, read
from lambda_provider.store.regions import Region, Slot
from lambda_provider.store.resources import R, ResourceTable

logger = logging.getLogger(__name__)


class FunctionIdentity(Protocol):
    """What the store has to know to find a function, and the error when there is none."""

    @property
    def account_id(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def name(self) -> str: ...
    def not_found(self) -> ResourceNotFoundException: ...


class Contents(NamedTuple):
    """All that a store holds: functions, and by their kind the resources beside them."""

    functions: list[Function]
    resources: dict[str, list[Any]]


class Store:
    """All functions of all accounts and regions. Usable from every thread."""

    def __init__(self, archives: ArchiveStore) -> None:
        """An empty store that lives in memory, until it is told to `load`."""
        self.archives = archives
        self._journal: Journal | None = None
        self._regions: dict[tuple[str, str], Region] = {}
        self._regions_lock = threading.Lock()
        self._tables: dict[str, ResourceTable[Any]] = {}
        self.layers = self._table("layer", Layer, Layer.archives)
        self.code_signing_configs = self._table("code-signing-config", CodeSigningConfig)
        self.capacity_providers = self._table("capacity-provider", CapacityProvider)
        self.event_source_mappings = self._table("event-source-mapping", EventSourceMapping)
        self._urls: dict[str, tuple[str, str, str]] = {}
        self.on_change: Callable[[Function | None, Function | None], None] = lambda old, new: None
        """Called with the old and the new value of a function when a change is durable, just before readers see it; None is
        a function that does not exist."""

    # Reading

    def find(self, account_id: str, region: str, name: str) -> Function | None:
        """The function of that name, or None. Takes no lock."""
        functions = self._regions.get((account_id, region))
        slot = functions.slots.get(name) if functions is not None else None
        return slot.value if slot is not None else None

    def get(self, identity: FunctionIdentity) -> Function:
        """The function, or ResourceNotFoundException."""
        function = self.find(identity.account_id, identity.region, identity.name)
        if function is None:
            raise identity.not_found()
        return function

    def url(self, url_id: str) -> tuple[Function, str] | None:
        """The function with the URL of that id, and the qualifier that the URL is for. Takes no lock."""
        function = self.find(*self._urls.get(url_id, ("", "", "")))
        if function is None:
            return None
        return next(((function, qualifier) for qualifier, url in function.urls.items() if url.url_id == url_id), None)

    def table(self, kind: str) -> ResourceTable[Any] | None:
        """The table of the resources that are stored under that kind."""
        return self._tables.get(kind)

    def functions(self, account_id: str, region: str, after: int = -1) -> Iterator[Function]:
        """The functions in order of creation, those behind a sequence number. Cheap to take a few from."""
        return self._region(account_id, region).functions(after)

    def all_functions(self) -> Iterator[Function]:
        """Every function of every account and region."""
        for account_id, region in list(self._regions):
            yield from self.functions(account_id, region)

    @property
    def function_count(self) -> int:
        """How many functions there are, of every account and region."""
        return sum(len(state.slots) for state in list(self._regions.values()))

    def usage(self, account_id: str, region: str) -> tuple[int, int]:
        """How many functions there are, and the bytes of code that they and the layers store."""
        functions, code_size = self._region(account_id, region).usage()
        return functions, code_size + sum(layer.code_size for layer in self.layers.values(account_id, region))

    # Units of work

    @contextmanager
    def function(self, identity: FunctionIdentity, *, durable: bool = True) -> Iterator[FunctionEditor]:
        """Change one function: `with store.function(identity) as function: …`.

        When the block ends well, the changed value is durable and then visible; when it raises, nothing has changed. What is
        worked out again after each load need not be `durable`: the journal keeps what it has.
        Raises ResourceNotFoundException.
        """
        slot = self._region(identity.account_id, identity.region).slots.get(identity.name)
        if slot is None:
            raise identity.not_found()
        with slot.lock:
            if slot.value is None:
                raise identity.not_found()
            editor = FunctionEditor(slot.value)
            yield editor
            if editor.function is not editor.original:
                self._commit(slot, editor, durable=durable)

    @contextmanager
    def new_function(self, editor: FunctionEditor) -> Iterator[FunctionEditor]:
        """Create the function that an editor holds. Raises ResourceConflictException if the name is taken."""
        settings = editor.function.settings
        state = self._region(settings.account_id, settings.region)
        slot = Slot(None)
        with slot.lock:
            editor.change_settings(sequence=state.reserve(settings.name, slot))
            try:
                yield editor
                self._commit(slot, editor, created=True)
            except BaseException:
                state.release(settings.name)
                raise

    def delete(self, identity: FunctionIdentity) -> Function:
        """Delete a function with all that belongs to it, and return what it was. Raises ResourceNotFoundException."""
        slot = self._region(identity.account_id, identity.region).slots.get(identity.name)
        function = self._remove(slot) if slot is not None else None
        if function is None:
            raise identity.not_found()
        return function

    # Everything at once

    def clear(self) -> None:
        """Delete everything, durably."""
        for state in list(self._regions.values()):
            for slot in list(state.slots.values()):
                self._remove(slot)
        for table in self._tables.values():
            table.clear()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all."""
        tables = (table.all() for table in self._tables.values())
        return next(chain(self.all_functions(), *tables), None) is None

    def records(self) -> list[tuple[Key, str]]:
        """Everything, as the records of a journal."""
        found = [(key, dump(part)) for function in self.all_functions() for key, part in parts(function).items()]
        for table in self._tables.values():
            found += table.records()
        return found

    def read(self, records: Iterable[tuple[Key, str]]) -> Contents:
        """What the records of a journal mean; every version is Pending. Raises StateError for what cannot be read."""
        resources: dict[str, list[Any]] = {kind: [] for kind in self._tables}
        of_functions = []
        for key, document in records:
            if key.kind in resources:
                resources[key.kind].append(read(self._tables[key.kind].type, key, document))
            else:
                of_functions.append((key, document))
        return Contents([_pending(function) for function in assemble(of_functions)], resources)

    def load(self, journal: Journal | None, contents: Contents) -> None:
        """Have these contents instead of what is here, and write changes into the journal that holds them, if one does."""
        # What is new is counted on before what was here is let go: they may share archives.
        before = [function.archives() for function in self.all_functions()]
        self._regions, self._urls = {}, {}
        for function in contents.functions:
            self._adopt(function)
        for kind, table in self._tables.items():
            table.take_over(contents.resources[kind])
        for archives in before:
            self.archives.release(archives)
        self.archives.collect()
        self._journal = journal

    def _table(
        self, kind: str, type_: type[R], archives_of: Callable[[R], Iterable[str]] = lambda _: ()
    ) -> ResourceTable[R]:
        """A table of resources beside functions, stored under `kind`."""
        table = self._tables[kind] = ResourceTable(kind, type_, self._write, self.archives, archives_of)
        return table

    def _write(self, puts: Mapping[Key, str], deletes: Iterable[Key]) -> None:
        """Make records durable. Raises ServiceException when that is not possible; nothing has changed then."""
        if self._journal is not None:
            try:
                self._journal.write(puts, deletes)
            except StateError as error:
                raise refused(error) from error

    def _region(self, account_id: str, region: str) -> Region:
        state = self._regions.get((account_id, region))
        if state is None:
            with self._regions_lock:
                state = self._regions.setdefault((account_id, region), Region())
        return state

    def _adopt(self, function: Function) -> None:
        if missing := self.archives.adopt(function.archives()):
            # Its versions become Failed, which says so to clients; the others go on.
            logger.error("the code of function %s is missing: no archive %s", function.arn, ", ".join(missing))
        self._region(function.account_id, function.region).adopt(function)
        self._index_urls(None, function)

    def _commit(self, slot: Slot, editor: FunctionEditor, *, created: bool = False, durable: bool = True) -> None:
        """Make the editor's value durable, then visible. The one way by which a stored function changes."""
        old, new = (None if created else editor.original), editor.function
        try:
            self.archives.retain(new.archives())
        except ArchiveGone as gone:
            raise _deleted_layer(new, gone.sha256) from gone
        try:
            if durable:
                self._record(old, new)
        except BaseException:
            self.archives.release(new.archives())
            raise
        for committing in editor.committing:
            committing(new)
        self.on_change(old, new)
        self._region(new.account_id, new.region).put(slot, old, new)
        self._index_urls(old, new)
        if old is not None:
            self.archives.release(old.archives())

    def _remove(self, slot: Slot) -> Function | None:
        with slot.lock:
            function = slot.value
            if function is None:
                return None
            self._record(function, None)
            self.on_change(function, None)
            self._index_urls(function, None)  # Before somebody else may have the name.
            self._region(function.account_id, function.region).remove(slot, function)
            self.archives.release(function.archives())
            return function

    def _index_urls(self, old: Function | None, new: Function | None) -> None:
        before, after = (function.urls if function is not None else {} for function in (old, new))
        if before is after:
            return
        for url in before.values():
            self._urls.pop(url.url_id, None)
        if new is not None:
            address = (new.account_id, new.region, new.name)
            self._urls.update({url.url_id: address for url in after.values()})

    def _record(self, old: Function | None, new: Function | None) -> None:
        if self._journal is not None:
            self._write(*difference(old, new))


def _deleted_layer(function: Function, sha256: str) -> InvalidParameterValueException:
    """The error when a layer version was deleted between the look at it and the commit of the function that wants it.

    A function's own code is held until the commit, and what a stored version uses is counted on.
    """
    layers = (layer for version in function.all_versions() for layer in version.configuration.layers)
    arn = next(layer.arn for layer in layers if layer.sha256 == sha256)
    return InvalidParameterValueException(f"Layer version {arn} does not exist.")


def _pending(function: Function) -> Function:
    """A function that was stored, before its versions are prepared again. Nothing of it is written for that."""
    versions = {version.number: replace(version, status=Status.restoring()) for version in function.all_versions()}
    return replace(function, latest=versions.pop(LATEST), versions=versions)
