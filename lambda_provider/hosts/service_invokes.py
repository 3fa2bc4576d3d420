"""`POST /_lambda/invoke/FUNCTION-ARN`: another AWS service of the host runs a function.

The API has no way to say "I am S3, and it is about this bucket"; here the caller says so, with the token that shows that it is
the gateway's own child. What is refused, and with which error, is what Invoke refuses.
"""

from __future__ import annotations

import hmac
import uuid
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lambda_provider.api import LambdaError, ResourceNotFoundException
from lambda_provider.context import Caller, RequestContext
from lambda_provider.hosts.internal import json_response
from lambda_provider.hosts.services import link
from lambda_provider.wire.http import HttpRequest, HttpResponse
from lambda_provider.wire.serializer import error_response

if TYPE_CHECKING:
    from lambda_provider.api import shapes
    from lambda_provider.provider import LambdaProvider


class ServiceInvokes:
    """Invokes in the name of services, for who knows `token`."""

    def __init__(self, provider: LambdaProvider, token: str) -> None:
        self._provider = provider
        self._token = token

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request; the payload is the body, the answer's body what the function returned."""
        headers = request.headers
        if not hmac.compare_digest(headers.get(link.TOKEN, "").encode(), self._token.encode()):
            return json_response(403, {"message": "this is for the gateway's own services"})
        request_id = str(uuid.uuid4())
        try:
            response = await self._invoke(request, request_id, unquote(request.path.removeprefix(link.INVOKE_PATH)))
        except LambdaError as error:
            return error_response(error, request_id)
        answer = HttpResponse(response["StatusCode"], [("x-amzn-RequestId", request_id)], response.get("Payload", b""))
        if "FunctionError" in response:
            answer.headers.append((link.FUNCTION_ERROR, response["FunctionError"]))
        if "ExecutedVersion" in response:
            answer.headers.append((link.EXECUTED_VERSION, response["ExecutedVersion"]))
        return answer

    async def _invoke(self, request: HttpRequest, request_id: str, arn: str) -> shapes.InvocationResponse:
        headers = request.headers
        service, account = headers.get(link.SERVICE), headers.get(link.SOURCE_ACCOUNT)
        caller = Caller(
            account_id=None if service else account,
            service=service,
            source_arn=headers.get(link.SOURCE_ARN),
            source_account=account,
        )
        parts = arn.split(":")
        if len(parts) not in (7, 8) or parts[2] != "lambda":
            raise ResourceNotFoundException(f"Function not found: {arn}")
        trace_header = headers.get("x-amzn-trace-id")
        context = RequestContext(parts[4], parts[3], request_id, "Invoke", trace_header=trace_header, caller=caller)
        parameters: shapes.InvocationRequest = {"FunctionName": arn, "Payload": request.body}
        if link.KIND in headers:
            parameters["InvocationType"] = headers[link.KIND]
        if link.CLIENT_CONTEXT in headers:
            parameters["ClientContext"] = headers[link.CLIENT_CONTEXT]
        return await self._provider.invoke(context, parameters)
