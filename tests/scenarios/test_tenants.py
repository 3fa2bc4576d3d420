"""Tenant isolation: https://docs.aws.amazon.com/lambda/latest/dg/tenant-isolation.html."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

REMEMBERS = """
import os
seen = []
def handler(event, context):
    seen.append(context.tenant_id)
    with open("/tmp/tenants", "a") as file:
        file.write(context.tenant_id + "\\n")
    return {"seen": seen, "tmp": open("/tmp/tenants").read().split()}
"""
ISOLATED = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}


def test_environments_memory_and_tmp_are_a_tenants_own(
    deploy: Callable[..., str], aws_client: Callable[..., Any]
) -> None:
    name = deploy(REMEMBERS, **ISOLATED)

    def call(tenant: str) -> Any:
        answer = aws_client("lambda").invoke(FunctionName=name, TenantId=tenant)
        return json.load(answer["Payload"])

    for tenant in ("blue", "green", "blue", "green"):
        answer = call(tenant)
        assert set(answer["seen"]) == set(answer["tmp"]) == {tenant}
    assert answer["seen"] == ["green", "green"]


def test_the_tenant_is_named_exactly_when_the_function_isolates_tenants(
    deploy: Callable[..., str], aws_client: Callable[..., Any]
) -> None:
    isolated, ordinary = deploy(REMEMBERS, **ISOLATED), deploy()
    for parameters in ({"FunctionName": isolated}, {"FunctionName": ordinary, "TenantId": "blue"}):
        with pytest.raises(ClientError) as raised:
            aws_client("lambda").invoke(**parameters)
        assert raised.value.response["Error"]["Code"] == "InvalidParameterValueException"
