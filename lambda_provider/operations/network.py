"""Networks, as the host's EC2 knows them."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.context import RequestContext
from lambda_provider.operations.base import Operations
from lambda_provider.operations.dependencies import dependency


class Networks(Operations):
    """Looks up subnets and security groups."""

    def vpc_of(
        self, context: RequestContext, subnets: Sequence[str], groups: Sequence[str], *, groups_optional: bool = False
    ) -> str:
        """The VPC that subnets are in, and the groups too; empty if there are neither.

        AWS looks at the groups first, and answers with EC2's words for what does not exist (recorded:
        test_invalid_vpc_config_security_group). Raises InvalidParameterValueException.
        """
        if not subnets and not groups:
            return ""
        vpcs: set[str] = set()
        with dependency("EC2", "DescribeSecurityGroups"):
            ec2 = self.host.connect_to("ec2", account_id=context.account_id, region=context.region)
            if groups:
                found = ec2.describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
                vpcs |= {group["VpcId"] for group in found if group.get("VpcId")}
        if not subnets or not (groups or groups_optional):
            raise InvalidParameterValueException("SubnetIds and SecurityGroupIds must coexist or be both empty list.")
        with dependency("EC2", "DescribeSubnets"):
            found = ec2.describe_subnets(SubnetIds=list(subnets))["Subnets"]
        vpc_id: str = found[0]["VpcId"]
        if vpcs | {subnet["VpcId"] for subnet in found} != {vpc_id}:
            raise InvalidParameterValueException("Security groups and subnets must be in the same VPC.")
        return vpc_id
