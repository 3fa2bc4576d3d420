"""Stacks of CloudFormation: what `AWS::Lambda::*` becomes, what changes change, and what a failure leaves."""

from __future__ import annotations

import json
import re
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::000000000000:role/any"


@dataclass
class Stack:
    """One stack; `resources` are those of its template."""

    name: str
    cloudformation: Any
    client: Any
    parameters: dict[str, Any] = field(default_factory=dict)

    def deploy(self, resources: dict[str, Any], outputs: dict[str, Any] | None = None, **values: str) -> str:
        """Create or update it, and answer its status."""
        template: dict[str, Any] = {"Resources": resources, "Parameters": self.parameters}
        if outputs:
            template["Outputs"] = {name: {"Value": value} for name, value in outputs.items()}
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]
        try:
            self.cloudformation.describe_stacks(StackName=self.name)
            call = self.cloudformation.update_stack
        except ClientError:
            call = self.cloudformation.create_stack
        call(StackName=self.name, TemplateBody=json.dumps(template), Parameters=given)
        return self.status()

    def status(self) -> str:
        return str(self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])

    def outputs(self) -> dict[str, str]:
        (found,) = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}

    def physical(self, logical_id: str) -> str:
        found = self.cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=logical_id)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def events(self) -> list[tuple[str, str, str]]:
        """`(logical id, status, reason)`, oldest first."""
        pages = self.cloudformation.get_paginator("describe_stack_events").paginate(StackName=self.name)
        found = [event for page in pages for event in page["StackEvents"]]
        return [
            (each["LogicalResourceId"], each["ResourceStatus"], each.get("ResourceStatusReason", ""))
            for each in reversed(found)
        ]

    def invoke(self, name: str, event: Any = None) -> Any:
        return json.loads(self.client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())

    def delete(self) -> None:
        self.cloudformation.delete_stack(StackName=self.name)


@pytest.fixture
def stack(aws_client: Callable[..., Any], request: pytest.FixtureRequest) -> Iterator[Stack]:
    name = "stack-" + request.node.name.replace("_", "-")[-60:].strip("-")
    made = Stack(name, aws_client("cloudformation"), aws_client("lambda"))
    yield made
    made.delete()


def function(code: str = "def handler(event, context):\n    return event", **properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Runtime": "python3.12",
            "Handler": "index.handler",
            "Role": ROLE,
            "Code": {"ZipFile": textwrap.dedent(code)},
            **properties,
        },
    }


def ref(name: str) -> dict[str, str]:
    return {"Ref": name}


def attribute(name: str, of: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [of, name]}


def test_inline_code_runs(stack: Stack) -> None:
    resources = {
        "Fn": function(
            """
            import os
            def handler(event, context):
                return [event, os.environ["NAME"], context.memory_limit_in_mb]
            """,
            # Numbers are often texts in templates.
            MemorySize="256",
            Timeout="7",
            Environment={"Variables": {"NAME": {"Fn::Sub": "${AWS::StackName}-x"}}},
            ReservedConcurrentExecutions=3,
            RecursiveLoop="Allow",
            Tags=[{"Key": "team", "Value": "a"}],
        )
    }
    status = stack.deploy(resources, {"Arn": attribute("Arn", "Fn"), "Name": ref("Fn")})
    assert status == "CREATE_COMPLETE"
    name = stack.outputs()["Name"]
    assert name.startswith(f"{stack.name}-Fn-"[:50])
    assert stack.invoke(name, 1) == [1, f"{stack.name}-x", "256"]
    client = stack.client
    assert client.get_function_configuration(FunctionName=name)["Timeout"] == 7
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 3
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    stack_id = stack.cloudformation.describe_stacks(StackName=stack.name)["Stacks"][0]["StackId"]
    assert client.list_tags(Resource=stack.outputs()["Arn"])["Tags"] == {
        "team": "a",
        "aws:cloudformation:stack-name": stack.name,
        "aws:cloudformation:stack-id": stack_id,
        "aws:cloudformation:logical-id": "Fn",
    }
    client.tag_resource(Resource=stack.outputs()["Arn"], Tags={"more": "b"})
    assert len(client.list_tags(Resource=stack.outputs()["Arn"])["Tags"]) == 5


