"""The smaller parts: how moto is replaced, records, paths of APIs, policies of authorizers, answers of custom resources."""

from __future__ import annotations

import io
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from lambda_provider.hosts.services import answers, authorizers, s3
from lambda_provider.hosts.services.api_requests import call_of, function_of, match, specificity
from lambda_provider.hosts.services.cfnresponse import helper_for
from lambda_provider.hosts.services.moto_resources import name_of
from lambda_provider.hosts.services.other_resources import notifications_of
from lambda_provider.hosts.services.patches import MotoChanged, View, replace
from lambda_provider.hosts.services.sns import event_of


class Moto:
    def act(self, one: int, two: int = 2, three: int = 3) -> int:
        return one + two + three

    @staticmethod
    def check(host: str) -> str:
        return host


def test_what_is_replaced_has_to_be_what_we_know() -> None:
    replace(Moto, "act", "self one two", lambda original: lambda self, one, two=0: -original(self, one, two))
    assert Moto().act(1, 2) == -6
    replace(Moto, "check", "host", lambda original: lambda host: original(host).upper())
    assert Moto.check("a") == "A"
    with pytest.raises(MotoChanged, match=r"has no .*Moto\.gone"):
        replace(Moto, "gone", "self", lambda original: original)
    with pytest.raises(MotoChanged, match=r"has another .*Moto\.check, with the parameters"):
        replace(Moto, "check", "address", lambda original: original)


def test_a_view_differs_in_what_it_is_told() -> None:
    seen = SimpleNamespace(a=1, b=2)
    view: Any = View(seen, a=5)
    view.b = 3
    assert (view.a, view.b, seen.a, seen.b) == (5, 3, 1, 3)


def test_records_of_s3_can_be_ordered() -> None:
    found = [s3.sequencer() for _ in range(100)]
    assert found == sorted(found) and len(set(found)) == 100


def test_denials_on_conditions_are_left_out_of_bucket_policies() -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
            {"Effect": "Deny", "Action": "s3:DeleteObject"},
            {"Effect": "Allow", "Condition": {}},
        ],
    }
    kept = json.loads(s3.without_conditional_denials(json.dumps(policy).encode()))
    assert [each["Effect"] for each in kept["Statement"]] == ["Deny", "Allow"]


def test_notifications_of_a_bucket_in_a_template() -> None:
    configuration = {
        "LambdaConfigurations": [
            {
                "Event": "s3:ObjectCreated:*",
                "Function": "arn",
                "Filter": {"S3Key": {"Rules": [{"Name": "prefix", "Value": "a"}]}},
            }
        ],
        "EventBridgeConfiguration": {"EventBridgeEnabled": True},
    }
    assert notifications_of(configuration) == {
        "LambdaFunctionConfigurations": [
            {
                "LambdaFunctionArn": "arn",
                "Events": ["s3:ObjectCreated:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a"}]}},
            }
        ],
        "EventBridgeConfiguration": {},
    }


def test_a_message_of_sns_without_subject_and_attributes() -> None:
    names = ("Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL")
    (record,) = event_of("arn:aws:sns:eu-west-1:0:t:s", {name: name for name in names})["Records"]
    assert record["Sns"]["Subject"] is None and record["Sns"]["MessageAttributes"] == {}
    assert record["Sns"]["UnsubscribeUrl"].startswith("https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe")


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("/", "/", {}),
        ("/a/{b}", "/a/x%20y", {"b": "x y"}),
        ("/a/{b}", "/a", None),
        ("/a/{b}", "/a/b/c", None),
        ("/a/{rest+}", "/a/b/c", {"rest": "b/c"}),
        ("/a/{rest+}", "/a", None),
        ("/a", "/b", None),
    ],
)
def test_paths_of_apis(template: str, path: str, expected: Any) -> None:
    assert match(template, path) == expected


def test_the_most_specific_path_wins() -> None:
    assert sorted(["/{all+}", "/a/{b}", "/a/b"], key=specificity) == ["/a/b", "/a/{b}", "/{all+}"]


