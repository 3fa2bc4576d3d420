from __future__ import annotations

import pytest

from lambda_provider.urls.addresses import address_of


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("abc.lambda-url.eu-west-1.localhost:4566", "/a%2Fb", ("abc", "/a%2Fb", "eu-west-1")),
        ("ABC.lambda-url.us-east-1.on.aws", "/", ("abc", "/", "us-east-1")),
        ("my-id-alias.lambda-url.us-east-1.emulator.example.com", "/", ("my-id-alias", "/", "us-east-1")),
        ("127.0.0.1:4566", "/_lambda/url/abc/x/y", ("abc", "/x/y", None)),
        ("127.0.0.1:4566", "/_lambda/url/abc", ("abc", "/", None)),
        ("127.0.0.1:4566", "/_lambda/health", None),
        ("127.0.0.1:4566", "/2015-03-31/functions", None),
        ("bucket.s3.localhost:4566", "/key", None),
        # A bucket whose name looks like one.
        ("a.b.lambda-url.us-east-1.localhost", "/", None),
        (".lambda-url.us-east-1.localhost", "/", None),
        ("", "/", None),
    ],
)
def test_a_url_is_known_by_its_host_or_its_path(host, path, expected):
    assert address_of(host, path) == expected
