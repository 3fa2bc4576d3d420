"""Whole requests: contexts, errors, malformed input, headers."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from lambda_provider.api import (
    LambdaApi,
    OperationNotImplemented,
    ResourceNotFoundException,
    TooManyRequestsException,
    ValidationException,
)
from lambda_provider.context import Caller
from lambda_provider.wire import MAX_JSON_BODY_BYTES, Asker, HttpRequest, LambdaWire
from lambda_provider.wire.values import JSON_READERS, list_reader, map_reader

FUNCTIONS = "/2015-03-31/functions"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def signed(access_key_id: str, region: str = "eu-west-1", service: str = "lambda") -> dict[str, str]:
    scope = f"{access_key_id}/20260101/{region}/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}


def error_of(response) -> tuple[int, str, dict]:
    headers = dict(response.headers)
    assert headers["Content-Type"] == "application/json"
    assert UUID.fullmatch(headers["x-amzn-RequestId"])
    return response.status, headers["x-amzn-ErrorType"], json.loads(response.body)


class TestContext:
    def test_unsigned_request_belongs_to_the_default_account_and_region(self, peer) -> None:
        peer.send("GET", FUNCTIONS)
        context = peer.contexts[0]
        assert (context.account_id, context.region, context.access_key_id) == ("000000000000", "us-east-1", None)

    def test_key_of_twelve_digits_is_the_account(self, peer) -> None:
        peer.send("GET", FUNCTIONS, headers=signed("123456789012"))
        context = peer.contexts[0]
        assert (context.account_id, context.region) == ("123456789012", "eu-west-1")

    def test_issued_key_belongs_to_its_account_and_an_unknown_one_to_the_default(self, peer) -> None:
        peer.issued_keys["ASIAISSUED"] = "999999999999"
        peer.send("GET", FUNCTIONS, headers=signed("ASIAISSUED"))
        peer.send("GET", FUNCTIONS, headers=signed("test"))
        assert [context.account_id for context in peer.contexts] == ["999999999999", "000000000000"]

    def test_presigned_url(self, peer) -> None:
        query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=111111111111%2F20260101%2Fus-west-2%2Flambda%2Faws4_request"
        peer.send("GET", FUNCTIONS, query=query)
        assert (peer.contexts[0].account_id, peer.contexts[0].region) == ("111111111111", "us-west-2")

    def test_endpoint_url_is_what_the_client_used(self, peer) -> None:
        peer.send("GET", FUNCTIONS, headers={"host": "localhost:4566", "x-forwarded-proto": "https"})
        assert peer.contexts[0].endpoint_url == "https://localhost:4566"

    def test_request_id_is_in_context_and_response(self, peer) -> None:
        response = peer.send("GET", FUNCTIONS)
        assert dict(response.headers)["x-amzn-RequestId"] == peer.contexts[0].request_id

    def test_what_the_host_found_out_about_the_asker_is_taken_as_it_is(self, peer) -> None:
        service = Caller(service="s3.amazonaws.com", source_arn="arn:aws:s3:::bucket")
        asker = Asker("222222222222", "ap-south-1", "an-id-of-the-host", "LSIAKEY", service)
        response = peer.send("GET", FUNCTIONS, headers=signed("111111111111", service="s3"), asker=asker)
        context = peer.contexts[0]
        assert (context.account_id, context.region, context.access_key_id) == ("222222222222", "ap-south-1", "LSIAKEY")
        assert context.caller is service
        assert dict(response.headers)["x-amzn-RequestId"] == context.request_id == "an-id-of-the-host"


class TestInvoke:
    PATH = f"{FUNCTIONS}/f/invocations"

    def test_payload_goes_through_as_bytes_and_headers_as_members(self, peer) -> None:
        peer.answer = {
            "StatusCode": 200,
            "Payload": b"\xff",
            "FunctionError": "Unhandled",
            "ExecutedVersion": "$LATEST",
        }
        headers = {"x-amz-invocation-type": "RequestResponse", "x-amz-log-type": "Tail", "x-amzn-trace-id": "Root=1"}
        response = peer.send("POST", self.PATH, query="Qualifier=live", headers=headers, body=b"\x00not json")

        assert peer.requests == [
            (
                "Invoke",
                {
                    "FunctionName": "f",
                    "Qualifier": "live",
                    "InvocationType": "RequestResponse",
                    "LogType": "Tail",
                    "Payload": b"\x00not json",
                },
            )
        ]
        assert response.body == b"\xff"
        assert (
            dict(response.headers).items()
            >= {
                "X-Amz-Function-Error": "Unhandled",
                "X-Amz-Executed-Version": "$LATEST",
                "X-Amzn-Trace-Id": "Root=1",
            }.items()
        )

    @pytest.mark.parametrize("status", [202, 204])
    def test_status_is_the_operations(self, peer, status) -> None:
        peer.answer = {"StatusCode": status, "Payload": b""}
        response = peer.send("POST", self.PATH)
        assert (response.status, response.body) == (status, b"")

    def test_validation_sees_the_request_before_the_provider(self, peer) -> None:
        peer.send("POST", self.PATH)
        assert peer.validated == peer.requests

    async def test_async_operations_stay_on_the_loop_and_others_leave_it(self) -> None:
        threads: dict[str, threading.Thread] = {}

        class Provider(LambdaApi):
            async def invoke(self, context, request):
                threads["invoke"] = threading.current_thread()
                return {"StatusCode": 200}

            def list_functions(self, context, request):
                threads["list"] = threading.current_thread()
                return {"Functions": []}

        wire = LambdaWire(Provider(), validate=lambda operation, request: None)
        await wire.handle(HttpRequest("POST", self.PATH))
        await wire.handle(HttpRequest("GET", FUNCTIONS))
        wire.close()
        assert threads["invoke"] is threading.current_thread()
        assert threads["list"] is not threading.current_thread()


class TestErrors:
    def test_modelled_error(self, peer) -> None:
        peer.answer = ResourceNotFoundException("Function not found: f")
        assert error_of(peer.send("GET", f"{FUNCTIONS}/f")) == (
            404,
            "ResourceNotFoundException",
            {"Type": "User", "Message": "Function not found: f"},
        )

    def test_error_on_the_invoke_path(self, peer) -> None:
        peer.answer = TooManyRequestsException(
            "Rate Exceeded.", Reason="ReservedFunctionConcurrentInvocationLimitExceeded", retryAfterSeconds="1"
        )
        response = peer.send("POST", f"{FUNCTIONS}/f/invocations")
        assert error_of(response) == (
            429,
            "TooManyRequestsException",
            {
                "Type": "User",
                "message": "Rate Exceeded.",
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            },
        )
        assert dict(response.headers)["Retry-After"] == "1"

    def test_validation_exception_has_a_message_alone(self, peer) -> None:
        peer.answer = ValidationException("1 validation error detected")
        assert error_of(peer.send("GET", FUNCTIONS)) == (
            400,
            "ValidationException",
            {"message": "1 validation error detected"},
        )

    def test_missing_behaviour_is_a_clear_501(self, peer) -> None:
        peer.answer = OperationNotImplemented("ListFunctions")
        status, code, body = error_of(peer.send("GET", FUNCTIONS))
        assert (status, code) == (501, "OperationNotImplemented")
        assert "ListFunctions" in body["message"]

    @pytest.mark.parametrize(("method", "path"), [("GET", FUNCTIONS), ("POST", f"{FUNCTIONS}/f/invocations")])
    def test_unexpected_error_shows_nothing_of_the_inside(self, peer, caplog, method, path) -> None:
        peer.answer = RuntimeError("secret")
        response = peer.send(method, path)
        status, code, body = error_of(response)
        assert (status, code, body["Type"]) == (500, "ServiceException", "Service")
        assert b"secret" not in response.body and b"Traceback" not in response.body
        assert "secret" in caplog.text and dict(response.headers)["x-amzn-RequestId"] in caplog.text

    def test_unknown_operation_for_a_signed_caller(self, peer) -> None:
        response = peer.send("PATCH", f"{FUNCTIONS}/f", headers=signed("test"))
        assert error_of(response) == (
            403,
            "AccessDeniedException",
            {"Message": "Unable to determine service/operation name to be authorized"},
        )

    def test_unknown_operation_for_an_unsigned_caller(self, peer) -> None:
        assert error_of(peer.send("GET", f"{FUNCTIONS}/f/nonsense"))[:2] == (404, "UnknownOperationException")

    def test_broken_scope_is_refused_before_the_provider_sees_it(self, peer) -> None:
        status, code, body = error_of(peer.send("GET", FUNCTIONS, headers=signed("test", service="s3")))
        assert (status, code) == (403, "InvalidSignatureException")
        assert body == {"message": "Credential should be scoped to correct service: 'lambda'."}
        assert peer.requests == []


class TestBodies:
    def create(self, peer, body: bytes):
        return peer.send("POST", FUNCTIONS, body=body)

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"{'FunctionName': 1}",
            b'{"FunctionName": NaN}',
            b'{"MemorySize": Infinity}',
            b'{"a": 1} trailing',
            b"\xff\xfe{}",
            b'\xef\xbb\xbf{"a": 1}',
            b'{"FunctionName": "\xc3\x28"}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"MemorySize": ' + b"9" * 5000 + b"}",
        ],
        ids=lambda body: repr(body[:20]),
    )
    def test_body_that_is_no_json_is_refused(self, peer, body) -> None:
        status, code, fields = error_of(self.create(peer, body))
        assert (status, code) == (400, "SerializationException")
        assert fields["Message"].startswith("Could not parse request body into json: ")
        assert peer.requests == []

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"FunctionName": 1}, "NUMBER_VALUE can not be converted to a String"),
            ({"FunctionName": 1.5}, "NUMBER_VALUE can not be converted to a String"),
            ({"FunctionName": True}, "TRUE_VALUE can not be converted to a String"),
            ({"FunctionName": {}}, "Start of structure or map found where not expected."),
            ({"FunctionName": []}, "Start of list found where not expected"),
            ({"MemorySize": "128"}, "STRING_VALUE can not be converted to an Integer"),
            ({"MemorySize": True}, "TRUE_VALUE can not be converted to an Integer"),
            ({"MemorySize": 128.5}, "NUMBER_VALUE can not be converted to an Integer"),
            ({"Publish": "true"}, "STRING_VALUE can not be converted to a Boolean"),
            ({"Publish": 0}, "NUMBER_VALUE can not be converted to a Boolean"),
            ({"Code": "zip"}, "Expected structure or map or null"),
            ({"Code": {"ZipFile": "%%%"}}, "STRING_VALUE can not be converted to a Blob: it is not valid Base64"),
            ({"Code": {"ZipFile": "YQ"}}, "STRING_VALUE can not be converted to a Blob: it is not valid Base64"),
            ({"Layers": {}}, "Start of structure or map found where not expected."),
            ({"Layers": "arn"}, "Expected list or null"),
            ({"Environment": {"Variables": {"A": 1}}}, "NUMBER_VALUE can not be converted to a String"),
            ({"Environment": {"Variables": []}}, "Start of list found where not expected"),
            ({"Environment": {"Variables": {"A": "\ud800"}}}, "STRING_VALUE is not valid Unicode"),
            ([], "Start of list found where not expected"),
            ("text", "Expected structure or map or null"),
        ],
        ids=repr,
    )
    def test_wrong_type_is_refused_in_awss_words(self, peer, body, message) -> None:
        response = self.create(peer, json.dumps(body).encode())
        assert error_of(response) == (400, "SerializationException", {"Message": message})

    def test_null_is_absent_and_unknown_members_are_ignored(self, peer) -> None:
        self.create(peer, b'{"FunctionName": "f", "Role": null, "Unknown": {"a": [1]}, "MemorySize": 128.0}')
        assert peer.requests == [("CreateFunction", {"FunctionName": "f", "MemorySize": 128})]

    def test_null_in_a_list_or_map_is_left_for_validation_to_refuse(self, peer) -> None:
        self.create(peer, b'{"Layers": [null, "arn"], "Environment": {"Variables": {"A": null}}}')
        assert peer.validated == [
            ("CreateFunction", {"Layers": [None, "arn"], "Environment": {"Variables": {"A": None}}})
        ]

    def test_null_is_dropped_from_a_list_that_takes_nulls(self) -> None:
        read = list_reader(JSON_READERS["string"], drop_nulls=True)
        assert read([None, "a"]) == ["a"]

    def test_null_is_dropped_from_a_map_that_takes_nulls(self) -> None:
        read = map_reader(JSON_READERS["string"], drop_nulls=True)
        assert read({"a": None, "b": "c"}) == {"b": "c"}

    def test_empty_body_is_an_empty_structure(self, peer) -> None:
        assert self.create(peer, b"").status == 201
        assert peer.requests == [("CreateFunction", {})]

    def test_body_of_an_operation_without_one_is_not_looked_at(self, peer) -> None:
        assert peer.send("GET", FUNCTIONS, body=b"{broken").status == 200

    def test_too_large_body_is_refused(self, peer) -> None:
        status, code, fields = error_of(self.create(peer, bytes(MAX_JSON_BODY_BYTES + 1)))
        assert (status, code) == (413, "RequestEntityTooLargeException")
        assert fields["message"] == "Request must be smaller than 70167211 bytes for the CreateFunction operation"


class TestBodyThatNobodyRead:
    @pytest.mark.parametrize(
        ("method", "path", "message"),
        [
            ("POST", FUNCTIONS, "Request must be smaller than 70167211 bytes for the CreateFunction operation"),
            (
                "PUT",
                f"{FUNCTIONS}/f/code",
                "Request must be smaller than 70167211 bytes for the UpdateFunctionCode operation",
            ),
            (
                "POST",
                f"{FUNCTIONS}/f/invocations",
                "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
            ),
            (
                "POST",
                "/2014-11-13/functions/f/invoke-async",
                "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
            ),
        ],
    )
    def test_is_refused_in_the_words_of_the_operation(self, peer, method, path, message) -> None:
        response = peer.wire.refuse_too_large(HttpRequest(method, path))
        assert error_of(response) == (
            413,
            "RequestEntityTooLargeException",
            {"message": message},
        )
        assert peer.requests == []

    def test_of_an_unknown_operation_is_refused_as_that(self, peer) -> None:
        assert peer.wire.refuse_too_large(HttpRequest("POST", "/no/such")).status == 404
        assert peer.wire.refuse_too_large(HttpRequest("POST", "/no/such", headers=signed("test"))).status == 403


class TestParameters:
    @pytest.mark.parametrize("text", ["abc", "1.0", "", " 1", "1_000", "٣", "9" * 30, "--1"])
    def test_number_in_the_query_has_to_be_one(self, peer, text) -> None:
        response = peer.send("GET", FUNCTIONS, query=f"MaxItems={quote(text)}")
        assert error_of(response) == (
            400,
            "SerializationException",
            {"Message": "STRING_VALUE can not be converted to an Integer"},
        )

    def test_number_in_the_path_has_to_be_one(self, peer) -> None:
        response = peer.send("GET", "/2018-10-31/layers/l/versions/abc")
        assert error_of(response)[:2] == (400, "SerializationException")

    def test_negative_number_is_left_to_validation(self, peer) -> None:
        peer.send("GET", FUNCTIONS, query="MaxItems=-1")
        assert peer.requests == [("ListFunctions", {"MaxItems": -1})]

    def test_repeated_parameter_is_a_list_where_the_model_has_one(self, peer) -> None:
        peer.send("DELETE", "/2017-03-31/tags/arn", query="tagKeys=a&tagKeys=b%20c&tagKeys=")
        assert peer.requests == [("UntagResource", {"Resource": "arn", "TagKeys": ["a", "b c", ""]})]

    @pytest.mark.parametrize("text", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "2026-01-02T04:04:05%2B01:00"])
    def test_timestamp_in_the_query(self, peer, text) -> None:
        peer.send("GET", "/2025-12-01/functions/f/durable-executions", query=f"StartedAfter={text}")
        assert peer.requests[0][1]["StartedAfter"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def test_wrong_boolean_and_timestamp_in_the_query(self, peer) -> None:
        path = "/2025-12-01/functions/f/durable-executions"
        for query in ("ReverseOrder=yes", "StartedAfter=yesterday"):
            assert error_of(peer.send("GET", path, query=query))[:2] == (400, "SerializationException")


class TestResponses:
    def test_operation_without_output_has_no_body(self, peer) -> None:
        response = peer.send("DELETE", f"{FUNCTIONS}/f/aliases/live")
        assert (response.status, response.body) == (204, b"")
        assert [name for name, _ in response.headers] == ["x-amzn-RequestId"]

    def test_status_204_has_no_body_even_if_the_operation_has_one(self, peer) -> None:
        peer.answer = {"StatusCode": 204}
        response = peer.send("DELETE", f"{FUNCTIONS}/f")
        assert (response.status, response.body) == (204, b"")

    def test_members_follow_the_model_and_what_it_lacks_is_not_sent(self, peer) -> None:
        peer.answer = {"Invented": 1, "Runtime": "python3.12", "Role": None, "FunctionName": "ä"}
        assert peer.send("POST", FUNCTIONS).body == '{"FunctionName":"ä","Runtime":"python3.12"}'.encode()

    def test_timestamps_are_seconds_with_milliseconds(self, peer) -> None:
        peer.answer = {"LastModified": datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)}
        response = peer.send("GET", "/2015-03-31/event-source-mappings/u")
        assert json.loads(response.body) == {"LastModified": 1767323045.679}
