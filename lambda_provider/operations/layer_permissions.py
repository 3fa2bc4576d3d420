"""Who may use a layer version. Recorded rules: TestLambdaLayer::test_layer_policy_*."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lambda_provider.api import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.layers import Layer, LayerVersion
from lambda_provider.model.policy import MAX_POLICY_SIZE, Policy, account_principal, allow, policy_text
from lambda_provider.operations.base import Operations
from lambda_provider.operations.layers import require_own
from lambda_provider.operations.policies import new_revision
from lambda_provider.store.resources import ResourceEditor
from lambda_provider.validation.layer_names import LayerVersionId, resolve_layer_version

if TYPE_CHECKING:
    from lambda_provider.api import shapes


@dataclass(frozen=True, slots=True)
class _PolicySlot:
    """The place of a layer version's policy, within a unit of work."""

    layers: ResourceEditor[Layer]
    layer: Layer
    version: LayerVersion

    @property
    def policy(self) -> Policy | None:
        return self.version.policy

    def require_revision(self, expected: str | None) -> None:
        current = self.policy.revision_id if self.policy is not None else None
        if expected is not None and expected != current:
            raise PreconditionFailedException(
                "The Revision Id provided does not match the latest Revision Id. "
                "Call the GetLayerPolicy API to retrieve the latest Revision Id"
            )

    def put(self, policy: Policy | None) -> None:
        if policy is not None and policy.size > MAX_POLICY_SIZE:
            raise PolicyLengthExceededException(
                f"The final policy size ({policy.size}) is bigger than the limit ({MAX_POLICY_SIZE})."
            )
        self.layers.put(self.layer.with_version(replace(self.version, policy=policy)))


class LayerPermissionOperations(Operations):
    """The policy of a layer version: which accounts may get it and give it to their functions."""

    def add_layer_version_permission(
        self, context: RequestContext, request: shapes.AddLayerVersionPermissionRequest
    ) -> shapes.AddLayerVersionPermissionResponse:
        """Let an account, an organization or everybody use a layer version."""
        wanted = _wanted(context, request)
        organization = request.get("OrganizationId")
        if organization and request["Principal"] != "*":
            # API reference: "With the principal set to *, grant permission to all accounts in the specified organization."
            raise InvalidParameterValueException("OrganizationId can only be specified when the principal is *.")
        statement = allow(
            statement_id=request["StatementId"],
            principal=_principal(request["Principal"], context.region),
            action=request["Action"],
            resource=wanted.arn,
            conditions={"StringEquals": {"aws:PrincipalOrgID": organization}} if organization else None,
        )
        with self._changing_layer_policy(context, wanted) as slot:
            slot.require_revision(request.get("RevisionId"))
            policy = slot.policy or Policy(revision_id="", statements=())
            if policy.find(request["StatementId"]) is not None:
                raise ResourceConflictException(
                    f"The statement id ({request['StatementId']}) provided already exists. "
                    "Please provide a new statement id, or remove the existing statement."
                )
            policy = policy.adding(statement, new_revision())
            slot.put(policy)
        return {"Statement": policy_text(statement), "RevisionId": policy.revision_id}

    def remove_layer_version_permission(
        self, context: RequestContext, request: shapes.RemoveLayerVersionPermissionRequest
    ) -> None:
        """Take a statement out of the policy of a layer version; with the last one the policy goes."""
        with self._changing_layer_policy(context, _wanted(context, request)) as slot:
            if slot.policy is None:
                raise _no_policy()
            slot.require_revision(request.get("RevisionId"))
            statement_id = request["StatementId"]
            if slot.policy.find(statement_id) is None:
                raise ResourceNotFoundException(f"Statement {statement_id} is not found in resource policy.")
            policy = slot.policy.without(statement_id, new_revision())
            slot.put(policy if policy.statements else None)

    def get_layer_version_policy(
        self, context: RequestContext, request: shapes.GetLayerVersionPolicyRequest
    ) -> shapes.GetLayerVersionPolicyResponse:
        """The policy of a layer version."""
        wanted = _wanted(context, request)
        layer = self.store.layers.get(wanted.layer.account_id, context.region, wanted.layer.name)
        policy = _version(context, layer, wanted).policy
        if policy is None:
            raise _no_policy()
        return {"Policy": policy.text, "RevisionId": policy.revision_id}

    @contextmanager
    def _changing_layer_policy(self, context: RequestContext, wanted: LayerVersionId) -> Iterator[_PolicySlot]:
        with self.store.layers.changing(context.account_id, context.region) as layers:
            layer = layers.get(wanted.layer.name)
            version = _version(context, layer, wanted)
            assert layer is not None
            yield _PolicySlot(layers, layer, version)


def _wanted(
    context: RequestContext,
    request: shapes.AddLayerVersionPermissionRequest
    | shapes.RemoveLayerVersionPermissionRequest
    | shapes.GetLayerVersionPolicyRequest,
) -> LayerVersionId:
    """The layer version of a request, which has to be the caller's own: its policy is nobody else's business."""
    wanted = resolve_layer_version(context, request["LayerName"], request["VersionNumber"])
    require_own(context, wanted.layer, f"lambda:{context.operation}", wanted.arn)
    return wanted


def _version(context: RequestContext, layer: Layer | None, wanted: LayerVersionId) -> LayerVersion:
    version = layer.version(wanted.number) if layer is not None and wanted.layer.region == context.region else None
    if version is None:
        raise wanted.not_found()
    return version


def _principal(principal: str, region: str) -> str | dict[str, str]:
    """A principal in the policy language: `*`, or the root of an account that was named by its number or that ARN."""
    if principal == "*":
        return principal
    return {"AWS": principal} if principal.startswith("arn:") else account_principal(principal, region)


def _no_policy() -> ResourceNotFoundException:
    return ResourceNotFoundException("No policy is associated with the given resource.")
