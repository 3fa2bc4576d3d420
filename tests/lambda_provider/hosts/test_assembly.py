"""What the runtime is given of a host."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_provider.host import FunctionCredentials
from lambda_provider.hosts.assembly import function_credentials, session_name
from lambda_runtime.types import FunctionVersion

VERSION = FunctionVersion(
    arn="arn:aws:lambda:us-east-1:111111111111:function:f:1",
    account_id="111111111111",
    region="us-east-1",
    function_name="f",
    version="1",
    revision="r",
    runtime="python3.12",
    handler="index.handler",
    code=None,
    role_arn="arn:aws:iam::111111111111:role/r",
)
ASKED = {"role_arn": VERSION.role_arn, "account_id": "111111111111", "region": "us-east-1"}


@pytest.mark.parametrize(("function", "session"), [("f", "f@lambda_function"), ("fn", "fn"), ("x" * 64, "x" * 64)])
def test_the_role_is_assumed_under_the_name_of_the_function(function: str, session: str) -> None:
    assert session_name(function) == session


class HostOfNow:
    def issue_credentials(self, *, role_arn: str, account_id: str, region: str, session_name: str) -> Any:
        self.asked = {"role_arn": role_arn, "account_id": account_id, "region": region, "session_name": session_name}
        return FunctionCredentials("key", "secret", "token")


class HostThatForwards:
    def issue_credentials(self, **asked: str) -> Any:
        self.asked = asked
        return FunctionCredentials("key", "secret", "token")


class HostWithoutSessions:
    def issue_credentials(self, *, role_arn: str, account_id: str, region: str) -> Any:
        self.asked = {"role_arn": role_arn, "account_id": account_id, "region": region}
        return FunctionCredentials("key", "secret", "token")


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (HostOfNow, {"session_name": "f@lambda_function"}),
        (HostThatForwards, {"session_name": "f@lambda_function"}),
        (HostWithoutSessions, {}),
    ],
)
def test_a_host_is_told_the_name_of_the_session_if_it_takes_it(kind: Any, named: dict[str, str]) -> None:
    host = kind()
    assert function_credentials(host)(VERSION) == {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
    }
    assert host.asked == ASKED | named
