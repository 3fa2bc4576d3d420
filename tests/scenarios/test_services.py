"""Other services of the gateway run functions: with the events that AWS describes, and who they are."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenarios.hearing import HEARS, Hearing, hearing

Clients = Callable[..., Any]


@pytest.fixture
def function(deploy: Callable[..., str]) -> Iterator[Hearing]:
    yield from hearing(deploy)


@pytest.fixture
def topic(aws_client: Clients, function: Hearing) -> Iterator[str]:
    sns = aws_client("sns")
    arn = sns.create_topic(Name=f"topic-{function.name}")["TopicArn"]
    yield arn
    sns.delete_topic(TopicArn=arn)


def test_a_message_of_a_topic_is_an_event(aws_client: Clients, function: Hearing, topic: str) -> None:
    sns = aws_client("sns")
    subscription = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function.arn)["SubscriptionArn"]
    sent = sns.publish(
        TopicArn=topic,
        Message="hello",
        Subject="greeting",
        MessageAttributes={
            "text": {"DataType": "String", "StringValue": "a"},
            "number": {"DataType": "Number", "StringValue": "1.5"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        },
    )
    (event,) = function.events()
    (record,) = event["Records"]
    assert {key: record[key] for key in ("EventSource", "EventVersion", "EventSubscriptionArn")} == {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription,
    }
    message = record["Sns"]
    assert list(message) == [
        "Type",
        "MessageId",
        "TopicArn",
        "Subject",
        "Message",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertUrl",
        "UnsubscribeUrl",
        "MessageAttributes",
    ]
    assert (message["MessageId"], message["TopicArn"], message["Message"]) == (sent["MessageId"], topic, "hello")
    assert message["Subject"] == "greeting"
    assert message["MessageAttributes"] == {
        "text": {"Type": "String", "Value": "a"},
        "number": {"Type": "Number", "Value": "1.5"},
        "bytes": {"Type": "Binary", "Value": "AAE="},
    }


def test_a_filter_policy_keeps_messages_from_the_function(aws_client: Clients, function: Hearing, topic: str) -> None:
    sns = aws_client("sns")
    sns.subscribe(
        TopicArn=topic,
        Protocol="lambda",
        Endpoint=function.arn,
        Attributes={"FilterPolicy": json.dumps({"kind": ["wanted"]})},
    )
    for kind in ("other", "wanted"):
        attributes = {"kind": {"DataType": "String", "StringValue": kind}}
        sns.publish(TopicArn=topic, Message=kind, MessageAttributes=attributes)
    (event,) = function.events()
    assert event["Records"][0]["Sns"]["Message"] == "wanted"
    assert event["Records"][0]["Sns"]["Subject"] is None


def test_a_message_that_no_function_takes_goes_to_the_dead_letter_queue(
    aws_client: Clients, function: Hearing, topic: str
) -> None:
    sns, sqs = aws_client("sns"), aws_client("sqs")
    queue = sqs.create_queue(QueueName=f"dead-{function.name}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="lambda",
        Endpoint=function.arn + "-gone",
        Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn})},
    )
    sns.publish(TopicArn=topic, Message="nobody is there")
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    assert json.loads(message["Body"])["Records"][0]["Sns"]["Message"] == "nobody is there"
    sqs.delete_queue(QueueUrl=queue)


def test_what_follows_from_a_request_has_its_trace(aws_client: Clients, function: Hearing, topic: str) -> None:
    sns = aws_client("sns")
    root = "1-5759e988-bd862e3fe1be46a994272793"
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function.arn)

    def with_trace(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = f"Root={root};Sampled=1"

    sns.meta.events.register("before-sign.sns.Publish", with_trace)
    try:
        sns.publish(TopicArn=topic, Message="traced")
    finally:
        sns.meta.events.unregister("before-sign.sns.Publish", with_trace)
    (call,) = function.calls()
    assert f"Root={root}" in call["trace"]


def test_a_function_that_publishes_to_its_own_topic_is_stopped(
    aws_client: Clients, deploy: Callable[..., str], topic: str
) -> None:
    """AWS stops a function after some 16 requests of one chain; through SNS, too (lambda/latest/dg/invocation-recursion.html)."""
    source = HEARS.replace(
        "    return event",
        "    import boto3\n    boto3.client('sns').publish(TopicArn=os.environ['TOPIC'], Message='again')\n    return event",
    )
    for function in hearing(deploy, source=source):
        lambda_, sqs = aws_client("lambda"), aws_client("sqs")
        queue = sqs.create_queue(QueueName=f"dropped-{function.name}")["QueueUrl"]
        queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        variables = {"PORT": str(function.witness.port), "TOPIC": topic}
        lambda_.update_function_configuration(FunctionName=function.name, Environment={"Variables": variables})
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=function.name)
        lambda_.put_function_event_invoke_config(
            FunctionName=function.name, DestinationConfig={"OnFailure": {"Destination": queue_arn}}
        )
        aws_client("sns").subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function.arn)
        aws_client("sns").publish(TopicArn=topic, Message="first")
        (dropped,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
        assert json.loads(dropped["Body"])["requestPayload"]["Records"][0]["Sns"]["Message"] == "again"
        assert len(function.calls(16)) == len(function.witness.heard)


@pytest.fixture
def bucket(aws_client: Clients, function: Hearing) -> Iterator[str]:
    s3 = aws_client("s3")
    s3.create_bucket(Bucket=f"bucket-{function.name}")
    yield f"bucket-{function.name}"


def notify(s3: Any, bucket: str, arn: str, events: list[str], **filters: str) -> None:
    configuration: dict[str, Any] = {"Id": "tell-the-function", "LambdaFunctionArn": arn, "Events": events}
    if filters:
        rules = [{"Name": name, "Value": value} for name, value in filters.items()]
        configuration["Filter"] = {"Key": {"FilterRules": rules}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [configuration]}
    )


def test_objects_that_come_and_go_are_events(aws_client: Clients, function: Hearing, bucket: str) -> None:
    s3 = aws_client("s3")
    notify(s3, bucket, function.arn, ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], prefix="in/", suffix=".txt")
    s3.put_object(Bucket=bucket, Key="in/a.jpg", Body=b"not this one")
    s3.put_object(Bucket=bucket, Key="in/red flower+1.txt", Body=b"1234")
    s3.delete_object(Bucket=bucket, Key="in/red flower+1.txt")
    records = sorted((event["Records"][0] for event in function.events(2)), key=lambda record: record["eventName"])
    created, removed = records
    assert (created["eventVersion"], created["eventSource"], created["awsRegion"]) == ("2.1", "aws:s3", "us-east-1")
    assert (created["eventName"], removed["eventName"]) == ("ObjectCreated:Put", "ObjectRemoved:Delete")
    assert created["s3"]["configurationId"] == "tell-the-function"
    assert created["s3"]["bucket"] == {
        "name": bucket,
        "ownerIdentity": {"principalId": "000000000000"},
        "arn": f"arn:aws:s3:::{bucket}",
    }
    content = created["s3"]["object"]
    assert (content["key"], content["size"]) == ("in/red+flower%2B1.txt", 4)
    assert content["eTag"] == "81dc9bdb52d04dc20036dbd8313ed055"
    assert set(removed["s3"]["object"]) == {"key", "sequencer"}
    assert removed["s3"]["object"]["sequencer"] > content["sequencer"]


def test_versioned_objects_are_named_with_their_version(aws_client: Clients, function: Hearing, bucket: str) -> None:
    s3 = aws_client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    notify(s3, bucket, function.arn, ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"])
    put = s3.put_object(Bucket=bucket, Key="key", Body=b"1")
    deleted = s3.delete_object(Bucket=bucket, Key="key")
    s3.delete_object(Bucket=bucket, Key="key", VersionId=put["VersionId"])
    s3.delete_object(Bucket=bucket, Key="key", VersionId="there-is-none")
    versions = {
        event["Records"][0]["eventName"]: event["Records"][0]["s3"]["object"]["versionId"]
        for event in function.events(3)
    }
    assert versions == {
        "ObjectCreated:Put": put["VersionId"],
        "ObjectRemoved:Delete": put["VersionId"],
        "ObjectRemoved:DeleteMarkerCreated": deleted["VersionId"],
    }


def upload_in_parts(s3: Any, bucket: str, key: str) -> None:
    upload = {"Bucket": bucket, "Key": key, "UploadId": s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]}
    part = s3.upload_part(**upload, PartNumber=1, Body=b"1234")
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})


def test_what_becomes_of_an_object_is_one_event(aws_client: Clients, function: Hearing, bucket: str) -> None:
    """However many things that is made of: tags that come with it, the parts of an upload."""
    s3 = aws_client("s3")
    notify(s3, bucket, function.arn, ["s3:ObjectCreated:*", "s3:ObjectTagging:*"])
    s3.put_object(Bucket=bucket, Key="put", Body=b"1", Tagging="a=b")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/put", TaggingDirective="REPLACE", Tagging="c=d")
    upload_in_parts(s3, bucket, "parts")
    s3.put_object_tagging(Bucket=bucket, Key="parts", Tagging={"TagSet": [{"Key": "e", "Value": "f"}]})
    s3.put_object(Bucket=bucket, Key="last", Body=b"1")
    told = [(record["eventName"], record["s3"]["object"]["key"]) for (record,) in map(records_of, function.events(5))]
    assert sorted(told) == [
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:Put", "last"),
        ("ObjectCreated:Put", "put"),
        ("ObjectTagging:Put", "parts"),
    ]


def records_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    return list(event["Records"])


def test_a_bucket_tells_event_bridge(aws_client: Clients, function: Hearing, bucket: str) -> None:
    s3, events = aws_client("s3"), aws_client("events")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=bucket, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=bucket, Targets=[{"Id": "function", "Arn": function.arn}])
    put = s3.put_object(Bucket=bucket, Key="a b", Body=b"1234")
    upload_in_parts(s3, bucket, "parts")
    s3.delete_object(Bucket=bucket, Key="a b")
    heard = function.events(3)
    assert len({event["id"] for event in heard}) == 3
    created, parts, deleted = sorted(heard, key=lambda event: int(event["detail"]["object"]["sequencer"], 16))
    assert created["detail-type"] == parts["detail-type"] == "Object Created"
    content = dict(created["detail"]["object"])
    assert content.pop("sequencer") < parts["detail"]["object"]["sequencer"]
    assert content == {
        "key": "a b",
        "size": 4,
        "etag": "81dc9bdb52d04dc20036dbd8313ed055",
        "version-id": put["VersionId"],
    }
    assert (created["detail"]["reason"], parts["detail"]["reason"]) == ("PutObject", "CompleteMultipartUpload")
    assert created["detail"]["requester"] == created["account"]
    assert deleted["detail-type"] == "Object Deleted" and "size" not in deleted["detail"]["object"]
    assert (deleted["detail"]["reason"], deleted["detail"]["deletion-type"]) == (
        "DeleteObject",
        "Delete Marker Created",
    )
    events.remove_targets(Rule=bucket, Ids=["function"])
    events.delete_rule(Name=bucket)


def test_a_notification_needs_a_function_that_exists(aws_client: Clients, function: Hearing, bucket: str) -> None:
    with pytest.raises(ClientError) as raised:
        notify(aws_client("s3"), bucket, function.arn + "-gone", ["s3:ObjectCreated:*"])
    error = raised.value.response["Error"]
    assert error["Code"] == "InvalidArgument"
    assert error["Message"] == "Unable to validate the following destination configurations"


def test_services_need_a_permission_where_permissions_are_enforced(
    own_gateway: Callable[..., Any], client_for: Clients, functions_of: Callable[..., Any]
) -> None:
    gateway = own_gateway(LAMBDA_ENFORCE_PERMISSIONS="1")
    functions, s3 = functions_of(gateway), client_for(gateway.url, "s3")
    name = functions.create("guarded", "def handler(event, context):\n    return event")
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    s3.create_bucket(Bucket="asks")
    with pytest.raises(ClientError) as raised:
        notify(s3, "asks", arn, ["s3:ObjectCreated:*"])
    assert raised.value.response["Error"]["ArgumentValue"] == f"Not authorized to invoke function [{arn}]"
    functions.client.add_permission(
        FunctionName=name,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::asks",
        SourceAccount="000000000000",
    )
    notify(s3, "asks", arn, ["s3:ObjectCreated:*"])


def test_events_that_a_rule_matches_reach_its_targets(aws_client: Clients, function: Hearing) -> None:
    events = aws_client("events")
    name = f"rule-{function.name}"
    pattern = {"source": ["shop"], "detail": {"price": [{"numeric": [">", 10]}], "name": [{"suffix": "er"}]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    transformer = {
        "InputPathsMap": {"price": "$.detail.price", "name": "$.detail.name", "none": "$.detail.none"},
        "InputTemplate": '{"price": <price>, "name": <name>, "text": "<name> for <price><none>",'
        ' "rule": "<aws.events.rule-name>"}',
    }
    events.put_targets(
        Rule=name,
        Targets=[
            {"Id": "whole", "Arn": function.arn},
            {"Id": "part", "Arn": function.arn, "InputPath": "$.detail"},
            {"Id": "other", "Arn": function.arn, "Input": '{"constant": true}'},
            {"Id": "made", "Arn": function.arn, "InputTransformer": transformer},
        ],
    )
    detail = {"price": 12.5, "name": 'a "good" hammer'}
    sent = events.put_events(
        Entries=[
            {"Source": "shop", "DetailType": "order", "Detail": json.dumps({**detail, "price": 9})},
            {"Source": "shop", "DetailType": "order", "Detail": json.dumps(detail), "Resources": ["arn:of:something"]},
        ]
    )
    received = function.events(4)
    whole = next(event for event in received if "detail-type" in event)
    assert list(whole) == [
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    ]  # fmt: skip
    assert whole["id"] == sent["Entries"][1]["EventId"]
    assert (whole["source"], whole["detail"], whole["resources"]) == ("shop", detail, ["arn:of:something"])
    assert time.strptime(whole["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert detail in received
    assert {"constant": True} in received
    assert {
        "price": 12.5,
        "name": 'a "good" hammer',
        "text": 'a "good" hammer for 12.5',
        "rule": name,
    } in received


def test_a_disabled_rule_reaches_nobody(aws_client: Clients, function: Hearing) -> None:
    events = aws_client("events")
    for state in ("DISABLED", "ENABLED"):
        name = f"{state}-{function.name}"
        events.put_rule(Name=name, EventPattern=json.dumps({"source": [function.name]}), State=state)
        events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": function.arn, "Input": json.dumps(state)}])
    events.put_events(Entries=[{"Source": function.name, "DetailType": "x", "Detail": "{}"}])
    assert function.events() == ["ENABLED"]


def test_schedules_run_functions(
    own_gateway: Callable[..., Any], client_for: Clients, functions_of: Callable[..., Any]
) -> None:
    gateway = own_gateway(LAMBDA_CLOCK_RATE="600")
    functions = functions_of(gateway)

    def deploy(source: str, *, account: str, region: str, **parameters: Any) -> str:
        name: str = functions.create("scheduled", source, **parameters)
        return name

    for function in hearing(deploy):
        events, scheduler = client_for(gateway.url, "events"), client_for(gateway.url, "scheduler")
        rule = events.put_rule(Name="every-minute", ScheduleExpression="rate(1 minute)")["RuleArn"]
        events.put_targets(Rule="every-minute", Targets=[{"Id": "1", "Arn": function.arn}])
        first, second = function.events(2)
        assert (first["detail-type"], first["source"], first["resources"]) == ("Scheduled Event", "aws.events", [rule])
        assert first["detail"] == {} and first["id"] != second["id"]
        events.disable_rule(Name="every-minute")
        scheduler.create_schedule(
            Name="cron",
            ScheduleExpression="cron(* * * * ? *)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": function.arn, "RoleArn": "arn:aws:iam::000000000000:role/any", "Input": '{"from": "cron"}'},
        )
        function.witness.until(lambda heard: any('"from": "cron"' in text for text in heard))


def test_lines_that_match_a_subscription_filter_are_events(aws_client: Clients, function: Hearing) -> None:
    logs = aws_client("logs")
    group = f"/group/{function.name}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="stream")
    logs.put_subscription_filter(
        logGroupName=group, filterName="errors", filterPattern="ERROR", destinationArn=function.arn
    )
    now = int(time.time() * 1000)
    lines = ["ERROR one", "fine", "ERROR two"]
    logs.put_log_events(
        logGroupName=group, logStreamName="stream", logEvents=[{"timestamp": now, "message": line} for line in lines]
    )
    (event,) = function.events()
    document = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    assert {key: value for key, value in document.items() if key != "logEvents"} == {
        "messageType": "DATA_MESSAGE",
        "owner": "000000000000",
        "logGroup": group,
        "logStream": "stream",
        "subscriptionFilters": ["errors"],
    }
    assert [(line["timestamp"], line["message"]) for line in document["logEvents"]] == [
        (now, "ERROR one"),
        (now, "ERROR two"),
    ]
    assert all(line["id"].isdigit() and len(line["id"]) == 56 for line in document["logEvents"])


def test_a_subscription_filter_needs_a_function_that_exists(aws_client: Clients, function: Hearing) -> None:
    logs = aws_client("logs")
    logs.create_log_group(logGroupName=f"/none/{function.name}")
    with pytest.raises(logs.exceptions.InvalidParameterException, match="Could not execute the lambda function"):
        logs.put_subscription_filter(
            logGroupName=f"/none/{function.name}",
            filterName="f",
            filterPattern="",
            destinationArn=function.arn + "-gone",
        )


def test_tasks_of_a_state_machine_run_functions(
    aws_client: Clients, deploy: Callable[..., str], result: Callable[..., Any]
) -> None:
    account = "111122223333"
    echo = deploy("def handler(event, context):\n    return {'heard': event}", account=account)
    fails = deploy("def handler(event, context):\n    raise ValueError('no')", account=account)
    arn = f"arn:aws:lambda:us-east-1:{account}:function:"
    definition = {
        "StartAt": "Integration",
        "States": {
            "Integration": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": echo, "Payload.$": "$"},
                "OutputPath": "$.Payload",
                "Next": "Direct",
            },
            "Direct": {"Type": "Task", "Resource": arn + echo, "Next": "Failing"},
            "Failing": {
                "Type": "Task",
                "Resource": arn + fails,
                "Catch": [{"ErrorEquals": ["ValueError"], "ResultPath": "$.error", "Next": "Done"}],
                "End": True,
            },
            "Done": {"Type": "Succeed"},
        },
    }
    states = aws_client("stepfunctions", account=account)
    machine = states.create_state_machine(
        name=f"machine-{echo}", definition=json.dumps(definition), roleArn=f"arn:aws:iam::{account}:role/machine"
    )["stateMachineArn"]
    execution, another = (
        states.start_execution(stateMachineArn=machine, input='{"k": 1}')["executionArn"] for _ in range(2)
    )
    assert execution != another  # Without a name, each is one of its own.
    deadline = time.monotonic() + 30
    while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < deadline
    assert found["status"] == "SUCCEEDED", found
    output = json.loads(found["output"])
    assert output["heard"] == {"heard": {"k": 1}}
    assert output["error"]["Error"] == "ValueError"


TRIGGERS = """
def handler(event, context):
    source = event["triggerSource"]
    if source == "PreSignUp_SignUp":
        if event["request"]["userAttributes"].get("email", "").endswith("@bad.example"):
            raise Exception("not from there")
        event["response"].update(autoConfirmUser=True, autoVerifyEmail=True)
    elif source.startswith("TokenGeneration"):
        event["response"]["claimsOverrideDetails"] = {
            "claimsToAddOrOverride": {
                "colour": "blue", "user": event["userName"], "status": event["request"]["userAttributes"]["cognito:user_status"],
            },
            "claimsToSuppress": ["origin_jti"],
        }
    print("TRIGGER", source)
    return event