def test_every_resource_of_lambda(stack: Stack, aws_client: Callable[..., Any], zip_of: Callable[..., bytes]) -> None:
    s3 = aws_client("s3")
    s3.create_bucket(Bucket="code-of-stacks")
    s3.put_object(
        Bucket="code-of-stacks", Key="fn.zip", Body=zip_of({"index.py": "import shared\nhandler = shared.handler"})
    )
    s3.put_object(
        Bucket="code-of-stacks",
        Key="layer.zip",
        Body=zip_of({"python/shared.py": "def handler(event, context):\n    return context.function_version"}),
    )
    resources = {
        "Layer": {
            "Type": "AWS::Lambda::LayerVersion",
            "Properties": {"Content": {"S3Bucket": "code-of-stacks", "S3Key": "layer.zip"}, "Description": "shared"},
        },
        "LayerPermission": {
            "Type": "AWS::Lambda::LayerVersionPermission",
            "Properties": {"Action": "lambda:GetLayerVersion", "LayerVersionArn": ref("Layer"), "Principal": "*"},
        },
        "Signing": {
            "Type": "AWS::Lambda::CodeSigningConfig",
            "Properties": {
                "AllowedPublishers": {
                    "SigningProfileVersionArns": [
                        "arn:aws:signer:us-east-1:000000000000:/signing-profiles/test/abcdefghij"
                    ]
                },
                "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
            },
        },
        "Fn": function(
            Code={"S3Bucket": "code-of-stacks", "S3Key": "fn.zip"},
            Layers=[ref("Layer")],
            CodeSigningConfigArn=ref("Signing"),
        ),
        "Version": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": ref("Fn"), "Description": "one"}},
        "Alias": {
            "Type": "AWS::Lambda::Alias",
            "Properties": {
                "FunctionName": ref("Fn"),
                "FunctionVersion": attribute("Version", "Version"),
                "Name": "live",
                "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
            },
        },
        "Url": {"Type": "AWS::Lambda::Url", "Properties": {"TargetFunctionArn": ref("Alias"), "AuthType": "AWS_IAM"}},
        "Permission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "FunctionName": ref("Alias"),
                "Action": "lambda:InvokeFunction",
                "Principal": "s3.amazonaws.com",
            },
        },
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Mapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {"FunctionName": ref("Alias"), "EventSourceArn": attribute("Arn", "Queue"), "BatchSize": 7},
        },
        "Config": {
            "Type": "AWS::Lambda::EventInvokeConfig",
            "Properties": {"FunctionName": ref("Fn"), "Qualifier": "$LATEST", "MaximumRetryAttempts": 0},
        },
    }
    outputs = {
        "Fn": ref("Fn"),
        "Layer": ref("Layer"),
        "Version": ref("Version"),
        "Alias": ref("Alias"),
        "Url": attribute("FunctionUrl", "Url"),
        "Mapping": ref("Mapping"),
        "Signing": attribute("CodeSigningConfigId", "Signing"),
    }
    assert stack.deploy(resources, outputs) == "CREATE_COMPLETE", stack.events()
    made, client = stack.outputs(), stack.client
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{made['Fn']}"
    assert (made["Version"], made["Alias"]) == (f"{arn}:1", f"{arn}:live")
    assert (
        made["Layer"] == "arn:aws:lambda:us-east-1:000000000000:layer:Layer:1" or made["Layer"].split(":")[6] == "Layer"
    )
    assert made["Url"].startswith("http") and made["Signing"].startswith("csc-")
    assert stack.invoke(made["Alias"]) == "1"
    assert stack.invoke(made["Fn"]) == "$LATEST"
    provisioned = client.get_provisioned_concurrency_config(FunctionName=made["Fn"], Qualifier="live")
    assert provisioned["Status"] == "READY"
    statement = json.loads(client.get_policy(FunctionName=made["Fn"], Qualifier="live")["Policy"])["Statement"][0]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"} and statement["Sid"] == stack.physical(
        "Permission"
    )
    mapping = client.get_event_source_mapping(UUID=made["Mapping"])
    assert (mapping["State"], mapping["BatchSize"], mapping["FunctionArn"]) == ("Enabled", 7, f"{arn}:live")
    assert client.get_function_event_invoke_config(FunctionName=made["Fn"])["MaximumRetryAttempts"] == 0
    assert client.get_layer_version_policy(LayerName="Layer", VersionNumber=int(made["Layer"].split(":")[-1]))
    assert client.get_function_code_signing_config(FunctionName=made["Fn"])["CodeSigningConfigArn"]

    stack.delete()
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=made["Fn"])
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_event_source_mapping(UUID=made["Mapping"])


