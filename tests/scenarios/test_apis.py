"""APIs of API Gateway with functions behind them: routes, events, answers, authorizers."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.scenarios.urls import Answer, call

ANSWERS = """
import json
def handler(event, context):
    wanted = (event.get("queryStringParameters") or {}).get("answer")
    if wanted == "raise":
        raise ValueError("told to")
    if wanted == "malformed":
        return {"hello": "world"}
    if wanted == "plain":
        return {"plain": True}
    return {"statusCode": 201, "headers": {"X-Own": "yes"}, "body": json.dumps(event)}
"""
GUARD = """
def handler(event, context):
    token = event.get("authorizationToken") or (event.get("headers") or {}).get("x-token")
    if token == "nobody":
        raise Exception("Unauthorized")
    if token == "broken":
        return {}
    effect = "Allow" if token == "friend" else "Deny"
    return {
        "principalId": "user-1",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}],
        },
        "context": {"colour": "blue"},
    }
"""
SIMPLE_GUARD = """
def handler(event, context):
    return {"isAuthorized": event["identitySource"] == ["friend"], "context": {"route": event["routeKey"]}}
"""

Fetch = Callable[..., Answer]


def uri_of(name: str) -> str:
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    return f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"


@pytest.fixture
def rest(aws_client: Callable[..., Any]) -> Iterator[Callable[..., dict[str, str]]]:
    """`rest({"/path": {"GET": method}})` makes an API with a stage `dev`; a method is the keywords of PutMethod, and `uri`."""
    client, made = aws_client("apigateway"), []

    def make(paths: dict[str, dict[str, dict[str, Any]]], **api: Any) -> dict[str, str]:
        api_id = client.create_rest_api(name="tested", **api)["id"]
        made.append(api_id)
        ids = {"/": client.get_resources(restApiId=api_id)["items"][0]["id"]}
        for path, methods in paths.items():
            where = ""
            for part in path.strip("/").split("/"):
                parent, where = ids[where or "/"], f"{where}/{part}"
                if where not in ids:
                    ids[where] = client.create_resource(restApiId=api_id, parentId=parent, pathPart=part)["id"]
            for verb, method in methods.items():
                of = {"restApiId": api_id, "resourceId": ids[path], "httpMethod": verb}
                keywords = {name: value for name, value in method.items() if name not in ("uri", "type")}
                client.put_method(**of, **{"authorizationType": "NONE", **keywords})
                client.put_integration(
                    **of, type=method.get("type", "AWS_PROXY"), integrationHttpMethod="POST", uri=method["uri"]
                )
        return {"id": api_id, **ids}

    yield make
    for api_id in made:
        client.delete_rest_api(restApiId=api_id)


@pytest.fixture
def open_stage(aws_client: Callable[..., Any], gateway: Any) -> Callable[..., Fetch]:
    """`open_stage(api)` deploys a REST API to the stage `dev`; answers a function that calls it."""

    def deploy(api: dict[str, str], **variables: str) -> Fetch:
        client = aws_client("apigateway")
        client.create_deployment(restApiId=api["id"], stageName="dev", variables=variables)

        def fetch(path: str, *arguments: Any, **options: Any) -> Answer:
            return call(gateway, f"http://{api['id']}.execute-api.us-east-1.localhost/dev{path}", *arguments, **options)

        return fetch

    return deploy


def test_a_proxy_integration_of_a_rest_api(
    deploy: Callable[..., str], rest: Callable[..., Any], open_stage: Callable[..., Fetch]
) -> None:
    name = deploy(ANSWERS)
    api = rest(
        {"/items/{id}": {"GET": {"uri": uri_of(name)}}, "/{all+}": {"ANY": {"uri": uri_of("${stageVariables.fn}")}}}
    )
    fetch = open_stage(api, fn=name)
    answer = fetch("/items/5%2F6?a=1&a=2&b=", headers={"X-My-Header": "x"})
    assert (answer.status, answer.headers["x-own"]) == (201, "yes")
    event = answer.json
    assert event["resource"] == "/items/{id}"
    assert event["path"] == "/items/5/6"
    assert event["pathParameters"] == {"id": "5/6"}
    assert event["httpMethod"] == "GET"
    assert event["headers"]["X-My-Header"] == "x" and event["multiValueHeaders"]["X-My-Header"] == ["x"]
    assert event["headers"]["X-Amzn-Trace-Id"].startswith("Root=1-") and event["headers"]["X-Forwarded-Port"].isdigit()
    assert (event["headers"]["X-Forwarded-For"], event["headers"]["X-Forwarded-Proto"]) == ("127.0.0.1", "http")
    assert event["queryStringParameters"] == {"a": "2", "b": ""}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [""]}
    assert event["stageVariables"] == {"fn": name}
    assert (event["body"], event["isBase64Encoded"]) == (None, False)
    context = event["requestContext"]
    assert context["resourcePath"] == "/items/{id}" and context["stage"] == "dev" and context["apiId"] == api["id"]
    assert context["accountId"] == "000000000000" and context["path"] == "/dev/items/5/6"
    assert (
        context["domainName"] == f"{api['id']}.execute-api.us-east-1.localhost" and context["domainPrefix"] == api["id"]
    )
    assert context["identity"]["sourceIp"] == "127.0.0.1" and context["identity"]["user"] is None

    greedy = fetch("/any/thing", "POST", b'{"x": 1}').json
    assert (greedy["resource"], greedy["pathParameters"]) == ("/{all+}", {"all": "any/thing"})
    assert greedy["body"] == '{"x": 1}'


def test_what_a_rest_api_answers_when_something_is_wrong(
    deploy: Callable[..., str], rest: Callable[..., Any], open_stage: Callable[..., Fetch], gateway: Any
) -> None:
    name = deploy(ANSWERS)
    api = rest({"/x": {"GET": {"uri": uri_of(name)}, "PUT": {"uri": uri_of("gone")}}})
    fetch = open_stage(api)
    for answer in ("raise", "malformed"):
        found = fetch(f"/x?answer={answer}")
        assert (found.status, found.json) == (502, {"message": "Internal server error"})
    assert (fetch("/x", "PUT").status, fetch("/x", "PUT").json) == (500, {"message": "Internal server error"})
    missing = fetch("/nothing")
    assert (missing.status, missing.json) == (403, {"message": "Missing Authentication Token"})
    assert missing.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    other = call(gateway, f"http://{api['id']}.execute-api.us-east-1.localhost/prod/x")
    assert (other.status, other.json) == (403, {"message": "Forbidden"})
    assert call(gateway, "http://none.execute-api.us-east-1.localhost/dev/x").status == 404


def test_a_rest_api_by_its_path(
    deploy: Callable[..., str], rest: Callable[..., Any], open_stage: Callable[..., Fetch], gateway: Any
) -> None:
    api = rest({"/x": {"GET": {"uri": uri_of(deploy(ANSWERS))}}})
    open_stage(api)
    for url in (f"/_aws/execute-api/{api['id']}/dev/x", f"/restapis/{api['id']}/dev/_user_request_/x"):
        assert call(gateway, gateway.url + url).json["path"] == "/x"


def test_binary_bodies_of_a_rest_api(
    deploy: Callable[..., str], rest: Callable[..., Any], open_stage: Callable[..., Fetch]
) -> None:
    source = """
    import base64
    def handler(event, context):
        assert event["isBase64Encoded"]
        body = base64.b64decode(event["body"])[::-1]
        return {"statusCode": 200, "headers": {"content-type": "image/png"}, "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]},
                "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    """
    api = rest({"/x": {"POST": {"uri": uri_of(deploy(textwrap.dedent(source)))}}}, binaryMediaTypes=["image/*"])
    answer = open_stage(api)("/x", "POST", b"\x00\x01\xff", headers={"content-type": "image/png"})
    assert (answer.body, answer.headers["content-type"], answer.cookies) == (
        b"\xff\x01\x00",
        "image/png",
        ["a=1", "b=2"],
    )


def test_an_integration_without_proxy(
    aws_client: Callable[..., Any],
    deploy: Callable[..., str],
    rest: Callable[..., Any],
    open_stage: Callable[..., Fetch],
) -> None:
    name = deploy(
        "def handler(event, context):\n    if 'bad' in event:\n        raise Exception('bad: ' + event['bad'])\n    return event"
    )
    api = rest({"/x": {"POST": {"uri": uri_of(name), "type": "AWS"}}})
    client, of = aws_client("apigateway"), {"restApiId": api["id"], "resourceId": api["/x"], "httpMethod": "POST"}
    for status, pattern in (("200", ""), ("400", "bad: .*")):
        client.put_method_response(**of, statusCode=status)
        client.put_integration_response(**of, statusCode=status, selectionPattern=pattern)
    fetch = open_stage(api)
    good, bad = fetch("/x", "POST", b'{"a": 1}'), fetch("/x", "POST", b'{"bad": "value"}')
    assert (good.status, good.json) == (200, {"a": 1})
    assert (bad.status, bad.json["errorMessage"]) == (400, "bad: value")


def test_a_token_authorizer_of_a_rest_api(
    aws_client: Callable[..., Any],
    deploy: Callable[..., str],
    rest: Callable[..., Any],
    open_stage: Callable[..., Fetch],
) -> None:
    name, guard, client = deploy(ANSWERS), deploy(GUARD), aws_client("apigateway")
    api = rest({})
    authorizer = client.create_authorizer(
        restApiId=api["id"],
        name="guard",
        type="TOKEN",
        authorizerUri=uri_of(guard),
        identitySource="method.request.header.Authorization",
    )["id"]
    of = {"restApiId": api["id"], "resourceId": api["/"], "httpMethod": "GET"}
    client.put_method(**of, authorizationType="CUSTOM", authorizerId=authorizer)
    client.put_integration(**of, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri_of(name))
    fetch = open_stage(api)

    def with_token(token: str | None) -> tuple[int, Any]:
        answer = fetch("/", headers={"Authorization": token} if token else {})
        return answer.status, answer.json

    status, event = with_token("friend")
    assert status == 201
    assert event["requestContext"]["authorizer"] == {"colour": "blue", "principalId": "user-1"}
    assert with_token(None) == (401, {"message": "Unauthorized"})
    assert with_token("nobody") == (401, {"message": "Unauthorized"})
    assert with_token("broken") == (500, {"message": None})
    denied = "User is not authorized to access this resource with an explicit deny in an identity-based policy"
    assert with_token("stranger") == (403, {"Message": denied})


def test_an_api_key(
    aws_client: Callable[..., Any],
    deploy: Callable[..., str],
    rest: Callable[..., Any],
    open_stage: Callable[..., Fetch],
) -> None:
    api = rest({"/x": {"GET": {"uri": uri_of(deploy(ANSWERS)), "apiKeyRequired": True}}})
    key = aws_client("apigateway").create_api_key(name="key", enabled=True)["value"]
    fetch = open_stage(api)
    assert fetch("/x").status == 403
    assert fetch("/x", headers={"x-api-key": "other"}).status == 403
    assert fetch("/x", headers={"x-api-key": key}).status == 201


@pytest.fixture
def http(aws_client: Callable[..., Any], gateway: Any) -> Iterator[Callable[..., tuple[str, Fetch]]]:
    """`http({"GET /path": function})` makes an HTTP API; answers its id and a function that calls its stage `$default`."""
    client, made = aws_client("apigatewayv2"), []

    def make(
        routes: dict[str, str], version: str = "2.0", authorizer: dict[str, Any] | None = None, **api: Any
    ) -> tuple[str, Fetch]:
        api_id = client.create_api(Name="tested", ProtocolType="HTTP", **api)["ApiId"]
        made.append(api_id)
        more = {}
        if authorizer is not None:
            found = client.create_authorizer(ApiId=api_id, Name="guard", **authorizer)["AuthorizerId"]
            more = {"AuthorizerId": found, "AuthorizationType": "CUSTOM"}
        for key, name in routes.items():
            integration = client.create_integration(
                ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=uri_of(name), PayloadFormatVersion=version
            )["IntegrationId"]
            client.create_route(ApiId=api_id, RouteKey=key, Target=f"integrations/{integration}", **more)
        client.create_stage(ApiId=api_id, StageName="$default", AutoDeploy=True)

        def fetch(path: str, *arguments: Any, **options: Any) -> Answer:
            return call(gateway, f"http://{api_id}.execute-api.us-east-1.localhost{path}", *arguments, **options)

        return api_id, fetch

    yield make
    for api_id in made:
        client.delete_api(ApiId=api_id)


def test_an_http_api(aws_client: Callable[..., Any], deploy: Callable[..., str], http: Callable[..., Any]) -> None:
    name = deploy(ANSWERS)
    api_id, fetch = http({"GET /items/{id}": name, "ANY /items/{rest+}": name, "$default": name})
    answer = fetch("/items/5?a=1&a=2", headers={"Cookie": "c=1; d=2", "X-My-Header": "x"})
    assert (answer.status, answer.headers["x-own"]) == (201, "yes")
    event = answer.json
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "GET /items/{id}", "/items/5")
    assert (event["rawQueryString"], event["queryStringParameters"]) == ("a=1&a=2", {"a": "1,2"})
    assert event["cookies"] == ["c=1", "d=2"] and event["headers"]["x-my-header"] == "x"
    assert event["pathParameters"] == {"id": "5"}
    context = event["requestContext"]
    assert context["apiId"] == api_id and context["stage"] == "$default" and context["routeKey"] == "GET /items/{id}"
    assert context["http"]["method"] == "GET" and context["http"]["path"] == "/items/5"
    assert fetch("/items/5/6", "PUT", b"x").json["routeKey"] == "ANY /items/{rest+}"
    assert fetch("/other").json["routeKey"] == "$default"
    # An answer without a status is a body.
    plain = fetch("/other?answer=plain")
    assert (plain.status, plain.json) == (200, {"plain": True})
    failed = fetch("/other?answer=raise")
    assert (failed.status, failed.json) == (500, {"message": "Internal Server Error"})

    aws_client("apigatewayv2").create_stage(ApiId=api_id, StageName="beta", StageVariables={"a": "b"})
    staged = fetch("/beta/items/7").json
    assert (staged["rawPath"], staged["requestContext"]["stage"]) == ("/beta/items/7", "beta")
    assert (staged["pathParameters"], staged["stageVariables"]) == ({"id": "7"}, {"a": "b"})


