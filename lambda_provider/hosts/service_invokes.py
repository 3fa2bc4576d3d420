"""What other AWS services of the host may do: `POST /_lambda/invoke/FUNCTION-ARN` runs a function.

The API has no way to say "I am S3, and it is about this bucket"; here the caller says so, with the token that shows that it is
the gateway's own child. What is refused, and with which error, is what Invoke refuses.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import uuid
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lambda_provider.api import LambdaError, ResourceNotFoundException
from lambda_provider.context import Caller, RequestContext
from lambda_provider.hosts.internal import Handler, json_response
from lambda_provider.hosts.services import link
from lambda_provider.wire.http import HttpRequest, HttpResponse
from lambda_provider.wire.serializer import error_response

if TYPE_CHECKING:
    from lambda_provider.api import shapes
    from lambda_provider.provider import LambdaProvider


class _ForServices:
    """What answers only to who knows `token`."""

    def __init__(self, provider: LambdaProvider, token: str) -> None:
        self._provider = provider
        self._token = token

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if not hmac.compare_digest(request.headers.get(link.TOKEN, "").encode(), self._token.encode()):
            return json_response(403, {"message": "this is for the gateway's own services"})
        return await self._answer(request)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        raise NotImplementedError


class ServiceTags(_ForServices):
    """`POST /_lambda/tag/ARN`: adds tags that only services may give a resource; the body is a JSON object."""

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        arn = unquote(request.path.removeprefix(link.TAG_PATH))
        context = RequestContext(arn.split(":")[4], arn.split(":")[3], str(uuid.uuid4()), "TagResource")
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self._provider.tag_for_service, context, arn, json.loads(request.body))
        except LambdaError as error:
            return error_response(error, context.request_id)
        return HttpResponse(204)


class ServiceInvokes(_ForServices):
    """Invokes in the name of services: the payload is the body, the answer's body what the function returned."""

    async def _answer(self, request: HttpRequest) -> HttpResponse:
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


def actions_for_services(provider: LambdaProvider, token: str | None) -> dict[str, Handler]:
    """What is answered at `/_lambda/NAME/…`, by name; nothing without a token."""
    if token is None:
        return {}
    return {"invoke": ServiceInvokes(provider, token), "tag": ServiceTags(provider, token)}