def test_what_refers_to_a_replaced_resource_changes_with_it(
    stack: Stack, aws_client: Callable[..., Any], zip_of: Callable[..., bytes]
) -> None:
    s3 = aws_client("s3")
    s3.create_bucket(Bucket="layers-of-stacks")

    def template(number: int) -> dict[str, Any]:
        source = f"number = {number}"
        s3.put_object(Bucket="layers-of-stacks", Key=f"{number}.zip", Body=zip_of({"python/of_layer.py": source}))
        content = {"S3Bucket": "layers-of-stacks", "S3Key": f"{number}.zip"}
        return {
            "Fn": function(
                "import of_layer\ndef handler(event, context):\n    return of_layer.number", Layers=[ref("Shared")]
            ),
            "Shared": {
                "Type": "AWS::Lambda::LayerVersion",
                "Properties": {"LayerName": "replaced", "Content": content},
            },
        }

    assert stack.deploy(template(1), {"Fn": ref("Fn"), "Layer": ref("Shared")}) == "CREATE_COMPLETE"
    before = stack.outputs()
    assert stack.invoke(before["Fn"]) == 1
    assert stack.deploy(template(2), {"Fn": ref("Fn"), "Layer": ref("Shared")}) == "UPDATE_COMPLETE"
    after = stack.outputs()
    assert stack.invoke(after["Fn"]) == 2
    assert before["Fn"] == after["Fn"] and before["Layer"] != after["Layer"]
    # What was replaced goes when all else is done.
    assert ("Shared", "DELETE_COMPLETE", "") in stack.events()
    number = int(before["Layer"].rpartition(":")[2])
    with pytest.raises(stack.client.exceptions.ResourceNotFoundException):
        stack.client.get_layer_version(LayerName="replaced", VersionNumber=number)


def test_a_change_of_a_parameter_changes_what_refers_to_it(stack: Stack) -> None:
    stack.parameters = {"Stage": {"Type": "String", "Default": "dev"}}
    resources = {
        "Fn": function(
            "import os\ndef handler(event, context):\n    return os.environ['STAGE']",
            Environment={"Variables": {"STAGE": ref("Stage")}},
        )
    }
    assert stack.deploy(resources, {"Fn": ref("Fn")}) == "CREATE_COMPLETE"
    assert stack.invoke(stack.outputs()["Fn"]) == "dev"
    assert stack.deploy(resources, {"Fn": ref("Fn")}, Stage="prod") == "UPDATE_COMPLETE"
    assert stack.invoke(stack.outputs()["Fn"]) == "prod"


def test_properties_that_are_taken_out_go_back_to_their_defaults(stack: Stack) -> None:
    assert (
        stack.deploy(
            {"Fn": function(Description="x", MemorySize=512, Environment={"Variables": {"AB": "1"}}, Timeout=9)}
        )
        == "CREATE_COMPLETE"
    ), stack.events()
    assert stack.deploy({"Fn": function(Timeout=9)}) == "UPDATE_COMPLETE"
    found = stack.client.get_function_configuration(FunctionName=stack.physical("Fn"))
    assert (found["Description"], found["MemorySize"], found["Timeout"]) == ("", 128, 9)
    assert found.get("Environment", {}).get("Variables", {}) == {}


def test_a_creation_that_fails_is_rolled_back(stack: Stack) -> None:
    resources = {"Good": function(), "Bad": {**function(Runtime="python9.9"), "DependsOn": "Good"}}
    assert stack.deploy(resources) == "ROLLBACK_COMPLETE"
    events = stack.events()
    reason = next(reason for name, status, reason in events if (name, status) == ("Bad", "CREATE_FAILED"))
    assert "Value python9.9 at 'runtime' failed to satisfy constraint" in reason
    assert ("Good", "DELETE_COMPLETE", "") in events
    assert not [each for each in stack.client.list_functions()["Functions"] if stack.name in each["FunctionName"]]
    steps = [status for name, status, _ in events if name == stack.name]
    assert steps == ["CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"]


