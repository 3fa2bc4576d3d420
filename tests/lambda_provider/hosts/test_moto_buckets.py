"""Where the bucket of an S3 request is."""

from __future__ import annotations

import pytest

from lambda_provider.hosts.moto_buckets import bucket_in_host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("bucket.localhost:4566", True),
        ("Bucket.LOCALHOST", True),
        ("bucket.s3.localhost:4566", True),
        ("s3-bucket.localhost", True),
        ("bucket.s3.my.host.example:4566", True),
        ("bucket.s3.eu-west-1.amazonaws.com", True),
        ("dotted.bucket.s3-eu-west-1.amazonaws.com", True),
        ("bucket.s3.localhost.localstack.cloud:4566", True),
        ("localhost:4566", False),
        ("s3.localhost:4566", False),
        ("s3.localhost.localstack.cloud:4566", False),
        ("s3.eu-west-1.amazonaws.com", False),
        ("s3-eu-west-1.amazonaws.com", False),
        ("my.host.example:4566", False),
        ("gateway.my-network", False),
        ("gateway", False),
        ("127.0.0.1:4566", False),
        ("[::1]:4566", False),
        ("", False),
    ],
)
def test_the_bucket_is_in_the_host_name_only_before_a_known_name(host: str, expected: bool) -> None:
    assert bucket_in_host({})(host) is expected


def test_the_name_that_functions_know_the_gateway_by_is_known() -> None:
    in_host = bucket_in_host({"LAMBDA_FUNCTION_ENDPOINT_URL": "http://my.host.example:4566"})
    assert in_host("bucket.my.host.example:4566")
    assert not in_host("my.host.example:4566")
    assert not in_host("bucket.myxhost.example")