def test_an_http_api_that_is_created_with_its_function(
    aws_client: Callable[..., Any], deploy: Callable[..., str], gateway: Any
) -> None:
    target = aws_client("lambda").get_function(FunctionName=deploy(ANSWERS))["Configuration"]["FunctionArn"]
    client = aws_client("apigatewayv2")
    api_id = client.create_api(Name="quick", ProtocolType="HTTP", Target=target, RouteKey="GET /items/{id}")["ApiId"]
    assert [stage["StageName"] for stage in client.get_stages(ApiId=api_id)["Items"]] == ["$default"]
    url = f"http://{api_id}.execute-api.us-east-1.localhost"
    event = call(gateway, f"{url}/items/5").json
    assert (event["version"], event["routeKey"], event["pathParameters"]) == ("2.0", "GET /items/{id}", {"id": "5"})
    assert call(gateway, f"{url}/others").status == 404
    client.delete_api(ApiId=api_id)


def test_an_http_api_with_the_old_format(deploy: Callable[..., str], http: Callable[..., Any]) -> None:
    _, fetch = http({"GET /x": deploy(ANSWERS)}, version="1.0")
    event = fetch("/x?a=1").json
    assert (event["version"], event["resource"], event["path"], event["httpMethod"]) == ("1.0", "/x", "/x", "GET")
    assert event["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"
    assert set(event["requestContext"]) == {
        *(
            "accountId",
            "apiId",
            "authorizer",
            "domainName",
            "domainPrefix",
            "extendedRequestId",
            "httpMethod",
            "identity",
        ),
        *("path", "protocol", "requestId", "requestTime", "requestTimeEpoch", "resourceId", "resourcePath", "stage"),
    }
    assert event["requestContext"]["authorizer"] == {"claims": None, "scopes": None}
    missing = fetch("/nothing")
    assert (missing.status, missing.json) == (404, {"message": "Not Found"})


def test_cookies_and_repeated_headers_of_the_old_format_are_headers(
    deploy: Callable[..., str], http: Callable[..., Any]
) -> None:
    _, fetch = http({"GET /x": deploy(ANSWERS)}, version="1.0")
    event = fetch("/x", headers={"Cookie": "c=1; d=2", "X-My-Header": "x"}).json
    assert event["headers"]["cookie"] == "c=1; d=2" and event["multiValueHeaders"]["cookie"] == ["c=1; d=2"]
    assert event["multiValueHeaders"]["x-my-header"] == ["x"]


def test_an_answer_in_the_old_format_has_headers_with_several_values_and_is_not_guessed(
    deploy: Callable[..., str], http: Callable[..., Any]
) -> None:
    source = """
    def handler(event, context):
        return {"statusCode": 200, "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]}, "body": "x"}
    """
    _, fetch = http({"GET /two": deploy(textwrap.dedent(source)), "GET /x": deploy(ANSWERS)}, version="1.0")
    assert fetch("/two").cookies == ["a=1", "b=2"]
    malformed = fetch("/x?answer=malformed")
    assert (malformed.status, malformed.json) == (500, {"message": "Internal Server Error"})


@pytest.mark.parametrize(
    ("version", "seen"),
    [("2.0", {"lambda": {"colour": "blue"}}), ("1.0", {"colour": "blue", "principalId": "user-1"})],
)
def test_what_an_authorizer_says_is_told_in_the_format_of_the_integration(
    deploy: Callable[..., str], http: Callable[..., Any], version: str, seen: dict[str, Any]
) -> None:
    authorizer = {
        "AuthorizerType": "REQUEST",
        "AuthorizerUri": uri_of(deploy(GUARD)),
        "IdentitySource": ["$request.header.X-Token"],
        "AuthorizerPayloadFormatVersion": "1.0",
    }
    _, fetch = http({"GET /x": deploy(ANSWERS)}, version=version, authorizer=authorizer)
    assert fetch("/x", headers={"X-Token": "friend"}).json["requestContext"]["authorizer"] == seen


def test_an_authorizer_of_an_http_api(deploy: Callable[..., str], http: Callable[..., Any]) -> None:
    authorizer = {
        "AuthorizerType": "REQUEST",
        "AuthorizerUri": uri_of(deploy(SIMPLE_GUARD)),
        "IdentitySource": ["$request.header.X-Token"],
        "AuthorizerPayloadFormatVersion": "2.0",
        "EnableSimpleResponses": True,
    }
    _, fetch = http({"GET /x": deploy(ANSWERS)}, authorizer=authorizer)
    allowed = fetch("/x", headers={"X-Token": "friend"})
    assert allowed.json["requestContext"]["authorizer"] == {"lambda": {"route": "GET /x"}}
    refused = fetch("/x", headers={"X-Token": "stranger"})
    assert (refused.status, refused.json) == (403, {"message": "Forbidden"})
    unknown = fetch("/x")
    assert (unknown.status, unknown.json) == (401, {"message": "Unauthorized"})


def test_cors_of_an_http_api(deploy: Callable[..., str], http: Callable[..., Any]) -> None:
    cors = {"AllowOrigins": ["https://site.example"], "AllowMethods": ["GET"], "AllowHeaders": ["x-a"], "MaxAge": 60}
    _, fetch = http({"GET /x": deploy(ANSWERS)}, CorsConfiguration=cors)
    headers = {"Origin": "https://site.example", "Access-Control-Request-Method": "GET"}
    preflight = fetch("/x", "OPTIONS", headers=headers)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://site.example"
    assert preflight.headers["access-control-allow-methods"] == "GET"
    assert preflight.headers["access-control-max-age"] == "60"
    answer = fetch("/x", headers={"Origin": "https://site.example"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (201, "https://site.example")
    assert "access-control-allow-origin" not in fetch("/x", headers={"Origin": "https://other.example"}).headers


def test_apis_of_a_serverless_template(aws_client: Callable[..., Any], gateway: Any) -> None:
    template = """
    Transform: AWS::Serverless-2016-10-31
    Resources:
      Guarded:
        Type: AWS::Serverless::Api
        Properties:
          StageName: dev
          Auth: {DefaultAuthorizer: Guard, Authorizers: {Guard: {FunctionArn: !GetAtt Guard.Arn}}}
      Guard:
        Type: AWS::Serverless::Function
        Properties: {Runtime: python3.12, Handler: index.handler, InlineCode: GUARD}
      Fn:
        Type: AWS::Serverless::Function
        Properties:
          Runtime: python3.12
          Handler: index.handler
          InlineCode: ANSWERS
          Events:
            Open: {Type: Api, Properties: {Path: "/open/{id}", Method: get}}
            Http: {Type: HttpApi, Properties: {Path: "/http/{id}", Method: get}}
            Guarded: {Type: Api, Properties: {Path: /guarded, Method: any, RestApiId: !Ref Guarded}}
    """
    document = textwrap.dedent(template).replace("InlineCode: GUARD", f"InlineCode: {json.dumps(GUARD)}")
    document = document.replace("InlineCode: ANSWERS", f"InlineCode: {json.dumps(ANSWERS)}")
    cloudformation = aws_client("cloudformation")
    cloudformation.create_stack(StackName="apis", TemplateBody=document, Capabilities=["CAPABILITY_IAM"])
    (stack,) = cloudformation.describe_stacks(StackName="apis")["Stacks"]
    events = cloudformation.describe_stack_events(StackName="apis")["StackEvents"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", [
        each["ResourceStatusReason"] for each in events if "ResourceStatusReason" in each
    ]

    def url(logical_id: str, path: str) -> str:
        found = cloudformation.describe_stack_resource(StackName="apis", LogicalResourceId=logical_id)
        return f"http://{found['StackResourceDetail']['PhysicalResourceId']}.execute-api.us-east-1.localhost{path}"

    assert call(gateway, url("ServerlessRestApi", "/Prod/open/1")).json["pathParameters"] == {"id": "1"}
    assert call(gateway, url("ServerlessHttpApi", "/http/2")).json["pathParameters"] == {"id": "2"}
    guarded = url("Guarded", "/dev/guarded")
    assert call(gateway, guarded).status == 401
    allowed = call(gateway, guarded, "POST", headers={"Authorization": "friend"})
    assert allowed.json["requestContext"]["authorizer"]["principalId"] == "user-1"
    cloudformation.delete_stack(StackName="apis")