def test_an_update_that_fails_is_rolled_back(stack: Stack) -> None:
    first = {"Fn": function("def handler(event, context):\n    return 1")}
    stack.deploy(first, {"Fn": ref("Fn")})
    name = stack.outputs()["Fn"]
    second = {"Fn": function("def handler(event, context):\n    return 2"), "Bad": function(Handler="x" * 200)}
    second["Bad"]["DependsOn"] = "Fn"
    assert stack.deploy(second, {"Fn": ref("Fn")}) == "UPDATE_ROLLBACK_COMPLETE"
    assert stack.invoke(name) == 1
    assert stack.cloudformation.get_template(StackName=stack.name)["TemplateBody"]["Resources"] == first
    third = {"Fn": function("def handler(event, context):\n    return 3")}
    assert stack.deploy(third, {"Fn": ref("Fn")}) == "UPDATE_COMPLETE"
    assert stack.invoke(name) == 3


def test_a_property_that_there_is_not_fails(stack: Stack) -> None:
    assert stack.deploy({"Fn": function(Tiemout=3)}) == "ROLLBACK_COMPLETE"
    assert any("extraneous key [Tiemout] is not permitted" in reason for _, _, reason in stack.events())


def test_what_is_to_be_retained_stays(stack: Stack) -> None:
    stack.deploy({"Fn": {**function(), "DeletionPolicy": "Retain"}})
    name = stack.physical("Fn")
    stack.delete()
    assert stack.client.get_function(FunctionName=name)["Configuration"]["FunctionName"] == name
    stack.client.delete_function(FunctionName=name)


CUSTOM = """
import cfnresponse, json
def handler(event, context):
    print(json.dumps(event))
    properties = event["ResourceProperties"]
    if properties.get("Fail") == event["RequestType"]:
        cfnresponse.send(event, context, cfnresponse.FAILED, {}, reason="it was told to")
        return
    data = {"Seen": json.dumps([event["RequestType"], event.get("PhysicalResourceId"), properties.get("Size"),
                                event.get("OldResourceProperties", {}).get("Size"), event["ResourceType"]])}
    cfnresponse.send(event, context, cfnresponse.SUCCESS, data, "thing-" + properties["Id"])
"""
NODE = """
const response = require('cfn-response');
exports.handler = function (event, context) {
  response.send(event, context, response.SUCCESS, { Kind: event.RequestType }, "node-thing");
};
"""


def custom(**properties: Any) -> dict[str, Any]:
    return {"Type": "Custom::Thing", "Properties": {"ServiceToken": attribute("Arn", "Maker"), **properties}}


def test_custom_resources_are_made_by_functions(stack: Stack) -> None:
    maker = function(CUSTOM)
    outputs = {"Seen": attribute("Seen", "Thing"), "Id": ref("Thing")}
    assert stack.deploy({"Maker": maker, "Thing": custom(Id="a", Size=1)}, outputs) == "CREATE_COMPLETE", stack.events()
    assert stack.outputs()["Id"] == "thing-a"
    assert json.loads(stack.outputs()["Seen"]) == ["Create", None, "1", None, "Custom::Thing"]
    assert stack.deploy({"Maker": maker, "Thing": custom(Id="a", Size=2)}, outputs) == "UPDATE_COMPLETE"
    assert json.loads(stack.outputs()["Seen"]) == ["Update", "thing-a", "2", "1", "Custom::Thing"]


def test_a_custom_resource_that_fails_fails_the_stack(stack: Stack) -> None:
    resources = {"Maker": function(CUSTOM), "Thing": custom(Id="a", Fail="Create")}
    assert stack.deploy(resources) == "ROLLBACK_COMPLETE"
    reason = next(reason for name, status, reason in stack.events() if (name, status) == ("Thing", "CREATE_FAILED"))
    assert reason.startswith("Received response status [FAILED] from custom resource. Message returned: it was told to")


