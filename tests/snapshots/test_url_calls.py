"""Calls of function URLs, as a client of the URL sees them."""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from .harness.plugin import recorded
from .harness.steps import wait_for_log
from .harness.transformers import member, value

pytestmark = pytest.mark.scenario
of_url = partial(recorded, "lambda.json")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def shown(self) -> dict[str, Any]:
        """As it stands in snapshots: a JSON object parsed, anything else as text."""
        text = self.body.decode()
        return {
            "content": json.loads(text) if text.startswith("{") else text,
            "headers": {name: self.headers[name.lower()] for name in ("Content-Length", "Content-Type")},
            "statuscode": self.status,
        }


@pytest.fixture
def call(aws):
    """`call(url, path="", method="GET", …)`. The gateway is reached by its address: not every resolver knows `*.localhost`."""

    def request(url, path="", method="GET", body=None, headers=()) -> Answer:
        host = urlsplit(url).netloc
        if aws.is_aws:
            connection: Any = http.client.HTTPSConnection(host, timeout=60)
        else:
            connection = http.client.HTTPConnection(urlsplit(aws.endpoint_url).netloc, timeout=60)
        try:
            connection.request(method, f"/{path}", body, {"Host": host, **dict(headers)})
            response = connection.getresponse()
            content = response.read()
            return Answer(response.status, {name.lower(): text for name, text in response.getheaders()}, content)
        finally:
            connection.close()

    return request


@pytest.fixture
def with_url(aws, snapshot):
    """Give a function a URL that anybody may call, and answer it."""

    def make(name, *, qualifier=None, shown=("create_lambda_url_config", "add_permission"), **config):
        of = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
        created = aws.lambda_.create_function_url_config(**of, AuthType="NONE", **config)
        added = aws.lambda_.add_permission(
            **of,
            StatementId="urlPermission",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
        snapshot.transform(value(name, "resource"))
        for step, response in (("create_lambda_url_config", created), ("add_permission", added)):
            if step in shown:
                snapshot.match(step, response)
        return created["FunctionUrl"]

    return make


@of_url("TestLambdaURL::test_lambda_url_invocation")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(True, id="boolean"),
        pytest.param({"hello": "world"}, id="dict"),
        pytest.param(3.1, id="float"),
        pytest.param({"statusCode": 200, "body": json.dumps({"hello": "world"})}, id="http-response-json"),
        pytest.param({"statusCode": 200, "body": "body123"}, id="http-response"),
        pytest.param(3, id="integer"),
        pytest.param(["hello", 3, True], id="list-mixed"),
        pytest.param("hello", id="string"),
    ],
)
def test_what_a_function_answers_is_inferred(snapshot, create, with_url, call, answer):
    name = create("answers.py", Environment={"Variables": {"ANSWER": json.dumps(answer)}})["FunctionName"]
    url = with_url(name)
    snapshot.match("lambda_url_invocation", call(url).shown())


def _shows_what_differs(snapshot, url):
    snapshot.transform(value(urlsplit(url).netloc, "domain"))
    snapshot.transform(member("origin", "origin"))
    for name in ("tls-cipher-suite", "tls-version", "trace-id"):
        snapshot.transform(member(f"x-amzn-{name}", f"x-amzn-{name}"))
    for name in ("port", "proto"):
        snapshot.transform(member(f"x-forwarded-{name}", f"x-forwarded-{name}"))


CLIENT = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "Content-Type": "application/json",
    "User-Agent": "test/echo",
    "ExTrA-HeADErs": "With WeiRd CapS",
}


@of_url("TestLambdaURL::test_lambda_url_echo_http_fixture_default")
def test_a_function_sees_the_request(snapshot, create, with_url, call):
    url = with_url(create("echo_http.py")["FunctionName"], shown=())
    _shows_what_differs(snapshot, url)
    path = "pa2%25Fth/1?q=query&multiQuery=foo&multiQuery=%2Fbar"
    answer = call(url, path, "POST", json.dumps({"foo": "bar"}), CLIENT)
    snapshot.match("url_response", json.loads(answer.body))


