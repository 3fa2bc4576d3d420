"""Resources that applications of functions often have beside them, and moto's CloudFormation lacks.

Properties and attributes are those of the pages of each type in
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-template-resource-type-ref.html; the services are moto's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lambda_provider.hosts.services.resources import Resource, shaped


class Secret(Resource):
    """A secret of Secrets Manager, given or made up."""

    TYPE = "AWS::SecretsManager::Secret"
    SERVICE = "secretsmanager"
    NAME = "Name"
    FIXED = ("Name",)
    ATTRIBUTES = ("Id",)

    def create(self) -> None:
        # Without any of them the secret is empty.
        given = any(name in self.properties for name in ("SecretString", "GenerateSecretString"))
        value = {"SecretString": self._value()} if given else {}
        made = self.client.create_secret(**self._request("CreateSecret", Name=self.name, **value))
        self.physical_resource_id = made["ARN"]
        self.attributes = {"Id": made["ARN"]}

    def update(self, before: Mapping[str, Any]) -> None:
        value: dict[str, Any] = {}
        if any(self.properties.get(name) != before.get(name) for name in ("SecretString", "GenerateSecretString")):
            value = {"SecretString": self._value()}
        self.client.update_secret(**self._request("UpdateSecret", SecretId=self.physical_resource_id, **value))

    def remove(self) -> None:
        self.client.delete_secret(SecretId=self.physical_resource_id, ForceDeleteWithoutRecovery=True)

    def _request(self, operation: str, **others: Any) -> dict[str, Any]:
        leave = ("Name", "SecretString", "GenerateSecretString", "ReplicaRegions", "Type")
        tags = () if operation == "CreateSecret" else ("Tags",)
        return self.request(operation, others, leave=(*leave, *tags))

    def _value(self) -> str:
        made_up = dict(self.properties.get("GenerateSecretString") or {})
        if not made_up:
            return str(self.properties.get("SecretString", ""))
        template, key = made_up.pop("SecretStringTemplate", None), made_up.pop("GenerateStringKey", None)
        shape = self.client.meta.service_model.operation_model("GetRandomPassword").input_shape
        password = str(self.client.get_random_password(**shaped(made_up, shape))["RandomPassword"])
        return password if template is None else json.dumps({**json.loads(template), key: password})


class RotationSchedule(Resource):
    """The function that changes a secret."""

    TYPE = "AWS::SecretsManager::RotationSchedule"
    SERVICE = "secretsmanager"
    FIXED = ("SecretId",)

    def create(self) -> None:
        names = ("SecretId", "RotationLambdaARN", "RotationRules")
        leave = [name for name in self.properties if name not in names]
        self.client.rotate_secret(**self.request("RotateSecret", leave=leave))
        self.physical_resource_id = self.properties["SecretId"]

    def update(self, before: Mapping[str, Any]) -> None:
        self.create()

    def remove(self) -> None:
        self.client.cancel_rotate_secret(SecretId=self.properties["SecretId"])


class Alarm(Resource):
    """An alarm of CloudWatch."""

    TYPE = "AWS::CloudWatch::Alarm"
    SERVICE = "cloudwatch"
    NAME = "AlarmName"
    FIXED = ("AlarmName",)
    ATTRIBUTES = ("Arn",)

    def create(self) -> None:
        self.client.put_metric_alarm(**self.request("PutMetricAlarm", {"AlarmName": self.name}))
        arn = self.client.describe_alarms(AlarmNames=[self.name])["MetricAlarms"][0]["AlarmArn"]
        self.attributes = {"Arn": arn}

    def update(self, before: Mapping[str, Any]) -> None:
        self.create()

    def remove(self) -> None:
        self.client.delete_alarms(AlarmNames=[self.name])


class UserPool(Resource):
    """A user pool of Cognito."""

    TYPE = "AWS::Cognito::UserPool"
    SERVICE = "cognito-idp"
    NAME = "UserPoolName"
    FIXED = ("UsernameAttributes", "AliasAttributes", "UsernameConfiguration")
    ATTRIBUTES = ("Arn", "ProviderName", "ProviderURL", "UserPoolId")

    def create(self) -> None:
        pool = self.client.create_user_pool(**self._request("CreateUserPool", PoolName=self.name))["UserPool"]
        self.physical_resource_id = pool["Id"]
        provider = f"cognito-idp.{self.place.region}.amazonaws.com/{pool['Id']}"
        self.attributes = {
            "Arn": pool["Arn"],
            "ProviderName": provider,
            "ProviderURL": f"https://{provider}",
            "UserPoolId": pool["Id"],
        }

    def update(self, before: Mapping[str, Any]) -> None:
        self.client.update_user_pool(**self._request("UpdateUserPool", UserPoolId=self.physical_resource_id))

    def remove(self) -> None:
        self.client.delete_user_pool(UserPoolId=self.physical_resource_id)

    def _request(self, operation: str, **others: Any) -> dict[str, Any]:
        leave = ["UserPoolName", "EnabledMfas", "WebAuthnRelyingPartyID", "WebAuthnUserVerification"]
        if operation == "UpdateUserPool":
            leave += ["Schema", *self.FIXED]
        return self.request(operation, others, leave=leave)


class UserPoolClient(Resource):
    """An application that signs users of a pool in."""

    TYPE = "AWS::Cognito::UserPoolClient"
    SERVICE = "cognito-idp"
    NAME = "ClientName"
    FIXED = ("UserPoolId", "GenerateSecret")
    ATTRIBUTES = ("ClientId", "ClientSecret", "Name")

    def create(self) -> None:
        made = self.client.create_user_pool_client(**self.request("CreateUserPoolClient", {"ClientName": self.name}))
        client = made["UserPoolClient"]
        self.physical_resource_id = client["ClientId"]
        self.attributes = {
            "ClientId": client["ClientId"],
            "ClientSecret": client.get("ClientSecret", ""),
            "Name": self.name,
        }

    def update(self, before: Mapping[str, Any]) -> None:
        others = {"ClientId": self.physical_resource_id, "ClientName": self.name}
        self.client.update_user_pool_client(**self.request("UpdateUserPoolClient", others, leave=("GenerateSecret",)))

    def remove(self) -> None:
        self.client.delete_user_pool_client(
            UserPoolId=self.properties["UserPoolId"], ClientId=self.physical_resource_id
        )


class UserPoolGroup(Resource):
    """A group of users."""

    TYPE = "AWS::Cognito::UserPoolGroup"
    SERVICE = "cognito-idp"
    NAME = "GroupName"
    FIXED = ("UserPoolId", "GroupName")

    def create(self) -> None:
        self.client.create_group(**self.request("CreateGroup", {"GroupName": self.name}))

    def update(self, before: Mapping[str, Any]) -> None:
        self.client.update_group(**self.request("UpdateGroup", {"GroupName": self.name}))

    def remove(self) -> None:
        self.client.delete_group(GroupName=self.name, UserPoolId=self.properties["UserPoolId"])


class UserPoolDomain(Resource):
    """The domain of a pool's own pages."""

    TYPE = "AWS::Cognito::UserPoolDomain"
    SERVICE = "cognito-idp"
    NAME = "Domain"
    FIXED = ("*",)

    def create(self) -> None:
        self.client.create_user_pool_domain(**self.request("CreateUserPoolDomain"))

    def remove(self) -> None:
        self.client.delete_user_pool_domain(Domain=self.properties["Domain"], UserPoolId=self.properties["UserPoolId"])