def test_custom_resources_with_nodejs(stack: Stack, machine_has_node: None) -> None:
    maker = function(NODE, Runtime="nodejs20.x")
    resources = {
        "Maker": maker,
        "Thing": {
            "Type": "AWS::CloudFormation::CustomResource",
            "Properties": {"ServiceToken": attribute("Arn", "Maker")},
        },
    }
    assert stack.deploy(resources, {"Kind": attribute("Kind", "Thing"), "Id": ref("Thing")}) == "CREATE_COMPLETE"
    assert stack.outputs() == {"Kind": "Create", "Id": "node-thing"}


@pytest.fixture
def machine_has_node() -> None:
    import shutil

    if shutil.which("node") is None:
        pytest.skip("no Node.js here")


def test_a_custom_resource_that_takes_long_leaves_the_stack_in_progress(
    own_gateway: Callable[..., Any], client_for: Callable[..., Any]
) -> None:
    """Who creates the stack is answered when 25 s are over; who waits sees it complete."""
    gateway = own_gateway()
    made = Stack("slow", client_for(gateway.url, "cloudformation"), client_for(gateway.url, "lambda"))
    maker = function("import time\n" + CUSTOM.replace("    print(", "    time.sleep(26)\n    print("), Timeout=60)
    assert made.deploy({"Maker": maker, "Thing": custom(Id="slow")}) == "CREATE_IN_PROGRESS"
    with pytest.raises(ClientError, match="is in CREATE_IN_PROGRESS state and can not be updated"):
        made.cloudformation.update_stack(StackName="slow", TemplateBody="{}")
    waiter = made.cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName="slow", WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_a_type_that_is_not_supported_is_left_out_and_says_so(stack: Stack) -> None:
    resources = {"Fn": function(), "Other": {"Type": "AWS::Made::Up", "Properties": {"Of": ref("Fn")}}}
    assert stack.deploy(resources) == "CREATE_COMPLETE"
    assert ("Other", "CREATE_COMPLETE", "AWS::Made::Up is not supported here: nothing was made") in stack.events()


def test_a_serverless_template_connects_its_events(stack: Stack, aws_client: Callable[..., Any]) -> None:
    template = f"""
    Transform: AWS::Serverless-2016-10-31
    Resources:
      Topic: {{Type: AWS::SNS::Topic}}
      Bucket: {{Type: AWS::S3::Bucket}}
      Heard: {{Type: AWS::SQS::Queue}}
      Fn:
        Type: AWS::Serverless::Function
        Properties:
          Runtime: python3.12
          Handler: index.handler
          Role: {ROLE}
          InlineCode: |
            import boto3, json, os
            def handler(event, context):
                boto3.client("sqs").send_message(QueueUrl=os.environ["HEARD"], MessageBody=json.dumps(event))
          Environment: {{Variables: {{HEARD: !Ref Heard}}}}
          Events:
            Message: {{Type: SNS, Properties: {{Topic: !Ref Topic}}}}
            Object: {{Type: S3, Properties: {{Bucket: !Ref Bucket, Events: "s3:ObjectCreated:*"}}}}
            Event: {{Type: EventBridgeRule, Properties: {{Pattern: {{source: [{stack.name}]}}}}}}
    """
    stack.cloudformation.create_stack(StackName=stack.name, TemplateBody=textwrap.dedent(template))
    assert stack.status() == "CREATE_COMPLETE", stack.events()
    aws_client("sns").publish(TopicArn=stack.physical("Topic"), Message="from a topic")
    aws_client("s3").put_object(Bucket=stack.physical("Bucket"), Key="from-a-bucket", Body=b"")
    aws_client("events").put_events(Entries=[{"Source": stack.name, "DetailType": "from a bus", "Detail": "{}"}])
    sqs, seen = aws_client("sqs"), ""
    for _ in range(20):
        found = sqs.receive_message(QueueUrl=stack.physical("Heard"), WaitTimeSeconds=1, MaxNumberOfMessages=10)
        seen += "".join(message["Body"] for message in found.get("Messages", []))
        if all(word in seen for word in ("from a topic", "from-a-bucket", "from a bus")):
            return
    pytest.fail(f"not everything was heard: {seen}")


def test_a_serverless_template_with_a_mistake_is_refused(stack: Stack) -> None:
    template = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {"Fn": {"Type": "AWS::Serverless::Function", "Properties": {"Handler": "index.handler"}}},
    }
    with pytest.raises(ClientError, match="Invalid Serverless Application Specification document"):
        stack.cloudformation.create_stack(StackName=stack.name, TemplateBody=json.dumps(template))


