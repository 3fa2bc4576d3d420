"""Function URLs of a real gateway: whom they let in, what comes through them, and what they answer when something is wrong."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .urls import call, give_url

pytestmark = pytest.mark.scenario

ECHO = "def handler(event, context):\n    return event\n"
ANSWER = "import json\ndef handler(event, context):\n    return json.loads(event['body'])\n"
MIRROR = """
def handler(event, context):
    return {"statusCode": 200, "headers": {"Content-Type": "image/png"}, "body": event["body"], "isBase64Encoded": True}
"""
SIGNS = """
import json, os, urllib.request, urllib.error
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
def handler(event, context):
    asked = AWSRequest("POST", event["url"], headers={"Host": event["host"]}, data=b"{}")
    SigV4Auth(botocore.session.Session().get_credentials(), "lambda", os.environ["AWS_REGION"]).add_auth(asked)
    request = urllib.request.Request(event["url"], b"{}", dict(asked.headers), method="POST")
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
"""
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


@pytest.fixture
def client(aws_client):
    return aws_client("lambda")


@pytest.fixture
def echo(deploy, client) -> str:
    """The URL of a function that answers its event; anybody may call it."""
    return give_url(client, deploy(ECHO))


@pytest.fixture
def answering(deploy, client) -> str:
    """The URL of a function that answers what it was sent."""
    return give_url(client, deploy(ANSWER))


def sent(value) -> dict:
    return {"method": "POST", "body": json.dumps(value), "headers": {"Content-Type": "application/json"}}


# --- what comes through


def test_the_url_of_the_api_is_one_of_this_gateway(gateway, echo):
    host = urlsplit(echo)
    assert host.netloc.endswith(f".lambda-url.us-east-1.localhost:{gateway.port}")
    event = call(gateway, f"{echo}a/b?x=1").json
    assert (event["rawPath"], event["queryStringParameters"]) == ("/a/b", {"x": "1"})
    assert event["headers"]["host"] == event["requestContext"]["domainName"] == host.netloc
    assert event["requestContext"]["accountId"] == "anonymous"


def test_a_path_of_the_gateway_leads_to_the_same_function(gateway, echo):
    url_id = urlsplit(echo).netloc.partition(".")[0]
    event = call(gateway, f"{gateway.url}/_lambda/url/{url_id}/a/b?x=1").json
    assert (event["rawPath"], event["rawQueryString"]) == ("/a/b", "x=1")
    assert event["requestContext"]["domainName"] == urlsplit(echo).netloc


def test_bytes_go_both_ways(gateway, deploy, client):
    url, content = give_url(client, deploy(MIRROR)), bytes(range(256))
    answer = call(gateway, url, "POST", content, {"Content-Type": "image/png"})
    assert (answer.body, answer.headers["content-type"]) == (content, "image/png")


def test_cookies_come_as_a_list_and_go_as_headers(gateway, echo, answering):
    assert call(gateway, echo, headers={"Cookie": "a=b; c=d"}).json["cookies"] == ["a=b", "c=d"]
    answer = call(gateway, answering, **sent({"statusCode": 302, "cookies": ["a=b; Path=/", "c=d"]}))
    assert (answer.status, answer.cookies) == (302, ["a=b; Path=/", "c=d"])


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_is_the_functions(gateway, echo, method):
    assert call(gateway, echo, method).json["requestContext"]["http"]["method"] == method


def test_head_is_answered_without_the_body(gateway, echo):
    answer = call(gateway, echo, "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


def test_an_alias_has_a_url_of_its_own(gateway, deploy, client):
    name = deploy("def handler(event, context):\n    return context.invoked_function_arn\n")
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    answer = call(gateway, give_url(client, name, Qualifier="live"))
    assert answer.body.decode().endswith(f":function:{name}:live")


def test_a_url_that_is_deleted_is_gone(gateway, deploy, client):
    name = deploy(ECHO)
    url = give_url(client, name)
    client.delete_function_url_config(FunctionName=name)
    answer = call(gateway, url)
    assert (answer.status, answer.json) == (404, {"Message": None})


# --- what is wrong


@pytest.mark.parametrize(
    "source",
    [
        "def handler(event, context):\n    raise ValueError('no')\n",
        "def handler(event, context):\n    return {'statusCode': 'many'}\n",
        "def handler(event, context):\n    return {'statusCode': 200, 'body': {'a': 1}}\n",
        "import os\ndef handler(event, context):\n    os._exit(1)\n",
        "raise ImportError('no')\n",
        "import time\ndef handler(event, context):\n    time.sleep(30)\n",
    ],
    ids=["raises", "malformed status", "malformed body", "exits", "init fails", "times out"],
)
def test_a_failure_is_a_502_that_tells_nothing(gateway, deploy, client, source):
    answer = call(gateway, give_url(client, deploy(source, Timeout=1)))
    assert (answer.status, answer.body) == (502, b"Internal Server Error")
    assert len(answer.headers["x-amzn-requestid"]) == 36


def test_a_throttle_is_a_429(gateway, deploy, client):
    name = deploy(ECHO)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    answer = call(gateway, give_url(client, name))
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (429, "TooManyRequestsException")


def test_a_body_over_six_megabytes_is_refused(gateway, echo):
    assert call(gateway, echo, "POST", b"x" * (6 * 1024 * 1024 + 1)).status == 413
    # It is the event that counts, and in it the bytes are in Base64.
    assert call(gateway, echo, "POST", b"\xff" * (5 * 1024 * 1024)).status == 413


# --- CORS


def test_a_preflight_does_not_run_the_function(gateway, deploy, client):
    name = deploy("def handler(event, context):\n    raise ValueError('ran')\n")
    cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["PUT"], "MaxAge": 60}
    url = give_url(client, name, Cors=cors)
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
    answer = call(gateway, url, "OPTIONS", headers=asked)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert (answer.headers["access-control-allow-methods"], answer.headers["access-control-max-age"]) == ("PUT", "60")
    failed = call(gateway, url, headers={"Origin": "https://a.example"})
    assert (failed.status, failed.headers["access-control-allow-origin"]) == (502, "https://a.example")


# --- who may


def test_without_a_permission_everybody_is_forbidden(gateway, deploy, client):
    answer = call(gateway, give_url(client, deploy(ECHO), permission=False))
    assert (answer.status, answer.json) == (403, {"Message": FORBIDDEN})
    assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"


def signed(url, key, secret, token=None, *, body=b"{}", presigned=False) -> dict:
    """What `call` needs for a request that botocore signed."""
    # In a presigned URL botocore signs no body.
    body = b"" if presigned else body
    asked = AWSRequest("POST", url, headers={"Host": urlsplit(url).netloc}, data=body)
    credentials = Credentials(key, secret, token)
    if presigned:
        SigV4QueryAuth(credentials, "lambda", "us-east-1", expires=60).add_auth(asked)
    else:
        SigV4Auth(credentials, "lambda", "us-east-1").add_auth(asked)
    return {"url": asked.prepare().url, "method": "POST", "body": body, "headers": dict(asked.headers)}


def caller_of(answer) -> str:
    assert answer.status == 200, answer
    return answer.json["requestContext"]["authorizer"]["iam"]["userArn"]


@pytest.fixture
def guarded(deploy, client) -> str:
    """A URL that wants signatures, and no permission for anybody."""
    return give_url(client, deploy(ECHO), "AWS_IAM", permission=False)


@pytest.mark.parametrize("presigned", [False, True], ids=["header", "query"])
def test_a_signed_request_of_the_account_comes_through(gateway, guarded, presigned):
    url = guarded + "a%20b/?x=1&y=%2F"
    answer = call(gateway, **signed(url, "000000000000", "test", presigned=presigned))
    assert caller_of(answer) == "arn:aws:iam::000000000000:root"
    assert answer.json["requestContext"]["accountId"] == "000000000000"


@pytest.mark.parametrize("presigned", [False, True], ids=["header", "query"])
def test_a_wrong_secret_does_not(gateway, guarded, presigned):
    answer = call(gateway, **signed(guarded, "000000000000", "guessed", presigned=presigned))
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert answer.json["message"].startswith("The request signature we calculated does not match")


def test_a_body_that_was_changed_does_not(gateway, guarded):
    made = signed(guarded, "000000000000", "test") | {"body": b'{"more":1}'}
    assert call(gateway, **made).status == 403


def test_an_unsigned_request_is_forbidden(gateway, guarded):
    answer = call(gateway, guarded)
    assert (answer.status, answer.json) == (403, {"Message": FORBIDDEN})


def test_another_account_needs_a_permission(gateway, guarded, client):
    made = signed(guarded, "111111111111", "test")
    assert call(gateway, **made).json == {"Message": FORBIDDEN}
    name = call(gateway, **signed(guarded, "000000000000", "test")).json
    function = client.list_functions()["Functions"]
    arn = next(each["FunctionName"] for each in function if _has_url(client, each["FunctionName"], guarded))
    client.add_permission(
        FunctionName=arn,
        StatementId="other",
        Action="lambda:InvokeFunctionUrl",
        Principal="111111111111",
        FunctionUrlAuthType="AWS_IAM",
    )
    assert name["rawPath"] == "/"
    assert caller_of(call(gateway, **made)) == "arn:aws:iam::111111111111:root"


def _has_url(client, name, url) -> bool:
    found = client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    return url in [each["FunctionUrl"] for each in found]


def test_a_user_of_iam_signs_with_the_key_that_iam_gave(gateway, guarded, aws_client):
    iam = aws_client("iam")
    iam.create_user(UserName="caller-of-urls")
    key = iam.create_access_key(UserName="caller-of-urls")["AccessKey"]
    answer = call(gateway, **signed(guarded, key["AccessKeyId"], key["SecretAccessKey"]))
    assert caller_of(answer) == "arn:aws:iam::000000000000:user/caller-of-urls"
    assert call(gateway, **signed(guarded, key["AccessKeyId"], "guessed")).status == 403


def test_a_role_that_was_assumed_signs_with_its_session(gateway, guarded, aws_client):
    given = aws_client("sts").assume_role(RoleArn="arn:aws:iam::000000000000:role/caller", RoleSessionName="session")
    key = given["Credentials"]
    right = (key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
    assert caller_of(call(gateway, **signed(guarded, *right))) == (
        "arn:aws:sts::000000000000:assumed-role/caller/session"
    )
    wrong = call(gateway, **signed(guarded, right[0], right[1], "another token"))
    assert (wrong.status, wrong.headers["x-amzn-errortype"]) == (403, "UnrecognizedClientException")


def test_a_function_signs_as_its_role(gateway, guarded, deploy, result):
    name = deploy(SIGNS, Role="arn:aws:iam::000000000000:role/signer", Timeout=20)
    host = urlsplit(guarded).netloc
    by_path = f"http://127.0.0.1:{gateway.port}/_lambda/url/{host.partition('.')[0]}/"
    event = result(name, {"url": by_path, "host": f"127.0.0.1:{gateway.port}"})
    assert event["requestContext"]["authorizer"]["iam"]["userArn"] == (
        f"arn:aws:sts::000000000000:assumed-role/signer/{name}"
    )


def test_a_key_that_nobody_here_issued_is_refused(gateway, guarded):
    answer = call(gateway, **signed(guarded, "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "UnrecognizedClientException")


def test_the_environment_that_boto3_has_is_enough(gateway, guarded, monkeypatch):
    """`AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test`, as everybody sets it for emulators."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    given = boto3.Session().get_credentials()
    assert call(gateway, **signed(guarded, given.access_key, given.secret_key)).status == 200


def test_a_deny_wins(gateway, deploy, client):
    name = deploy(ECHO)
    url = give_url(client, name)
    statement = {
        "Sid": "not-from-here",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "lambda:InvokeFunctionUrl",
        "Resource": client.get_function_configuration(FunctionName=name)["FunctionArn"],
        "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}},
    }
    arn = statement["Resource"]
    policy = json.loads(client.get_policy(FunctionName=name)["Policy"])
    policy["Statement"].append(statement)
    client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    assert call(gateway, url).json == {"Message": FORBIDDEN}


def test_base64_of_a_form_is_what_frameworks_expect(gateway, echo):
    content = b"name=value&other=%20"
    event = call(gateway, echo, "POST", content, {"Content-Type": "application/x-www-form-urlencoded"}).json
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == content
