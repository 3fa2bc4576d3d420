"""Which layer is meant: a name or an ARN; and which layer version: a layer and a number, or an ARN with one."""

from __future__ import annotations

from dataclasses import dataclass

from lambda_provider.api.exceptions import InvalidParameterValueException, ResourceNotFoundException
from lambda_provider.context import RequestContext
from lambda_provider.validation.arns import layer_arn


@dataclass(frozen=True, slots=True)
class LayerId:
    """A layer, wherever it is. Nothing says that it exists. One without account and region is AWS's own (`awslayer`)."""

    account_id: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        """The ARN of the layer."""
        return layer_arn(self.account_id, self.region, self.name)


@dataclass(frozen=True, slots=True)
class LayerVersionId:
    """A layer version, wherever it is. `arn` is the ARN as it was asked for."""

    layer: LayerId
    number: int
    arn: str

    @property
    def is_aws_own(self) -> bool:
        """Whether it belongs to no account: `arn:aws:lambda:::awslayer:NAME`."""
        return not self.layer.account_id

    def belongs_to(self, account_id: str) -> bool:
        """Whether that account needs no permission to use it."""
        return self.is_aws_own or self.layer.account_id == account_id

    def not_found(self) -> ResourceNotFoundException:
        """The error of the permission operations (recorded: test_layer_policy_exceptions)."""
        return ResourceNotFoundException(f"Layer version {self.arn} does not exist.")


def resolve_layer(context: RequestContext, name: str) -> LayerId:
    """The layer that a LayerName means: a name of the caller's account and region, or an ARN of any."""
    if not name.startswith("arn:"):
        return LayerId(context.account_id, context.region, name)
    _, _, _, region, account_id, _, name = name.split(":")
    return LayerId(account_id, region, name)


def resolve_layer_version(context: RequestContext, name: str, number: int) -> LayerVersionId:
    """The layer version that a LayerName and a VersionNumber mean.

    Raises InvalidParameterValueException for a number below 1 (recorded: test_layer_exceptions).
    """
    require_number(number)
    layer = resolve_layer(context, name)
    return LayerVersionId(layer, number, f"{layer.arn}:{number}")


def parse_layer_version_arn(arn: str) -> LayerVersionId:
    """The layer version that an ARN means, which the model's pattern has let through."""
    _, _, _, region, account_id, kind, name, *number = arn.split(":")
    if kind == "awslayer":
        return LayerVersionId(LayerId("", "", name), 1, arn)
    return LayerVersionId(LayerId(account_id, region, name), int(number[0]), arn)


def require_number(number: int) -> None:
    """Raise InvalidParameterValueException for a number that no layer version has."""
    if number < 1:
        raise InvalidParameterValueException("Layer Version Cannot be less than 1")