def test_a_state_machine_of_a_stack_runs_its_function(stack: Stack, aws_client: Callable[..., Any]) -> None:
    definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "${Arn}", "End": True}}}
    resources = {
        "Fn": function("def handler(event, context):\n    return event['n'] + 1"),
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "DefinitionString": {"Fn::Sub": [json.dumps(definition), {"Arn": attribute("Arn", "Fn")}]},
                "RoleArn": ROLE,
            },
        },
    }
    assert stack.deploy(resources, {"Machine": ref("Machine")}) == "CREATE_COMPLETE", stack.events()
    states = aws_client("stepfunctions")
    execution = states.start_execution(stateMachineArn=stack.outputs()["Machine"], input='{"n": 1}')["executionArn"]
    deadline = time.monotonic() + 30
    while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < deadline
    assert (found["status"], found.get("output")) == ("SUCCEEDED", "2")


# --- resources that moto makes


def test_what_has_no_name_gets_one_that_its_service_takes(stack: Stack) -> None:
    resources: dict[str, Any] = {
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": f"{stack.name}-bus"}},
        "Parameter": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": True}},
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"FifoTopic": True}},
        "Images": {"Type": "AWS::ECR::Repository"},
    }
    assert stack.deploy(resources, {name: ref(name) for name in resources}) == "CREATE_COMPLETE"
    names = stack.outputs()
    assert names["Bus"] == f"{stack.name}-bus"
    assert re.fullmatch(r"CFN-Parameter-[0-9A-Z]{12}", names["Parameter"])
    queue = names["Queue"].rpartition("/")[2]
    assert re.search(r"-[0-9A-Z]{12}\.fifo$", queue) and len(queue) <= 80
    assert re.search(r"-Topic-[0-9A-Z]{12}\.fifo$", names["Topic"])
    assert re.fullmatch(r"stack-.*-images-[0-9a-z]{12}", names["Images"])


def test_a_resource_that_changes_keeps_its_name_and_what_belongs_to_it(
    stack: Stack, aws_client: Callable[..., Any]
) -> None:
    def resources(change: str) -> dict[str, Any]:
        tags = [{"Key": "state", "Value": change}]
        return {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"Tags": tags}},
            "Parameter": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": change}},
            "Queue": {
                "Type": "AWS::SQS::Queue",
                "Properties": {"MessageRetentionPeriod": 60 + len(change), "VisibilityTimeout": len(change)},
            },
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": change}},
            "Subscription": {
                "Type": "AWS::SNS::Subscription",
                "Properties": {"TopicArn": ref("Topic"), "Protocol": "sqs", "Endpoint": attribute("Arn", "Queue")},
            },
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {"EventPattern": {"source": [change]}, "State": "ENABLED"},
            },
        }

    outputs = {name: ref(name) for name in resources("")}
    assert stack.deploy(resources("first"), outputs) == "CREATE_COMPLETE"
    before = stack.outputs()
    assert stack.deploy(resources("second time"), outputs) == "UPDATE_COMPLETE"
    after = stack.outputs()
    assert after == before
    tags = aws_client("s3").get_bucket_tagging(Bucket=after["Bucket"])["TagSet"]
    assert {"Key": "state", "Value": "second time"} in tags
    assert aws_client("ssm").get_parameter(Name=after["Parameter"])["Parameter"]["Value"] == "second time"
    queue = aws_client("sqs").get_queue_attributes(QueueUrl=after["Queue"], AttributeNames=["All"])["Attributes"]
    assert (queue["MessageRetentionPeriod"], queue["VisibilityTimeout"]) == ("71", "11")
    sns = aws_client("sns")
    assert sns.get_topic_attributes(TopicArn=after["Topic"])["Attributes"]["DisplayName"] == "second time"
    listed = sns.list_subscriptions_by_topic(TopicArn=after["Topic"])["Subscriptions"]
    assert [each["SubscriptionArn"] for each in listed] == [after["Subscription"]]
    pattern = aws_client("events").describe_rule(Name=after["Rule"])["EventPattern"]
    assert json.loads(pattern) == {"source": ["second time"]}


