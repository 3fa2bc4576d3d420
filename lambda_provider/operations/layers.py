"""Layers: code and libraries shared by functions. Recorded rules: TestLambdaLayer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from lambda_provider.api import ResourceNotFoundException
from lambda_provider.context import RequestContext
from lambda_provider.model.layers import Layer, LayerVersion
from lambda_provider.operations.code import CodeIntake
from lambda_provider.operations.layer_access import LayerAccess, not_authorized
from lambda_provider.store.editor import now
from lambda_provider.store.paging import page
from lambda_provider.validation.layer_names import (
    LayerId,
    LayerVersionId,
    parse_layer_version_arn,
    require_number,
    resolve_layer,
    resolve_layer_version,
)

if TYPE_CHECKING:
    from lambda_provider.api import shapes


class LayerOperations(CodeIntake, LayerAccess):
    """The life of layers and their versions."""

    def publish_layer_version(
        self, context: RequestContext, request: shapes.PublishLayerVersionRequest
    ) -> shapes.PublishLayerVersionResponse:
        """Store an archive as the next version of a layer; the first one makes the layer."""
        layer_id = resolve_layer(context, request["LayerName"])
        require_own(context, layer_id, "lambda:PublishLayerVersion", layer_id.arn)
        if layer_id.region != context.region:
            raise _no_such_resource()
        with self.accepted_code(context, "Zip", request["Content"]) as code:
            self.require_code_storage(context, code.stored_size)
            with self.store.layers.changing(layer_id.account_id, layer_id.region) as layers:
                layer = layers.get(layer_id.name) or Layer(
                    account_id=layer_id.account_id,
                    region=layer_id.region,
                    name=layer_id.name,
                    sequence=layers.next_sequence,
                )
                version = LayerVersion(
                    number=layer.next_number,
                    code=code,
                    created=now(),
                    description=request.get("Description", ""),
                    runtimes=_tuple(request.get("CompatibleRuntimes")),
                    architectures=_tuple(request.get("CompatibleArchitectures")),
                    license_info=request.get("LicenseInfo"),
                )
                layer = layers.put(layer.publishing(version))
        return cast("shapes.PublishLayerVersionResponse", self._layer_answer(context, layer, version))

    def get_layer_version(
        self, context: RequestContext, request: shapes.GetLayerVersionRequest
    ) -> shapes.GetLayerVersionResponse:
        """A layer version, and where its archive can be downloaded."""
        return self._get_layer_version(
            context, resolve_layer_version(context, request["LayerName"], request["VersionNumber"])
        )

    def get_layer_version_by_arn(
        self, context: RequestContext, request: shapes.GetLayerVersionByArnRequest
    ) -> shapes.GetLayerVersionResponse:
        """The same by ARN."""
        wanted = parse_layer_version_arn(request["Arn"])
        require_number(wanted.number)
        return self._get_layer_version(context, wanted)

    def list_layers(self, context: RequestContext, request: shapes.ListLayersRequest) -> shapes.ListLayersResponse:
        """The layers by name, each with its newest version that says it is compatible with what was asked for.

        A layer without such a version is left out, and so is one whose versions are all deleted.
        """
        asked = _asked(request)
        layers = {layer.name: layer for layer in self.store.layers.values(context.account_id, context.region)}

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            for name in sorted(layers):
                layer = layers[name]
                if (position is None or name > position) and (newest := layer.newest(*asked)) is not None:
                    item = newest.describe_in_list(layer)
                    yield name, {"LayerName": name, "LayerArn": layer.arn, "LatestMatchingVersion": item}

        items, more = page(request, f"layers/{asked}", items_after)
        return cast("shapes.ListLayersResponse", {"Layers": items, **more})

    def list_layer_versions(
        self, context: RequestContext, request: shapes.ListLayerVersionsRequest
    ) -> shapes.ListLayerVersionsResponse:
        """The versions of a layer that are not deleted, newest first; a layer that does not exist has none (recorded)."""
        layer_id = resolve_layer(context, request["LayerName"])
        require_own(context, layer_id, "lambda:ListLayerVersions", layer_id.arn)
        layer = self._layer_here(context, layer_id)
        asked = _asked(request)

        def items_after(position: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
            if layer is None:
                return
            for version in reversed(layer.versions.values()):
                if (position is None or version.number < position) and version.matches(*asked):
                    yield version.number, version.describe_in_list(layer)

        items, more = page(request, f"layer-versions/{layer_id.arn}/{asked}", items_after)
        return cast("shapes.ListLayerVersionsResponse", {"LayerVersions": items, **more})

    def delete_layer_version(self, context: RequestContext, request: shapes.DeleteLayerVersionRequest) -> None:
        """Delete a layer version; one that does not exist is not an error (recorded: test_layer_exceptions).

        Functions that have it keep its archive (API reference: "a copy of the version remains in Lambda").
        """
        wanted = resolve_layer_version(context, request["LayerName"], request["VersionNumber"])
        require_own(context, wanted.layer, "lambda:DeleteLayerVersion", wanted.arn)
        if self._layer_here(context, wanted.layer) is None:
            return
        with self.store.layers.changing(context.account_id, context.region) as layers:
            layer = layers.get(wanted.layer.name)
            if layer is not None and layer.version(wanted.number) is not None:
                layers.put(layer.without_version(wanted.number))

    def _layer_here(self, context: RequestContext, layer: LayerId) -> Layer | None:
        """A layer of the caller's account and region."""
        if layer.region != context.region:
            return None
        return self.store.layers.get(layer.account_id, layer.region, layer.name)

    def _get_layer_version(self, context: RequestContext, wanted: LayerVersionId) -> shapes.GetLayerVersionResponse:
        found = self.find_layer_version(context, wanted)
        if found is None:
            raise _no_such_resource()
        return cast("shapes.GetLayerVersionResponse", self._layer_answer(context, *found))

    def _layer_answer(self, context: RequestContext, layer: Layer, version: LayerVersion) -> dict[str, Any]:
        location = self.code_locations.make(
            context.endpoint_url or self.host.function_endpoint_url() or "",
            account_id=layer.account_id,
            region=layer.region,
            name=layer.name,
            sha256=version.code.sha256,
        )
        return version.describe(layer, location)


def require_own(context: RequestContext, layer: LayerId, action: str, resource: str) -> None:
    """Raise AccessDeniedException for a layer of another account: policies of layers grant GetLayerVersion only.

    Observed for ListLayerVersions: https://github.com/mooyoul/serverless-latest-layer-version/issues/31.
    """
    if layer.account_id != context.account_id:
        raise not_authorized(context, action, resource)


def _asked(request: Any) -> tuple[str | None, str | None]:
    return request.get("CompatibleRuntime"), request.get("CompatibleArchitecture")


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _no_such_resource() -> ResourceNotFoundException:
    return ResourceNotFoundException("The resource you requested does not exist.")
