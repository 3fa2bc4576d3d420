"""The resource-based policy of a function, version or alias as one document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_provider.api import ResourceNotFoundException
from lambda_provider.context import RequestContext
from lambda_provider.operations.policies import PolicyOperations, new_revision
from lambda_provider.operations.policy_documents import read_policy
from lambda_provider.validation.names import FunctionId, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

_READER = "GetResourcePolicy"


class ResourcePolicyOperations(PolicyOperations):
    """The policy that AddPermission adds to, read and replaced as a whole (API reference, PutResourcePolicy)."""

    def put_resource_policy(
        self, context: RequestContext, request: shapes.PutResourcePolicyRequest
    ) -> shapes.PutResourcePolicyResponse:
        """Replace the policy, permissions that were added included. With a RevisionId there has to be that policy."""
        identity = _resource(context, request["ResourceArn"])
        with self.granting(identity, _READER) as slot:
            old = slot.policy
            slot.require_revision(old.revision_id if old is not None else None, request.get("RevisionId"))
            policy = read_policy(request["Policy"], identity.region, new_revision())
            slot.put(policy)
        return {"Policy": policy.text, "RevisionId": policy.revision_id}

    def get_resource_policy(
        self, context: RequestContext, request: shapes.GetResourcePolicyRequest
    ) -> shapes.GetResourcePolicyResponse:
        """The policy as JSON, with its revision id."""
        policy = self.policy_of(_resource(context, request["ResourceArn"]))
        return {"Policy": policy.text, "RevisionId": policy.revision_id}

    def delete_resource_policy(self, context: RequestContext, request: shapes.DeleteResourcePolicyRequest) -> None:
        """Take the policy away, with every permission in it."""
        with self.revoking(_resource(context, request["ResourceArn"]), _READER) as (slot, policy):
            slot.require_revision(policy.revision_id, request.get("RevisionId"))
            slot.remove()


def _resource(context: RequestContext, arn: str) -> FunctionId:
    """The function that an ARN means. The model has ARNs of runtimes, too; there are none with a policy."""
    if ":function:" not in arn:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return resolve(context, arn)
