"""Whom a scenario talks to: our gateway, or AWS itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config

ACCOUNT = "000000000000"
REGION = "us-east-1"
PATIENCE = Config(retries={"max_attempts": 1, "mode": "standard"}, read_timeout=120, parameter_validation=True)


@dataclass(slots=True)
class Target:
    """Clients for one account and region. `endpoint_url` is None for AWS."""

    endpoint_url: str | None
    account_id: str
    region: str
    role_arn: str
    session: boto3.Session
    clients: dict[tuple[str, ...], Any] = field(default_factory=dict)

    @property
    def is_aws(self) -> bool:
        """Whether this is AWS itself."""
        return self.endpoint_url is None

    @property
    def partition(self) -> str:
        """As it stands in ARNs."""
        return str(self.session.get_partition_for_region(self.region))

    @property
    def constants(self) -> dict[str, str]:
        """What is the same in every response of this target, and its placeholder in snapshots."""
        return {
            self.account_id: "1" * 12,
            self.region: "<region>",
            f"arn:{self.partition}:": "arn:<partition>:",
        }

    @property
    def lambda_(self) -> Any:
        """The Lambda client."""
        return self.client("lambda")

    def client(self, service: str, *, region: str = "", account_id: str = "", validate: bool = True) -> Any:
        """A client; `validate=False` sends what botocore would refuse. Another account exists only on the gateway."""
        key = (service, region, account_id, str(validate))
        if key not in self.clients:
            self.clients[key] = self.session.client(
                service,
                region_name=region or self.region,
                endpoint_url=self.endpoint_url,
                config=PATIENCE.merge(Config(parameter_validation=validate)),
                **({"aws_access_key_id": account_id, "aws_secret_access_key": "test"} if account_id else {}),
            )
        return self.clients[key]

    def arn(self, function: str, *, region: str = "") -> str:
        """A function's ARN, here or in another region."""
        return f"arn:{self.partition}:lambda:{region or self.region}:{self.account_id}:function:{function}"


def gateway(endpoint_url: str) -> Target:
    """Our gateway: an account is named by its access key."""
    session = boto3.Session(aws_access_key_id=ACCOUNT, aws_secret_access_key="test", region_name=REGION)
    return Target(endpoint_url, ACCOUNT, REGION, f"arn:aws:iam::{ACCOUNT}:role/scenario-role", session)


def aws() -> Target:
    """AWS, with the credentials and region of the environment and the execution role in `LAMBDA_TEST_ROLE`."""
    role_arn = os.environ.get("LAMBDA_TEST_ROLE")
    if not role_arn:
        raise RuntimeError("--target aws needs the ARN of an execution role in LAMBDA_TEST_ROLE")
    session = boto3.Session()
    region = session.region_name or REGION
    account_id = session.client("sts", region_name=region).get_caller_identity()["Account"]
    return Target(None, account_id, region, role_arn, session)
