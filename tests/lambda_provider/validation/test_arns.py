"""ARNs of Lambda's resources."""

from __future__ import annotations

import pytest

from lambda_provider.validation import arns

PLACE = ("111111111111", "us-gov-west-1")
PREFIX = "arn:aws-us-gov:lambda:us-gov-west-1:111111111111"


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        (arns.function_arn(*PLACE, "f"), f"{PREFIX}:function:f"),
        (arns.function_arn(*PLACE, "f", arns.LATEST), f"{PREFIX}:function:f:$LATEST"),
        (arns.layer_arn(*PLACE, "l"), f"{PREFIX}:layer:l"),
        (arns.layer_arn(*PLACE, "l", 3), f"{PREFIX}:layer:l:3"),
        (arns.event_source_mapping_arn(*PLACE, "1-2"), f"{PREFIX}:event-source-mapping:1-2"),
        (arns.code_signing_config_arn(*PLACE, "csc-0"), f"{PREFIX}:code-signing-config:csc-0"),
        (arns.capacity_provider_arn(*PLACE, "c"), f"{PREFIX}:capacity-provider:c"),
        (arns.runtime_version_arn("eu-west-1", "0a"), "arn:aws:lambda:eu-west-1::runtime:0a"),
    ],
)
def test_arns(arn, expected):
    assert arn == expected