def test_a_change_of_a_bus_leaves_its_rules(stack: Stack, aws_client: Callable[..., Any]) -> None:
    def resources(change: str) -> dict[str, Any]:
        return {
            "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": stack.name, "Description": change}},
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {"EventBusName": ref("Bus"), "EventPattern": {"source": ["x"]}},
            },
        }

    assert stack.deploy(resources("first")) == "CREATE_COMPLETE"
    assert stack.deploy(resources("second")) == "UPDATE_COMPLETE"
    events = aws_client("events")
    assert len(events.list_rules(EventBusName=stack.name)["Rules"]) == 1


def test_what_applications_have_beside_functions(stack: Stack, aws_client: Callable[..., Any]) -> None:
    def resources(length: int, description: str) -> dict[str, Any]:
        made_up = {"PasswordLength": length, "SecretStringTemplate": '{"user": "a"}', "GenerateStringKey": "password"}
        return {
            "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"GenerateSecretString": made_up}},
            "Alarm": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {
                    "MetricName": "Errors",
                    "Namespace": "AWS/Lambda",
                    "Statistic": "Sum",
                    "Period": "60",
                    "EvaluationPeriods": 1,
                    "Threshold": 1,
                    "ComparisonOperator": "GreaterThanThreshold",
                    "AlarmDescription": description,
                },
            },
            "Fn": function(
                "def handler(event, context):\n    event['response']['autoConfirmUser'] = True\n    return event"
            ),
            "Pool": {
                "Type": "AWS::Cognito::UserPool",
                "Properties": {
                    "AutoVerifiedAttributes": ["email"],
                    "LambdaConfig": {"PreSignUp": attribute("Arn", "Fn")},
                    "Policies": {"PasswordPolicy": {"MinimumLength": str(length)}},
                },
            },
            "Client": {
                "Type": "AWS::Cognito::UserPoolClient",
                "Properties": {"UserPoolId": ref("Pool"), "GenerateSecret": False, "ClientName": description},
            },
            "Group": {
                "Type": "AWS::Cognito::UserPoolGroup",
                "Properties": {"UserPoolId": ref("Pool"), "GroupName": "admins", "Description": description},
            },
            "Table": {
                "Type": "AWS::DynamoDB::GlobalTable",
                "Properties": {
                    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                    "BillingMode": "PAY_PER_REQUEST",
                    "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
                    "Replicas": [{"Region": "us-east-1"}],
                },
            },
            "Mapping": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "FunctionName": ref("Fn"),
                    "EventSourceArn": attribute("StreamArn", "Table"),
                    "StartingPosition": "LATEST",
                },
            },
            "Group2": {"Type": "AWS::Scheduler::ScheduleGroup"},
            "Key": {"Type": "AWS::ApiGateway::ApiKey", "Properties": {"Enabled": True}},
            "Plan": {"Type": "AWS::ApiGateway::UsagePlan", "Properties": {"Throttle": {"RateLimit": 5}}},
            "PlanKey": {
                "Type": "AWS::ApiGateway::UsagePlanKey",
                "Properties": {"KeyId": ref("Key"), "KeyType": "API_KEY", "UsagePlanId": ref("Plan")},
            },
        }

    outputs = {name: ref(name) for name in resources(20, "")} | {"Provider": attribute("ProviderURL", "Pool")}
    assert stack.deploy(resources(20, "first"), outputs) == "CREATE_COMPLETE"
    before = stack.outputs()
    events = stack.cloudformation.describe_stack_events(StackName=stack.name)["StackEvents"]
    assert not [event for event in events if "not supported" in event.get("ResourceStatusReason", "")]
    secrets = aws_client("secretsmanager")
    value = json.loads(secrets.get_secret_value(SecretId=before["Secret"])["SecretString"])
    assert (value["user"], len(value["password"])) == ("a", 20)
    cognito = aws_client("cognito-idp")
    signed = cognito.sign_up(ClientId=before["Client"], Username="u", Password="Passw0rd!-and-more-of-it")
    assert signed["UserConfirmed"]
    assert before["Provider"].endswith(before["Pool"])

    assert stack.deploy(resources(21, "second"), outputs) == "UPDATE_COMPLETE"
    assert stack.outputs() == before
    value = json.loads(secrets.get_secret_value(SecretId=before["Secret"])["SecretString"])
    assert len(value["password"]) == 21
    (alarm,) = aws_client("cloudwatch").describe_alarms(AlarmNames=[before["Alarm"]])["MetricAlarms"]
    assert alarm["AlarmDescription"] == "second"
    pool = cognito.describe_user_pool(UserPoolId=before["Pool"])["UserPool"]
    assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] == 21 and pool["LambdaConfig"]["PreSignUp"]
    group = cognito.get_group(GroupName="admins", UserPoolId=before["Pool"])["Group"]
    assert group["Description"] == "second"

    stack.delete()
    assert before["Pool"] not in [each["Id"] for each in cognito.list_user_pools(MaxResults=60)["UserPools"]]
    assert before["Table"] not in aws_client("dynamodb").list_tables()["TableNames"]
    with pytest.raises(ClientError, match="can't find the specified secret"):
        secrets.describe_secret(SecretId=before["Secret"])