"""


def test_triggers_of_a_user_pool(aws_client: Clients, deploy: Callable[..., str]) -> None:
    name = deploy(TRIGGERS)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    cognito, logs = aws_client("cognito-idp"), aws_client("logs")
    triggers = ("PreSignUp", "PostConfirmation", "PreAuthentication", "PostAuthentication", "PreTokenGeneration")
    pool = cognito.create_user_pool(PoolName=name, LambdaConfig=dict.fromkeys(triggers, arn))["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="c", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    )["UserPoolClient"]["ClientId"]

    def sign_up(user: str, email: str) -> Any:
        attributes = [{"Name": "email", "Value": email}]
        return cognito.sign_up(ClientId=client, Username=user, Password="P2$Sword", UserAttributes=attributes)

    assert sign_up("ann", "ann@good.example")["UserConfirmed"] is True
    with pytest.raises(ClientError, match="PreSignUp failed with error not from there") as raised:
        sign_up("bob", "bob@bad.example")
    assert raised.value.response["Error"]["Code"] == "UserLambdaValidationException"
    parameters = {"USERNAME": "ann", "PASSWORD": "P2$Sword"}
    tokens = cognito.initiate_auth(ClientId=client, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=parameters)
    payload = tokens["AuthenticationResult"]["IdToken"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (claims["colour"], claims["user"], claims["status"]) == ("blue", "ann", "CONFIRMED")
    assert "origin_jti" not in claims
    user = cognito.admin_get_user(UserPoolId=pool, Username="ann")
    assert {"Name": "email_verified", "Value": "true"} in user["UserAttributes"]
    lines = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="TRIGGER")["events"]
    assert [line["message"].split()[1] for line in sorted(lines, key=lambda line: line["timestamp"])] == [
        "PreSignUp_SignUp",
        "PostConfirmation_ConfirmSignUp",
        "PreAuthentication_Authentication",
        "PostAuthentication_Authentication",
        "TokenGeneration_Authentication",
    ]


ROTATES = """
import boto3
def handler(event, context):
    client = boto3.client("secretsmanager")
    arn, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    if step == "createSecret":
        if client.get_secret_value(SecretId=arn)["SecretString"] == "broken":
            raise ValueError("cannot rotate this")
        client.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString="rotated", VersionStages=["AWSPENDING"])
    elif step == "finishSecret":
        versions = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
        current = next(version for version, stages in versions.items() if "AWSCURRENT" in stages)
        client.update_secret_version_stage(
            SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
"""


def test_a_secret_is_rotated_by_its_function(aws_client: Clients, deploy: Callable[..., str]) -> None:
    secrets, name = aws_client("secretsmanager"), deploy(ROTATES, Timeout=30)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    for value, expected in (("first", "rotated"), ("broken", "broken")):
        secret = secrets.create_secret(Name=f"{value}-{name}", SecretString=value)["ARN"]
        secrets.rotate_secret(SecretId=secret, RotationLambdaARN=arn, RotationRules={"AutomaticallyAfterDays": 30})
        assert secrets.get_secret_value(SecretId=secret)["SecretString"] == expected
