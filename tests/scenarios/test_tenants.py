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


LOGS = {
    "python3.12": "import logging\ndef handler(event, context):\n    logging.getLogger().warning('own line')\n",
    "nodejs20.x": "exports.handler = async (event, context) => { console.warn('own line'); return context.tenantId; };\n",
}


@pytest.mark.parametrize("runtime", LOGS)
def test_json_logs_name_the_tenant(deploy: Callable[..., str], aws_client: Callable[..., Any], runtime: str) -> None:
    file = "index.py" if runtime.startswith("python") else "index.js"
    name = deploy({file: LOGS[runtime]}, runtime=runtime, LoggingConfig={"LogFormat": "JSON"}, **ISOLATED)
    for tenant in ("blue", "green"):
        aws_client("lambda").invoke(FunctionName=name, TenantId=tenant)
    events = aws_client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    tenants: dict[str, set[str]] = {}
    for event in events:
        line = json.loads(event["message"])
        tenant = line["record"].get("tenantId") if "record" in line else line["tenantId"]
        tenants.setdefault(line.get("type") or line["message"], set()).add(tenant)
        # A stream is an environment, and that is one tenant's.
        if tenant:
            tenants.setdefault(event["logStreamName"], set()).add(tenant)
    for kind in ("platform.start", "platform.report", "own line"):
        assert tenants.pop(kind) == {"blue", "green"}
    assert sorted(map(sorted, (found for kind, found in tenants.items() if "[" in kind))) == [["blue"], ["green"]]


def test_tenants_have_no_provisioned_concurrency(deploy: Callable[..., str], aws_client: Callable[..., Any]) -> None:
    client = aws_client("lambda")
    name = deploy(REMEMBERS, **ISOLATED, Publish=True)
    with pytest.raises(ClientError, match="tenant isolation") as raised:
        client.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    assert raised.value.response["Error"]["Code"] == "InvalidParameterValueException"