def test_references_to_parameters_and_secrets_are_looked_up(stack: Stack, aws_client: Callable[..., Any]) -> None:
    name = stack.name
    aws_client("ssm").put_parameter(Name=f"/{name}/host", Value="db.local", Type="String")
    aws_client("secretsmanager").create_secret(Name=name, SecretString='{"password": "secret"}')
    source = "import os\ndef handler(event, context):\n    return os.environ['URL']"
    url = f"me:{{{{resolve:secretsmanager:{name}:SecretString:password}}}}@{{{{resolve:ssm:/{name}/host}}}}"
    resources = {"Fn": function(source, Environment={"Variables": {"URL": url}})}
    assert stack.deploy(resources, {"Name": ref("Fn")}) == "CREATE_COMPLETE"
    assert stack.invoke(stack.outputs()["Name"]) == "me:secret@db.local"
    missing = {"Fn": function(source, Environment={"Variables": {"URL": "{{resolve:ssm:/none}}"}})}
    assert stack.deploy(missing, {"Name": ref("Fn")}) == "UPDATE_ROLLBACK_COMPLETE"
    assert stack.invoke(stack.outputs()["Name"]) == "me:secret@db.local"


def test_an_export_that_is_imported_neither_changes_nor_goes(stack: Stack, aws_client: Callable[..., Any]) -> None:
    client, export = stack.cloudformation, f"{stack.name}-export"
    resources = {"Parameter": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}

    def template(value: str | None) -> str:
        outputs = {} if value is None else {"Out": {"Value": value, "Export": {"Name": export}}}
        return json.dumps({"Resources": resources, "Outputs": outputs})

    def status_and_reasons() -> tuple[str, list[str]]:
        (found,) = client.describe_stacks(StackName=stack.name)["Stacks"]
        events = client.describe_stack_events(StackName=stack.name)["StackEvents"]
        return found["StackStatus"], [event.get("ResourceStatusReason", "") for event in events]

    user = f"user-of-{stack.name}"
    imported = {"Fn::ImportValue": {"Fn::Sub": f"{stack.name}-${{What}}"}}
    properties = {"Type": "String", "Value": imported}
    body = {
        "Parameters": {"What": {"Type": "String", "Default": "export"}},
        "Resources": {"Copy": {"Type": "AWS::SSM::Parameter", "Properties": properties}},
    }
    client.create_stack(StackName=stack.name, TemplateBody=template("first"))
    client.create_stack(StackName=user, TemplateBody=json.dumps(body))
    for value, change in (("second", "updated"), (None, "deleted")):
        client.update_stack(StackName=stack.name, TemplateBody=template(value))
        status, reasons = status_and_reasons()
        assert status == "UPDATE_ROLLBACK_COMPLETE"
        assert f"Export {export} cannot be {change} as it is in use by {user}" in reasons
    client.delete_stack(StackName=stack.name)
    status, reasons = status_and_reasons()
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert f"Delete canceled. Cannot delete export {export} as it is in use by {user}." in reasons
    (kept,) = [each for each in client.list_exports()["Exports"] if each["Name"] == export]
    assert kept["Value"] == "first"
    client.delete_stack(StackName=user)
    client.delete_stack(StackName=stack.name)
    with pytest.raises(ClientError, match="does not exist"):
        client.describe_stacks(StackName=stack.name)
