"""Invoke, InvokeAsync and InvokeWithResponseStream.

The way of most requests, so it is short: names are split once, the function is two dictionary look-ups away, the payload is
scanned once and stays bytes. Everything runs on the runtime's loop; a thread is involved only when a version is not ready.
"""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from lambda_provider.api import OperationNotImplemented
from lambda_provider.context import TRACE_ID, Caller, RequestContext
from lambda_provider.delivery.records import Parcel
from lambda_provider.model.function import LATEST, LATEST_PUBLISHED, Function, Version
from lambda_provider.operations import lineage
from lambda_provider.operations.base import Operations
from lambda_provider.operations.invoke_errors import as_aws_error, cannot_run, in_a_loop, not_ready, require_tenant
from lambda_provider.operations.payload import EMPTY, check_json, check_size, decode_client_context
from lambda_provider.store.errors import StateError, refused
from lambda_provider.validation.names import FunctionId, resolve
from lambda_runtime.errors import RuntimeServiceError, ServiceStopped
from lambda_runtime.event_queue import Outcome
from lambda_runtime.types import Invocation, InvocationResult

if TYPE_CHECKING:
    from lambda_provider.api import shapes

RECURSIVE_INVOCATIONS_DROPPED = "RecursiveInvocationsDropped"


class InvokeOperations(Operations):
    """Running functions."""

    async def invoke(self, context: RequestContext, request: shapes.InvocationRequest) -> shapes.InvocationResponse:
        """Run a function and answer what it returned, accept an event, or only check that it could be run."""
        if "DurableExecutionName" in request:
            raise OperationNotImplemented("Invoke with DurableExecutionName")
        kind = request.get("InvocationType", "RequestResponse")
        payload = request.get("Payload") or EMPTY
        if kind == "Event":
            tenant_id = request.get("TenantId")
            await self._enqueue(context, request["FunctionName"], request.get("Qualifier"), payload, tenant_id)
            return {"StatusCode": 202, "Payload": b""}
        invocation = await self._invocation(context, request, payload)
        if kind == "DryRun":
            return {"StatusCode": 204, "Payload": b""}
        result = await self.run(invocation)
        response: shapes.InvocationResponse = {
            "StatusCode": 200,
            "ExecutedVersion": result.executed_version,
            "Payload": result.payload,
        }
        if result.function_error is not None:
            response["FunctionError"] = result.function_error
        if result.log_tail is not None:
            response["LogResult"] = base64.b64encode(result.log_tail).decode()
        return response

    async def invoke_async(
        self, context: RequestContext, request: shapes.InvokeAsyncRequest
    ) -> shapes.InvokeAsyncResponse:
        """Accept an event, in the way of the API before `Invoke`."""
        await self._enqueue(context, request["FunctionName"], None, request["InvokeArgs"] or EMPTY)
        return {"Status": 202}

    async def invoke_with_response_stream(
        self, context: RequestContext, request: shapes.InvokeWithResponseStreamRequest
    ) -> shapes.InvokeWithResponseStreamResponse:
        """Run a function and pass on what it returns while it returns it.

        A failure of the function is told in the last event. A function that does not stream answers in one chunk.
        """
        invocation = await self._invocation(context, request, request.get("Payload") or EMPTY, streaming=True)
        if request.get("InvocationType") == "DryRun":
            return {"StatusCode": 204}
        result = await self.run(invocation)
        return {
            "StatusCode": 200,
            "ExecutedVersion": result.executed_version,
            "ResponseStreamContentType": result.content_type or "application/octet-stream",
            "EventStream": _events(result),
        }

    async def _invocation(
        self,
        context: RequestContext,
        request: shapes.InvocationRequest | shapes.InvokeWithResponseStreamRequest,
        payload: bytes,
        *,
        streaming: bool = False,
    ) -> Invocation:
        """What a synchronous request asks to run, once everything that AWS checks first is in order."""
        check_size(payload, self.config.payload_size)
        function, version, invoked_arn = await self._target(context, request["FunctionName"], request.get("Qualifier"))
        require_tenant(version, request.get("TenantId"))
        check_json(payload)
        client_context = request.get("ClientContext")
        trace_header = self._trace(context, function, version, invoked_arn)
        context.answer_headers.append((TRACE_ID, trace_header))
        return Invocation(
            version_arn=f"{function.arn}:{version.number}",
            invoked_arn=invoked_arn,
            payload=payload,
            request_id=context.request_id,
            client_context=decode_client_context(client_context) if client_context else None,
            trace_header=trace_header,
            tenant_id=request.get("TenantId"),
            want_log_tail=request.get("LogType") == "Tail",
            streaming=streaming,
        )

    async def invoke_for(self, target_arn: str, parcel: Parcel) -> None:
        """Accept an event for a function that is the destination of another one. Raises AWS's error when it is refused."""
        _, _, _, region, account_id, *_ = target_arn.split(":")
        source = Caller(account_id=parcel.source.split(":")[4])
        context = RequestContext(
            account_id, region, str(uuid.uuid4()), "Invoke", trace_header=parcel.trace_header, caller=source
        )
        await self._enqueue(context, target_arn, None, parcel.body.encode())

    async def invoke_for_source(self, function_arn: str, payload: bytes, trace_header: str | None) -> InvocationResult:
        """Run a function for an event source mapping, and wait for what it answers.

        `function_arn` has the qualifier of the mapping; `trace_header` is that of the record that caused the invocation. The
        mapping belongs to the function's account: nobody's permission is asked. Raises AWS's error when the function does not
        run.
        """
        _, _, _, region, account_id, *_ = function_arn.split(":")
        context = RequestContext(account_id, region, str(uuid.uuid4()), "Invoke", trace_header=trace_header)
        function, version, invoked_arn = await self.ready(resolve(context, function_arn))
        result = await self.run(
            Invocation(
                version_arn=f"{function.arn}:{version.number}",
                invoked_arn=invoked_arn,
                payload=payload,
                request_id=context.request_id,
                trace_header=self._trace(context, function, version, invoked_arn),
            )
        )
        result.request_id = context.request_id
        return result

    async def _enqueue(
        self,
        context: RequestContext,
        name: str,
        qualifier: str | None,
        payload: bytes,
        tenant_id: str | None = None,
    ) -> None:
        check_size(payload, self.config.event_payload_size)
        function, version, invoked_arn = await self._target(context, name, qualifier)
        require_tenant(version, tenant_id)
        check_json(payload)
        trace_header, loops = self._chain(context, function, version)
        context.answer_headers.append((TRACE_ID, trace_header))
        invocation = Invocation(
            version_arn=f"{function.arn}:{version.number}",
            invoked_arn=invoked_arn,
            payload=payload,
            request_id=context.request_id,
            trace_header=trace_header,
            tenant_id=tenant_id,
        )
        try:
            # An event that closes a loop is accepted, but does not run: it goes where failed events go.
            await self.runtime.enqueue(invocation, Outcome.RECURSIVE_INVOCATION if loops else None)
            if loops:
                self.runtime.count(RECURSIVE_INVOCATIONS_DROPPED, invocation.version_arn, invoked_arn)
        except RuntimeServiceError as error:
            raise as_aws_error(error, invocation.version_arn) from error
        except StateError as error:
            raise refused(error) from error

    async def _target(self, context: RequestContext, name: str, qualifier: str | None) -> tuple[Function, Version, str]:
        """The function, the version to run, and the ARN as the caller named it.

        A version that is being prepared is waited for, so an invoke right after a change runs what was changed.
        """
        identity = resolve(context, name, qualifier)
        if self.authorizer is not None:
            found = self.store.find(identity.account_id, identity.region, identity.name)
            await self.authorizer.require_invoke(context, found, identity)
        return await self.ready(identity)

    async def ready(self, identity: FunctionId) -> tuple[Function, Version, str]:
        """What `_target` answers, for who has asked already whether the caller may: function URLs."""
        function, version = self._choose(identity)
        if not version.status.settled:
            try:
                # A snapshot may take minutes to make.
                await self.transitions.ready(f"{function.arn}:{version.number}", at_once=version.snap_start)
            except ServiceStopped as error:
                raise as_aws_error(error, function.arn) from error
            function, version = self._choose(identity)
            if version.snap_start and not version.status.settled:
                raise not_ready()
        if version.status.state == "Failed" or (function.scaling and function.state_of(version) == "Deactivated"):
            raise cannot_run(version, function.state_of(version))
        return function, version, function.arn if identity.qualifier is None else identity.qualified_arn

    def _trace(self, context: RequestContext, function: Function, version: Version, invoked_arn: str) -> str:
        """The trace header of a synchronous invocation. Raises RecursiveInvocationException instead of closing a loop."""
        trace_header, loops = self._chain(context, function, version)
        if loops:
            self.runtime.count(RECURSIVE_INVOCATIONS_DROPPED, f"{function.arn}:{version.number}", invoked_arn)
            raise in_a_loop()
        return trace_header

    def _chain(self, context: RequestContext, function: Function, version: Version) -> tuple[str, bool]:
        """The trace header of an invocation, and whether the chain of requests has run the function too often."""
        trace_header, before = lineage.extend(self.sampled(context.trace_header, function, version), function.arn)
        return trace_header, before >= lineage.LIMIT and function.settings.recursive_loop == "Terminate"

    def _choose(self, identity: FunctionId) -> tuple[Function, Version]:
        function = self.store.find(identity.account_id, identity.region, identity.name)
        qualifier = identity.qualifier
        if function is not None:
            if qualifier is None or qualifier == LATEST:
                return function, function.latest
            alias = function.aliases.get(qualifier)
            if alias is not None:
                qualifier = alias.version
                for additional, weight in alias.weights.items():
                    # Each invoke is its own draw; AWS calls it a simple probabilistic model.
                    if random.random() < weight:
                        qualifier = additional
            version = function.latest_published if qualifier == LATEST_PUBLISHED else function.version(qualifier)
            if version is not None:
                return function, version
        # With the qualifier even if none was given (recorded: test_invoke_exceptions).
        raise identity.or_latest().not_found()

    def sampled(self, trace_header: str | None, function: Function, version: Version) -> str | None:
        """The header with the decision whether the trace is sampled, if the function traces actively; else as it is."""
        return self.runtime.sampler.header(trace_header, function.arn, version.configuration.tracing_mode)

    def count(self, metric: str, version_arn: str, invoked_arn: str, value: float = 1.0) -> None:
        """Count one of AWS's metrics for what was invoked; nothing for a version that is not there."""
        self.runtime.count(metric, version_arn, invoked_arn, value)

    async def run(self, invocation: Invocation) -> InvocationResult:
        """Run what is ready. Raises AWS's error for what the data plane refuses."""
        try:
            return await self.runtime.invoke(invocation)
        except RuntimeServiceError as error:
            raise as_aws_error(error, invocation.version_arn) from error


async def _events(result: InvocationResult) -> AsyncIterator[shapes.InvokeWithResponseStreamResponseEvent]:
    """The events of a streamed response: chunks, then how it ended."""
    if result.stream is not None:
        try:
            async for chunk in result.stream:
                yield {"PayloadChunk": {"Payload": chunk}}
        finally:
            # A client that went away: the function's side is told at once, not when garbage is collected.
            if isinstance(result.stream, AsyncGenerator):
                await result.stream.aclose()
    elif result.payload:
        yield {"PayloadChunk": {"Payload": result.payload}}
    complete: shapes.InvokeWithResponseStreamCompleteEvent = {}
    if result.function_error is not None:
        complete["ErrorCode"] = result.function_error
        complete["ErrorDetails"] = result.payload.decode("utf-8", "replace")
    if result.log_tail is not None:
        complete["LogResult"] = base64.b64encode(result.log_tail).decode()
    yield {"InvokeComplete": complete}