def environ(uri: str, host: str) -> dict[str, Any]:
    return {"RAW_URI": uri, "PATH_INFO": uri, "HTTP_HOST": host, "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}


@pytest.mark.parametrize(
    ("host", "uri", "expected"),
    [
        ("abc.execute-api.us-east-1.localhost:4566", "/dev/x?y=1", ("abc", "/dev/x")),
        ("abc.execute-api.localhost.localstack.cloud", "/dev", ("abc", "/dev")),
        ("127.0.0.1:4566", "/_aws/execute-api/abc/dev/x%2Fy", ("abc", "/dev/x%2Fy")),
        ("127.0.0.1:4566", "/restapis/abc/dev/_user_request_/x", ("abc", "/dev/x")),
        ("127.0.0.1:4566", "/restapis/abc/stages", None),
        ("s3.localhost", "/execute-api", None),
    ],
)
def test_which_api_a_request_is_for(host: str, uri: str, expected: Any) -> None:
    call = call_of(environ(uri, host))
    assert (None if call is None else (call.api_id, call.path)) == expected


def test_the_function_behind_an_integration() -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    uri = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{}/invocations"
    assert function_of(uri.format(arn), {}) == arn
    assert function_of(uri.format("arn:aws:lambda:us-east-1:0:function:${stageVariables.a}"), {"a": "b"}) == (
        "arn:aws:lambda:us-east-1:0:function:b"
    )
    assert function_of("https://example.com", {}) is None


METHOD = "arn:aws:execute-api:us-east-1:000000000000:abc/dev/GET/x"


@pytest.mark.parametrize(
    ("effect", "resource", "status"),
    [
        ("Allow", METHOD, None),
        ("Allow", "arn:aws:execute-api:*:*:abc/dev/*", None),
        ("Allow", METHOD + "y", 403),
        ("Deny", METHOD, 403),
    ],
)
def test_policies_of_authorizers(
    monkeypatch: pytest.MonkeyPatch, effect: str, resource: str, status: int | None
) -> None:
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": [resource]}
    result = {"principalId": "p", "policyDocument": {"Statement": [statement]}, "context": {"a": 1}}
    answer = SimpleNamespace(error=None, function_error=None, payload=json.dumps(result).encode())
    monkeypatch.setattr(authorizers, "link", lambda: SimpleNamespace(invoke=lambda *arguments, **options: answer))
    if status is None:
        assert authorizers.ask("arn", {}, METHOD) == authorizers.Caller("p", {"a": 1})
    else:
        with pytest.raises(authorizers.Refused) as raised:
            authorizers.ask("arn", {}, METHOD)
        assert raised.value.status == status


def test_claims_of_a_token() -> None:
    assert authorizers.claims_of("Bearer e30.eyJzdWIiOiAieCJ9.sig") == {"sub": "x"}
    with pytest.raises(authorizers.Refused):
        authorizers.claims_of("not a token")


def test_an_answer_reaches_who_waits_for_it() -> None:
    waiting = answers.Answers()
    key = waiting.expect()
    threading.Thread(target=waiting.take, args=(key, b'{"Status": "SUCCESS"}')).start()
    assert waiting.wait(key, 10) == {"Status": "SUCCESS"}
    assert waiting.take(key, b"{}") is False
    assert waiting.wait(waiting.expect(), 0) is None


def test_inline_code_gets_the_module_that_it_imports() -> None:
    assert list(helper_for("python3.12", "import cfnresponse\n")) == ["cfnresponse.py"]
    assert list(helper_for("nodejs20.x", "const r = require('cfn-response')")) == ["node_modules/cfn-response/index.js"]
    assert helper_for("python3.12", "import json") == {} == helper_for("nodejs20.x", "import cfnresponse")


@pytest.mark.parametrize(
    ("kind", "properties", "expected"),
    [
        ("AWS::SQS::Queue", {}, f"{'s' * 67}-0123456789AB"),
        ("AWS::SQS::Queue", {"FifoQueue": "true"}, f"{'s' * 62}-0123456789AB.fifo"),
        ("AWS::IAM::Role", {}, f"{'s' * 51}-0123456789AB"),
        ("AWS::SSM::Parameter", {}, "CFN-It-0123456789AB"),
        ("AWS::ECR::Repository", {}, f"{'s' * 90}-it-0123456789ab"),
        ("AWS::KMS::Key", {}, f"{'s' * 90}-It-0123456789AB"),
    ],
)
def test_generated_names_are_cut_where_they_are_not_unique(
    kind: str, properties: dict[str, Any], expected: str
) -> None:
    assert name_of(kind, f"{'s' * 90}-It-0123456789AB", "It", properties) == expected