@of_url("TestLambdaURL::test_lambda_url_echo_http_fixture_trim_x_headers")
def test_a_function_sees_the_request_without_what_was_added(snapshot, create, with_url, call):
    url = with_url(create("echo_http.py")["FunctionName"], shown=())
    _shows_what_differs(snapshot, url)
    headers = {**CLIENT, "Trim-X-Headers": "1"}
    answer = call(url, "path/1?q=query", "POST", json.dumps({"foo": "bar"}), headers)
    snapshot.match("url_response", json.loads(answer.body))


@of_url("TestLambdaURL::test_lambda_url_invocation_exception")
def test_an_exception_is_a_502(aws, snapshot, create, with_url, call):
    name = create("uncaught.py", Timeout=30, Environment={"Variables": {}})["FunctionName"]
    snapshot.match("get_fn_result", aws.lambda_.get_function(FunctionName=name))
    answer = call(with_url(name))
    assert (answer.status, answer.body) == (502, b"Internal Server Error")


@of_url("TestLambdaURL::test_lambda_url_non_existing_url")
def test_a_url_that_does_not_exist_is_not_found(aws, call):
    domain = "on.aws" if aws.is_aws else urlsplit(aws.endpoint_url).netloc.replace("127.0.0.1", "localhost")
    assert call(f"https://{'a' * 32}.lambda-url.{aws.region}.{domain}/").status == 404


@of_url("TestLambdaURL::test_lambda_url_invocation_custom_id_aliased")
def test_the_url_of_an_alias_has_the_id_that_a_tag_chose(aws, create, with_url, call, new_name):
    if aws.is_aws:
        pytest.skip("AWS makes the ids itself")
    custom = new_name("custom-id")
    name = create("answers.py", Environment={"Variables": {"ANSWER": '"hi"'}}, Tags={"_custom_id_": custom})[
        "FunctionName"
    ]
    aws.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    url = with_url(name, qualifier="live", shown=())
    assert urlsplit(url).netloc.partition(".")[0] == f"{custom}-live"
    assert call(url).body == b"hi"


@of_url("TestLambdaURL::test_lambda_url_persists_after_alias_delete")
def test_without_its_alias_a_url_is_forbidden(aws, snapshot, create, with_url, call):
    name = create("answers.py", Environment={"Variables": {"ANSWER": '"hi"'}})["FunctionName"]
    aws.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    url = with_url(name, qualifier="live", shown=("create_lambda_url_config",), InvokeMode="BUFFERED")
    snapshot.match("invoke_aliased_url_response", {"status_code": call(url).status})
    snapshot.match("delete_alias_resp", aws.lambda_.delete_alias(FunctionName=name, Name="live"))
    if aws.is_aws:
        threading.Event().wait(20)
    answer = call(url)
    snapshot.match(
        "invoke_deleted_alias_url_response_delayed",
        {
            "content": json.loads(answer.body),
            "headers": {"x-amzn-ErrorType": answer.headers["x-amzn-errortype"]},
            "status_code": answer.status,
        },
    )


@of_url("TestRequestIdHandling::test_request_id_invoke_url")
def test_the_request_id_is_the_one_in_the_log(aws, snapshot, create, with_url, call):
    name = create("answers.py", Environment={"Variables": {"ANSWER": '"hi"'}})["FunctionName"]
    answer = call(with_url(name))
    request_id = answer.headers["x-amzn-requestid"]
    shown = {"content": answer.body.decode(), "headers": {"x-amzn-RequestId": request_id}, "statuscode": answer.status}
    snapshot.match("lambda_url_invocation", shown)
    events = wait_for_log(aws, name, f"END RequestId: {request_id}")
    lines = [event["message"].strip() for event in events if event["message"].startswith("END")]
    snapshot.match("end_log_entries", lines)
