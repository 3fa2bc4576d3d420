"""What the permission and the resource policy operations share: the one policy that a function, version or alias has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lambda_provider.api import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceNotFoundException,
)
from lambda_provider.model.function import LATEST
from lambda_provider.model.policy import MAX_POLICY_SIZE, Policy
from lambda_provider.operations.base import Operations
from lambda_provider.store.editor import FunctionEditor
from lambda_provider.validation.names import FunctionId


@dataclass(frozen=True, slots=True)
class PolicySlot:
    """The place of the policy of one resource, within a unit of work of its function."""

    function: FunctionEditor
    identity: FunctionId
    reader: str
    """The operation that tells the policy's revision id, for the error."""

    @property
    def policy(self) -> Policy | None:
        """The policy that the resource has."""
        return self.function.function.policies.get(_key(self.identity))

    @property
    def resource_arn(self) -> str:
        """The ARN of the function, version or alias."""
        return self.function.function.qualified_arn(self.identity.qualifier)

    @property
    def resource_revision(self) -> str:
        """The revision id of the version or alias itself."""
        function, name = self.function.function, _key(self.identity)
        resource = function.version(name) or function.aliases[name]
        return resource.revision_id

    def require_revision(self, current: str | None, expected: str | None) -> None:
        """Raise PreconditionFailedException if a revision id was given and is not the current one.

        Recorded: test_lambda_permission_fn_versioning, add_permission_alias_revision_exception.
        """
        if expected is not None and expected != current:
            raise PreconditionFailedException(
                "The Revision Id provided does not match the latest Revision Id. "
                f"Call the {self.reader} API to retrieve the latest Revision Id"
            )

    def put(self, policy: Policy) -> None:
        """Give the resource a policy. The words of the error: https://github.com/adobe/helix-deploy/issues/24."""
        if policy.size > MAX_POLICY_SIZE:
            raise PolicyLengthExceededException(
                f"The final policy size ({policy.size}) is bigger than the limit ({MAX_POLICY_SIZE})."
            )
        self.function.attach("policies", _key(self.identity), policy)

    def remove(self) -> None:
        """Take its policy away."""
        self.function.detach("policies", _key(self.identity))


class PolicyOperations(Operations):
    """The policies of functions, versions and aliases. Each resource has its own; publishing copies none.

    Recorded: test_lambda_permission_fn_versioning. The policy has a revision id of its own, which a change of the function
    leaves alone, and the other way round.
    """

    def policy_of(self, identity: FunctionId) -> Policy:
        """The policy of a resource. AWS does not say whether the resource or the policy is what does not exist.

        Recorded: test_permission_exceptions, get_policy_fn_doesnotexist.
        """
        function = self.store.find(identity.account_id, identity.region, identity.name)
        policy = function.policies.get(_key(identity)) if function is not None else None
        if policy is None or identity.qualifier == LATEST:
            raise ResourceNotFoundException("The resource you requested does not exist.")
        return policy

    @contextmanager
    def granting(self, identity: FunctionId, reader: str) -> Iterator[PolicySlot]:
        """Put or extend the policy of a resource that has to exist (recorded: test_permission_exceptions)."""
        if identity.qualifier == LATEST:
            # Before the look-up, as everything that the request alone tells.
            raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")
        with self.store.function(identity) as function:
            if function.function.find(identity.qualifier) is None:
                raise identity.alias_not_found()
            yield PolicySlot(function, identity, reader)

    @contextmanager
    def revoking(self, identity: FunctionId, reader: str) -> Iterator[tuple[PolicySlot, Policy]]:
        """Take from the policy of a resource, or all of it: its place, and the policy that has to be there.

        A function that does not exist is a policy that is not found, an alias that does not exist is an alias; a version
        has the words of the function, as when permissions are added (recorded: test_permission_exceptions,
        remove_permission_*).
        """
        if self.store.find(identity.account_id, identity.region, identity.name) is None:
            raise _no_policy_found(identity)
        with self.store.function(identity) as function:
            if function.function.find(identity.qualifier) is None:
                raise identity.alias_not_found() if identity.qualifier_kind == "alias" else _no_policy_found(identity)
            slot = PolicySlot(function, identity, reader)
            policy = slot.policy
            if policy is None or identity.qualifier == LATEST:
                raise ResourceNotFoundException("No policy is associated with the given resource.")
            yield slot, policy


def new_revision() -> str:
    """A revision id for a policy."""
    return str(uuid.uuid4())


def _key(identity: FunctionId) -> str:
    return identity.qualifier or LATEST


def _no_policy_found(identity: FunctionId) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"No policy found for: {identity.qualified_arn}")
