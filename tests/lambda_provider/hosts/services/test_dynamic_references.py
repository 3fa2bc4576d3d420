"""What `{{resolve:…}}` in templates stands for."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_provider.hosts.services.dynamic_references import resolve

ARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf"


class Services:
    """Systems Manager and Secrets Manager; answers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, service: str) -> Services:
        return self

    def get_parameter(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {"Parameter": {"Value": f"<{asked['Name']}>"}}

    def get_secret_value(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {"SecretString": '{"user": "me", "port": 5432}'}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{resolve:ssm:name}}", "<name>"),
        ("{{resolve:ssm:/a/path:3}}", "</a/path:3>"),
        ("{{resolve:ssm-secure:name:1}}", "<name:1>"),
        ("a {{resolve:ssm:x}} b {{resolve:ssm:y}}", "a <x> b <y>"),
        ("{{resolve:secretsmanager:db:SecretString:user}}", "me"),
        ("{{resolve:secretsmanager:db:SecretString:port}}", "5432"),
        ("{{resolve:secretsmanager:db}}", '{"user": "me", "port": 5432}'),
        (f"{{{{resolve:secretsmanager:{ARN}:SecretString:user}}}}", "me"),
        ("{{resolve:other:x}}", "{{resolve:other:x}}"),
        ("plain", "plain"),
    ],
)
def test_a_reference_is_replaced_by_what_it_leads_to(text: str, expected: str) -> None:
    assert resolve({"a": [text, 5]}, Services()) == {"a": [expected, 5]}


def test_versions_of_a_secret_are_asked_for_by_stage_or_id() -> None:
    services = Services()
    resolve("{{resolve:secretsmanager:db:SecretString:user:AWSPREVIOUS}}", services)
    resolve(f"{{{{resolve:secretsmanager:{ARN}:SecretString:user::v1}}}}", services)
    assert services.asked == [{"SecretId": "db", "VersionStage": "AWSPREVIOUS"}, {"SecretId": ARN, "VersionId": "v1"}]


@pytest.mark.parametrize("key", ["db:SecretBinary", "db:SecretString:nothing"])
def test_a_reference_that_leads_nowhere_is_an_error(key: str) -> None:
    with pytest.raises(ValueError, match=r"secrets manager reference|JSONKey"):
        resolve(f"{{{{resolve:secretsmanager:{key}}}}}", Services())
