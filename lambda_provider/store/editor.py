"""What an operation gets to look at and change one function within a unit of work."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lambda_provider.api import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.model.configuration import FunctionConfiguration
from lambda_provider.model.function import LATEST, Alias, Function, FunctionSettings, Status, Version
from lambda_provider.store.records import QUALIFIED


class FunctionEditor:
    """One function within `Store.function(...)`: `function` is its value with the changes so far.

    Every method that changes something makes a new value, and gives what it changed a new revision id. Nobody outside sees
    it before the block ends well. `require_*` raise AWS's error for what does not hold.
    """

    def __init__(self, function: Function) -> None:
        self.original = function
        self.function = function
        self.committing: list[Callable[[Function], None]] = []
        """Called with the new value when it is durable, just before readers see it."""

    @classmethod
    def new(cls, settings: FunctionSettings, configuration: FunctionConfiguration) -> FunctionEditor:
        """An editor for a function that does not exist yet."""
        latest = Version(
            number=LATEST,
            configuration=configuration,
            revision_id=_new_revision(),
            last_modified=now(),
            status=Status.creating(),
        )
        return cls(Function(settings=settings, latest=latest))

    @property
    def latest(self) -> Version:
        return self.function.latest

    @property
    def arn(self) -> str:
        return self.function.arn

    # What has to hold

    def require_revision(self, current: Version | Alias, expected: str | None) -> None:
        """Raise PreconditionFailedException if a revision id was given and is not the current one."""
        if expected is not None and expected != current.revision_id:
            raise PreconditionFailedException(
                "The Revision Id provided does not match the latest Revision Id. "
                "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
            )

    def require_settled(self) -> None:
        """Raise ResourceConflictException while `$LATEST` is being created or updated.

        Recorded: test_lambda_concurrent_config_updates.
        """
        status = self.latest.status
        if status.state == "Pending":
            raise ResourceConflictException(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {status.state}"
            )
        if not status.settled:
            raise ResourceConflictException(
                f"The operation cannot be performed at this time. An update is in progress for resource: {self.arn}"
            )

    def require_version(self, number: str) -> Version:
        """The version of that number, or ResourceNotFoundException."""
        version = self.function.version(number)
        if version is None:
            raise ResourceNotFoundException(f"Function not found: {self.arn}:{number}")
        return version

    def require_unreferenced(self, number: str) -> None:
        """Raise ResourceConflictException if an alias sends invokes to that version."""
        names = [alias.name for alias in self.function.aliases.values() if alias.refers_to(number)]
        if names:
            raise ResourceConflictException(
                f"Unable to delete version because the following aliases reference it: [{', '.join(names)}]"
            )

    # Changes

    def change_settings(self, **changes: Any) -> None:
        """Replace settings of the function itself."""
        self.function = replace(self.function, settings=replace(self.function.settings, **changes))

    def update_latest(self, configuration: FunctionConfiguration) -> Version:
        """Give `$LATEST` a configuration, which has to be prepared before it can run."""
        status = self.latest.status.updating()
        return self._put(replace(self.latest, configuration=configuration, status=status, last_modified=now()))

    def publish(self, description: str | None = None) -> Version:
        """The version that `$LATEST` is published as: a new one, or the last one if nothing changed since.

        A new version has the status that `$LATEST` had when it was last settled: published while a creation or an update is
        under way, it is Pending (recorded: test_publish_with_update); so it is until its snapshot is made, if it is to have one
        (https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html). `$LATEST` gets a new revision id, too (recorded:
        test_function_revisions_version_and_alias).
        """
        last = next(reversed(self.function.versions.values()), None)
        if last is not None and last.configuration == self.latest.configuration:
            return last
        number = str(self.function.settings.next_version)
        settled = self.latest.status.settled
        version = replace(self.latest, number=number, description=description)
        if not settled or version.snap_start:
            version = replace(version, status=Status.creating())
        self.change_settings(next_version=int(number) + 1)
        self._put(self.latest)
        return self._put(version)

    def settle(self, number: str, status: Status, *, new_revision: bool = True) -> None:
        """Give a version its status after preparation; AWS changes its revision id with it."""
        version = self.function.version(number)
        if version is not None:
            self._put(replace(version, status=status), new_revision=new_revision)

    def remove_version(self, number: str) -> None:
        """Delete a published version, if it exists, with all that belongs to it."""
        self._forget(number)
        versions = {name: version for name, version in self.function.versions.items() if name != number}
        self.function = replace(self.function, versions=versions)

    def attach(self, mapping: str, qualifier: str, value: Any) -> None:
        """Put what belongs to the function under a qualifier into one of its mappings (see `records.QUALIFIED`)."""
        self._replace_mapping(mapping, {**getattr(self.function, mapping), qualifier: value})

    def detach(self, mapping: str, qualifier: str) -> None:
        """Remove it again, if it is there."""
        kept = {key: value for key, value in getattr(self.function, mapping).items() if key != qualifier}
        self._replace_mapping(mapping, kept)

    def _replace_mapping(self, mapping: str, values: dict[str, Any]) -> None:
        changes: dict[str, Any] = {mapping: values}
        self.function = replace(self.function, **changes)

    def put_alias(self, name: str, *, version: str, description: str, weights: Mapping[str, float]) -> Alias:
        """Create or replace an alias."""
        alias = Alias(name=name, version=version, description=description, weights=weights, revision_id=_new_revision())
        self.attach("aliases", name, alias)
        return alias

    def remove_alias(self, name: str) -> None:
        """Delete an alias, if it exists, with all that belongs to it."""
        self._forget(name)

    def _forget(self, qualifier: str) -> None:
        for mapping, _ in QUALIFIED.values():
            # A URL outlives its alias (recorded: test_lambda_url_persists_after_alias_delete).
            if mapping != "urls" and qualifier in getattr(self.function, mapping):
                self.detach(mapping, qualifier)

    def _put(self, version: Version, *, new_revision: bool = True) -> Version:
        if new_revision:
            version = replace(version, revision_id=_new_revision())
        if version.number == LATEST:
            self.function = replace(self.function, latest=version)
        else:
            self.function = replace(self.function, versions={**self.function.versions, version.number: version})
        return version


def require_code_sha256(version: Version, expected: str | None) -> None:
    """Raise InvalidParameterValueException unless `$LATEST` has the code that PublishVersion was asked for."""
    current = version.configuration.code.api_sha256
    if expected and expected != current:
        raise InvalidParameterValueException(
            f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({current}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )


def now() -> str:
    """LastModified in Lambda's form: `2025-11-25T02:27:00.123+0000`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def _new_revision() -> str:
    return str(uuid.uuid4())
