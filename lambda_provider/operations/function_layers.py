"""The layers of a function: which ones it may have, and together how large."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.context import RequestContext
from lambda_provider.model.configuration import Code, LayerReference
from lambda_provider.operations.layer_access import LayerAccess
from lambda_provider.validation.layer_names import LayerVersionId, parse_layer_version_arn


class FunctionLayers(LayerAccess):
    """Checks the layers that a function is given.

    Compatible runtimes and architectures of a layer are for lists only: AWS takes any layer for any function
    (https://repost.aws/questions/QUyzOdvP4GQPyzcy-u-7eceA).
    """

    def layers_of_function(
        self, context: RequestContext, arns: Sequence[str], code: Code
    ) -> tuple[LayerReference, ...]:
        """The layer versions that a function with this code is to use, in their order.

        Recorded: test_layer_function_exceptions, test_layer_function_quota_exception. A layer version that was deleted is
        refused, also for a function that has it already; it goes on having it as long as its layers are not changed.
        """
        wanted = [parse_layer_version_arn(arn) for arn in arns]
        if len(wanted) > self.config.function_layers:
            raise InvalidParameterValueException(f"Cannot reference more than {self.config.function_layers} layers.")
        for each in wanted:
            if not each.belongs_to(context.account_id):
                self.find_layer_version(context, each)
        _require_region(context, wanted)
        _require_different_layers(wanted)
        layers = tuple(self._layer_reference(context, each) for each in wanted)
        self.require_unzipped_size(code, layers)
        return layers

    def require_unzipped_size(self, code: Code, layers: Iterable[LayerReference]) -> None:
        """Raise unless code and layers together are small enough unzipped.

        The words: https://github.com/serverlesspub/ffmpeg-aws-lambda-layer/issues/23, and for layers that are too large
        without the code https://github.com/bento-video/bento/issues/1.
        """
        limit = self.config.code_size_unzipped
        of_layers = sum(layer.unzipped_size for layer in layers)
        if of_layers > limit:
            raise InvalidParameterValueException(f"Layers consume more than the available size of {limit} bytes")
        if (size := code.unzipped_size + of_layers) > limit:
            raise InvalidParameterValueException(
                f"Function code combined with layers exceeds the maximum allowed size of {limit} bytes. "
                f"The actual size is {size} bytes."
            )

    def _layer_reference(self, context: RequestContext, wanted: LayerVersionId) -> LayerReference:
        found = self.find_layer_version(context, wanted)
        if found is None:
            raise InvalidParameterValueException(f"Layer version {wanted.arn} does not exist.")
        code = found[1].code
        return LayerReference(arn=wanted.arn, sha256=code.sha256, size=code.size, unzipped_size=code.unzipped_size)


def _require_region(context: RequestContext, wanted: Iterable[LayerVersionId]) -> None:
    if any(each.layer.region != context.region for each in wanted if not each.is_aws_own):
        raise InvalidParameterValueException(
            f"Layers are not in the same region as the function. Layers are expected to be in region {context.region}."
        )


def _require_different_layers(wanted: Iterable[LayerVersionId]) -> None:
    first_of: dict[str, str] = {}
    for each in wanted:
        if each.layer.arn in first_of:
            # Also for the same version twice (recorded: two_identical_layer_versions_single_function_exc).
            raise InvalidParameterValueException(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{first_of[each.layer.arn]} and {each.arn} are versions of the same layer."
            )
        first_of[each.layer.arn] = each.arn
