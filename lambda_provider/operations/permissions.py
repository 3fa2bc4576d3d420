"""Who may invoke a function: AddPermission, RemovePermission and GetPolicy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lambda_provider.api import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.policy import Policy, allow, policy_text, principal_of
from lambda_provider.operations.policies import PolicyOperations, new_revision
from lambda_provider.validation.names import resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes

URL_ACTION = "lambda:InvokeFunctionUrl"
_READER = "GetPolicy"


class PermissionOperations(PolicyOperations):
    """The resource-based policy of a function, version or alias, statement by statement."""

    def add_permission(
        self, context: RequestContext, request: shapes.AddPermissionRequest
    ) -> shapes.AddPermissionResponse:
        """Add a statement to the policy, and answer it as JSON.

        Where there is no policy yet, a RevisionId is that of the version or alias.
        """
        identity = resolve(context, request["FunctionName"], request.get("Qualifier"))
        if "FunctionUrlAuthType" in request and request["Action"] != URL_ACTION:
            # The words: https://github.com/RJPearson94/terraform-aws-open-next/issues/73.
            raise InvalidParameterValueException(f"FunctionUrlAuthType is only supported for {URL_ACTION} action")
        with self.granting(identity, _READER) as slot:
            old, name = slot.policy, request["StatementId"]
            slot.require_revision(slot.resource_revision if old is None else old.revision_id, request.get("RevisionId"))
            if old is not None and old.find(name) is not None:
                raise ResourceConflictException(
                    f"The statement id ({name}) provided already exists. "
                    "Please provide a new statement id, or remove the existing statement."
                )
            statement = allow(
                statement_id=name,
                principal=granted_principal(request["Principal"], identity.region),
                action=request["Action"],
                resource=slot.resource_arn,
                conditions=_conditions(request),
            )
            empty = Policy(revision_id="", statements=())
            slot.put((old or empty).adding(statement, new_revision()))
        return {"Statement": policy_text(statement)}

    def remove_permission(self, context: RequestContext, request: shapes.RemovePermissionRequest) -> None:
        """Take a statement out of the policy; with the last one the policy goes."""
        identity = resolve(context, request["FunctionName"], request.get("Qualifier"))
        with self.revoking(identity, _READER) as (slot, old):
            slot.require_revision(old.revision_id, request.get("RevisionId"))
            name = request["StatementId"]
            if old.find(name) is None:
                # Recorded for layers: test_layer_policy_exceptions.
                raise ResourceNotFoundException(f"Statement {name} is not found in resource policy.")
            policy = old.without(name, new_revision())
            if policy.statements:
                slot.put(policy)
            else:
                slot.remove()

    def get_policy(self, context: RequestContext, request: shapes.GetPolicyRequest) -> shapes.GetPolicyResponse:
        """The policy as JSON, with its revision id."""
        policy = self.policy_of(resolve(context, request["FunctionName"], request.get("Qualifier")))
        return {"Policy": policy.text, "RevisionId": policy.revision_id}


def granted_principal(text: str, region: str) -> str | dict[str, str]:
    """A principal in the form of the policy language, or InvalidParameterValueException."""
    principal = principal_of(text, region)
    if principal is None:
        raise InvalidParameterValueException(
            "The provided principal was invalid. Please check the principal and try again."
        )
    return principal


def _conditions(request: shapes.AddPermissionRequest) -> Mapping[str, Mapping[str, str]]:
    """The conditions of a statement, by operator, in AWS's order.

    Recorded (test_add_lambda_permission_fields) is the order of a Java hash map; what was not recorded has its place in it.
    """
    equal = {
        "lambda:EventSourceToken": request.get("EventSourceToken"),
        "AWS:SourceAccount": request.get("SourceAccount"),
        "lambda:FunctionUrlAuthType": request.get("FunctionUrlAuthType"),
        "aws:PrincipalOrgID": request.get("PrincipalOrgID"),
    }
    via_url = request.get("InvokedViaFunctionUrl")
    boolean = {"lambda:InvokedViaFunctionUrl": None if via_url is None else str(via_url).lower()}
    like = {"AWS:SourceArn": request.get("SourceArn")}
    return {
        operator: {key: value for key, value in keys.items() if value is not None}
        for operator, keys in {"StringEquals": equal, "Bool": boolean, "ArnLike": like}.items()
    }