class GlobalTable(Resource):
    """A table of DynamoDB; of its replicas, the one in the region of the stack."""

    TYPE = "AWS::DynamoDB::GlobalTable"
    SERVICE = "dynamodb"
    NAME = "TableName"
    FIXED = ("TableName", "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "LocalSecondaryIndexes")
    ATTRIBUTES = ("Arn", "StreamArn", "TableId")
    _THROUGHPUT = ("WriteProvisionedThroughputSettings", "ReadProvisionedThroughputSettings")
    _CREATED = (
        "AttributeDefinitions",
        "KeySchema",
        "BillingMode",
        "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
        "StreamSpecification",
    )

    def create(self) -> None:
        request = self.request(
            "CreateTable",
            {"TableName": self.name, "GlobalSecondaryIndexes": self._indexes()},
            leave=[name for name in self.properties if name not in self._CREATED],
        )
        if not request["GlobalSecondaryIndexes"]:
            del request["GlobalSecondaryIndexes"]
        # What scales by itself between bounds on AWS is not bounded here.
        request |= {"BillingMode": "PAY_PER_REQUEST"}
        if "StreamSpecification" in request:
            request["StreamSpecification"]["StreamEnabled"] = True
        table = self.client.create_table(**request)["TableDescription"]
        self.attributes = {
            "Arn": table["TableArn"],
            "StreamArn": table.get("LatestStreamArn", ""),
            "TableId": table.get("TableId", ""),
        }
        self._keep_for()

    def update(self, before: Mapping[str, Any]) -> None:
        stream = self.properties.get("StreamSpecification")
        if stream and stream != before.get("StreamSpecification"):
            wanted = {"StreamEnabled": True, **stream}
            table = self.client.update_table(TableName=self.name, StreamSpecification=wanted)["TableDescription"]
            self.attributes["StreamArn"] = table.get("LatestStreamArn", "")
        if self.properties.get("TimeToLiveSpecification") != before.get("TimeToLiveSpecification"):
            self._keep_for()

    def remove(self) -> None:
        self.client.delete_table(TableName=self.name)

    def _indexes(self) -> list[dict[str, Any]]:
        listed = self.properties.get("GlobalSecondaryIndexes") or ()
        return [{name: value for name, value in each.items() if name not in self._THROUGHPUT} for each in listed]

    def _keep_for(self) -> None:
        if self.properties.get("TimeToLiveSpecification"):
            self.client.update_time_to_live(
                **self.request(
                    "UpdateTimeToLive",
                    {"TableName": self.name},
                    leave=[name for name in self.properties if name != "TimeToLiveSpecification"],
                )
            )


class ScheduleGroup(Resource):
    """A group of schedules of EventBridge Scheduler."""

    TYPE = "AWS::Scheduler::ScheduleGroup"
    SERVICE = "scheduler"
    NAME = "Name"
    FIXED = ("Name",)
    ATTRIBUTES = ("Arn",)

    def create(self) -> None:
        made = self.client.create_schedule_group(**self.request("CreateScheduleGroup", {"Name": self.name}))
        self.attributes = {"Arn": made["ScheduleGroupArn"]}

    def update(self, before: Mapping[str, Any]) -> None:
        tags = [{"Key": key, "Value": value} for key, value in self.tags().items()]
        self.client.tag_resource(ResourceArn=self.attributes["Arn"], Tags=tags)

    def remove(self) -> None:
        self.client.delete_schedule_group(Name=self.name)


class ApiKey(Resource):
    """A key for REST APIs."""

    TYPE = "AWS::ApiGateway::ApiKey"
    SERVICE = "apigateway"
    NAME = "Name"
    FIXED = ("*",)
    ATTRIBUTES = ("APIKeyId",)

    def create(self) -> None:
        request = self.request("CreateApiKey", {"Name": self.name, "Tags": self.tags()})
        self.physical_resource_id = self.client.create_api_key(**request)["id"]
        self.attributes = {"APIKeyId": self.physical_resource_id}

    def remove(self) -> None:
        self.client.delete_api_key(apiKey=self.physical_resource_id)


class UsagePlan(Resource):
    """How much may be asked of stages of REST APIs, and with which keys."""

    TYPE = "AWS::ApiGateway::UsagePlan"
    SERVICE = "apigateway"
    NAME = "UsagePlanName"
    FIXED = ("*",)
    ATTRIBUTES = ("Id",)

    def create(self) -> None:
        others = {"Name": self.name, "Tags": self.tags()}
        made = self.client.create_usage_plan(**self.request("CreateUsagePlan", others, leave=("UsagePlanName",)))
        self.physical_resource_id = made["id"]
        self.attributes = {"Id": made["id"]}

    def remove(self) -> None:
        self.client.delete_usage_plan(usagePlanId=self.physical_resource_id)


class UsagePlanKey(Resource):
    """A key of a usage plan."""

    TYPE = "AWS::ApiGateway::UsagePlanKey"
    SERVICE = "apigateway"
    FIXED = ("*",)
    ATTRIBUTES = ("Id",)

    def create(self) -> None:
        made = self.client.create_usage_plan_key(**self.request("CreateUsagePlanKey"))
        self.physical_resource_id = f"{made['id']}:{self.properties['UsagePlanId']}"
        self.attributes = {"Id": self.physical_resource_id}

    def remove(self) -> None:
        self.client.delete_usage_plan_key(usagePlanId=self.properties["UsagePlanId"], keyId=self.properties["KeyId"])


RESOURCES: tuple[type[Resource], ...] = (
    Secret,
    RotationSchedule,
    Alarm,
    UserPool,
    UserPoolClient,
    UserPoolGroup,
    UserPoolDomain,
    GlobalTable,
    ScheduleGroup,
    ApiKey,
    UsagePlan,
    UsagePlanKey,
)
