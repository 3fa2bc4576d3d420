"""Who may call a function URL (lambda/latest/dg/urls-auth.html). Unlike that of invokes, this is always enforced, as on AWS.

`lambda:InvokeFunctionUrl` is what counts: recorded URLs answer with that permission alone. Identity-based policies are not
evaluated, so an identity of the function's account may call an `AWS_IAM` URL unless the function's policy denies it.
"""

from __future__ import annotations

from lambda_provider.api.errors import AccessDeniedException
from lambda_provider.context import Caller
from lambda_provider.model.function import LATEST, Function
from lambda_provider.model.url import FunctionUrl
from lambda_provider.operations.authorization import AccessRequest, Decision, decide, policies_of
from lambda_provider.urls.callers import Callers, Principal
from lambda_provider.urls.requests import UrlRequest
from lambda_provider.urls.signatures import signature_of

INVOKE_URL = "lambda:InvokeFunctionUrl"
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


async def authorize(
    function: Function, qualifier: str, url: FunctionUrl, request: UrlRequest, callers: Callers
) -> Principal | None:
    """Who calls, None if nobody asks for it; raises AccessDeniedException (recorded:
    test_lambda_url_persists_after_alias_delete), or what is wrong with the signature."""
    principal = None
    if url.auth_type == "AWS_IAM":
        signature = signature_of(request, function.region)
        if signature is None:
            raise AccessDeniedException(FORBIDDEN)
        principal = await callers.authenticate(signature)
    alias = None if qualifier == LATEST else qualifier
    if alias is not None and alias not in function.aliases:
        raise AccessDeniedException(FORBIDDEN)
    caller = Caller() if principal is None else Caller(account_id=principal.account_id, arn=principal.arn)
    asked = AccessRequest(
        caller=caller,
        action=INVOKE_URL,
        resource=function.qualified_arn(alias),
        keys={"lambda:functionurlauthtype": url.auth_type, "aws:sourceip": request.client},
    )
    decision = decide(policies_of(function, alias), asked)
    own = principal is not None and principal.account_id == function.account_id
    if decision is Decision.DENIED or (decision is Decision.NOT_ALLOWED and not own):
        raise AccessDeniedException(FORBIDDEN)
    return principal
