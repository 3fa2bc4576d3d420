"""PublishVersion and ListVersionsByFunction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.context import RequestContext
from lambda_provider.operations.functions import FunctionOperations, answer, versions_behind
from lambda_provider.store.editor import require_code_sha256
from lambda_provider.store.paging import page
from lambda_provider.validation.names import Qualified, resolve

if TYPE_CHECKING:
    from lambda_provider.api import shapes


class VersionOperations(FunctionOperations):
    """Published versions: immutable snapshots of code and configuration."""

    def publish_version(
        self, context: RequestContext, request: shapes.PublishVersionRequest
    ) -> shapes.FunctionConfiguration:
        """Publish `$LATEST`. If nothing changed since the last version, that one is the answer.

        Recorded: test_version_lifecycle (the description then stays the old one).
        """
        identity = resolve(context, request["FunctionName"], allow=Qualified.LATEST_ONLY)
        with self.store.function(identity) as function:
            function.require_revision(function.latest, request.get("RevisionId"))
            function.require_settled()
            require_code_sha256(function.latest, request.get("CodeSha256"))
            version = function.publish(request.get("Description"))
            if version.number not in function.original.versions:
                self.require_code_storage(context, version.configuration.code.stored_size)
                self.deploy_on_commit(function, version)
        return answer(version.describe(function.function, f"{function.arn}:{version.number}"))

    def list_versions_by_function(
        self, context: RequestContext, request: shapes.ListVersionsByFunctionRequest
    ) -> shapes.ListVersionsByFunctionResponse:
        """`$LATEST` and the published versions, at most 50 in a page (API reference)."""
        function = self.store.get(resolve(context, request["FunctionName"]).unqualified())

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            return versions_behind(function, position)

        items, more = page(request, f"versions/{function.arn}", items_after)
        return cast("shapes.ListVersionsByFunctionResponse", {"Versions": items, **more})
