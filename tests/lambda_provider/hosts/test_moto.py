"""Other AWS services behind the gateway: accounts, regions, streaming, S3's addressing, and moto's life as a child."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lambda_provider.host import Host, ServiceUnavailable

pytest.importorskip("moto")


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def signed(service: str, account: str = "000000000000") -> bytes:
    scope = f"{account}/20240101/us-east-1/{service}/aws4_request"
    return f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n".encode()


def test_nothing_is_started_before_a_service_is_asked_for(local_gateway: Any) -> None:
    assert local_gateway.host.moto.pid is None
    assert local_gateway.host.services()["moto"]["state"] == "idle"


def test_the_host_speaks_the_protocol(local_gateway: Any) -> None:
    assert isinstance(local_gateway.host, Host)


@pytest.mark.parametrize(
    ("key", "account"), [("111111111111", "111111111111"), ("test", "000000000000"), ("123456789012", "123456789012")]
)
def test_the_access_key_is_the_account(moto_gateway: Any, client: Any, key: str, account: str) -> None:
    assert client(moto_gateway, "sts", key).get_caller_identity()["Account"] == account


def assumed(gateway: Any, role_arn: str, name: str) -> Any:
    """Credentials that a function of that name gets."""
    return gateway.host.issue_credentials(
        role_arn=role_arn, account_id=role_arn.split(":")[4], region="us-east-1", session_name=name
    )


def as_function(issued: Any) -> dict[str, str]:
    """How a boto3 client is told to use them."""
    return {
        "aws_access_key_id": issued.access_key_id,
        "aws_secret_access_key": issued.secret_access_key,
        "aws_session_token": issued.session_token,
    }


def test_credentials_of_functions_are_their_accounts(moto_gateway: Any, client: Any) -> None:
    issued = assumed(moto_gateway, "arn:aws:iam::222222222222:role/r", "f")
    assert client(moto_gateway, "sts", issued.access_key_id).get_caller_identity()["Account"] == "222222222222"
    assert moto_gateway.host.identities.account_of(issued.access_key_id) == "222222222222"


def test_functions_are_their_role_assumed_under_their_name(moto_gateway: Any, client: Any) -> None:
    name = unique("role")
    role = client(moto_gateway, "iam", "222222222222").create_role(
        RoleName=name, Path="/a/b/", AssumeRolePolicyDocument="{}"
    )["Role"]
    for function in ("one", "two", "f@lambda_function"):
        sts = client(moto_gateway, "sts", **as_function(assumed(moto_gateway, role["Arn"], function)))
        for _ in range(2):
            who = sts.get_caller_identity()
            assert who["Arn"] == f"arn:aws:sts::222222222222:assumed-role/{name}/{function}"
            assert who["UserId"] == f"{role['RoleId']}:{function}"
            assert who["Account"] == "222222222222"


def test_a_role_that_does_not_exist_keeps_its_id(moto_gateway: Any, client: Any) -> None:
    issued = assumed(moto_gateway, "arn:aws:iam::222222222222:role/nobody-made-it", "f1")
    sts = client(moto_gateway, "sts", **as_function(issued))
    first, second = sts.get_caller_identity(), sts.get_caller_identity()
    assert first["Arn"] == "arn:aws:sts::222222222222:assumed-role/nobody-made-it/f1"
    assert re.fullmatch(r"AROA[A-Z0-9]{17}:f1", first["UserId"])
    assert first["UserId"] == second["UserId"]


def test_functions_are_known_again_after_moto_was_reset(local_gateway: Any, client: Any, read: Any) -> None:
    sts = client(local_gateway, "sts", **as_function(assumed(local_gateway, "arn:aws:iam::222222222222:role/r", "f1")))
    before = sts.get_caller_identity()
    with local_gateway.connect() as connection:
        connection.sendall(b"POST /moto-api/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert read(connection)[0] == 200
    assert sts.get_caller_identity()["Arn"] == before["Arn"]


@pytest.mark.parametrize("account", ["333333333333", "123456789012"])
def test_keys_that_moto_issued_are_their_accounts(moto_gateway: Any, client: Any, account: str) -> None:
    iam = client(moto_gateway, "iam", account)
    name = unique("user")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    assert client(moto_gateway, "sts", key).get_caller_identity()["Account"] == account
    identities = moto_gateway.host.identities
    assert identities.account_of(key) is None
    client(moto_gateway, "lambda", key).list_functions()
    assert identities.account_of(key) == account, "a request for Lambda made with it has told its account"


def test_accounts_and_regions_do_not_see_each_other(moto_gateway: Any, client: Any) -> None:
    name = unique("queue")
    client(moto_gateway, "sqs", "111111111111", "eu-west-1").create_queue(QueueName=name)

    def queues(account: str, region: str) -> list[str]:
        return client(moto_gateway, "sqs", account, region).list_queues(QueueNamePrefix=name).get("QueueUrls", [])

    assert queues("111111111111", "eu-west-1") == [f"{moto_gateway.url}/111111111111/{name}"]
    assert queues("111111111111", "us-east-1") == []
    assert queues("222222222222", "eu-west-1") == []


def test_concurrent_first_requests_wait_for_one_child(local_gateway: Any, client: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = [client(local_gateway, "sts") for _ in range(8)]
        accounts = list(pool.map(lambda sts: sts.get_caller_identity()["Account"], clients))
    assert accounts == ["000000000000"] * 8
    assert local_gateway.host.moto.starts == 1


def test_large_objects_are_streamed_both_ways(moto_gateway: Any, client: Any) -> None:
    s3, bucket, body = client(moto_gateway, "s3"), unique("bucket"), os.urandom(24 * 1024 * 1024)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="dir//big ü", Body=body)
    assert s3.head_object(Bucket=bucket, Key="dir//big ü")["ContentLength"] == len(body)
    got = s3.get_object(Bucket=bucket, Key="dir//big ü")["Body"].read()
    assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
    part = s3.get_object(Bucket=bucket, Key="dir//big ü", Range="bytes=10-19")
    assert part["Body"].read() == body[10:20]


def test_a_chunked_upload_arrives_whole(moto_gateway: Any, client: Any, read: Any) -> None:
    s3, bucket = client(moto_gateway, "s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    chunk = b"x" * 100_000
    with moto_gateway.connect() as connection:
        head = f"PUT /{bucket}/chunked HTTP/1.1\r\nHost: localhost\r\n".encode() + signed("s3")
        connection.sendall(head + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for _ in range(20):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        connection.sendall(b"0\r\n\r\n")
        assert read(connection)[0] == 200
    assert s3.head_object(Bucket=bucket, Key="chunked")["ContentLength"] == 20 * len(chunk)


def test_a_conditional_get_answers_304_and_the_connection_goes_on(moto_gateway: Any, client: Any, read: Any) -> None:
    s3, bucket = client(moto_gateway, "s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"abc")["ETag"].encode()
    with moto_gateway.connect() as connection:
        get = f"GET /{bucket}/k HTTP/1.1\r\nHost: localhost\r\n".encode() + signed("s3")
        connection.sendall(get + b"If-None-Match: " + tag + b"\r\n\r\n")
        assert read(connection)[0] == 304
        connection.sendall(get + b"\r\n")
        assert read(connection)[2] == b"abc"


def test_buckets_may_stand_in_the_host_name(moto_gateway: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1" if host else host, *rest, **more)
    )
    gateway = type("G", (), {"url": f"http://localhost:{moto_gateway.port}"})
    virtual, path, bucket = (
        client(gateway, "s3", s3={"addressing_style": "virtual"}),
        client(gateway, "s3"),
        unique("bucket"),
    )
    virtual.create_bucket(Bucket=bucket)
    virtual.put_object(Bucket=bucket, Key="/leading/slash", Body=b"1")
    assert [item["Key"] for item in path.list_objects_v2(Bucket=bucket)["Contents"]] == ["/leading/slash"]


@pytest.mark.parametrize("host", ["my.host.example:4566", "gateway.my-network", "s3.localhost:4566", "10.0.0.1:4566"])
def test_a_gateway_may_have_any_name_when_buckets_stand_in_the_path(
    moto_gateway: Any, client: Any, read: Any, host: str
) -> None:
    s3, bucket = client(moto_gateway, "s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    with moto_gateway.connect() as connection:
        put = f"PUT /{bucket}/a/key HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n".encode()
        connection.sendall(put + signed("s3") + b"\r\n1")
        assert read(connection)[0] == 200
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/key"]


def test_a_bucket_with_the_name_of_a_lambda_path_is_s3s(moto_gateway: Any, client: Any) -> None:
    s3, for_lambda = client(moto_gateway, "s3"), len(moto_gateway.wire.requests)
    s3.create_bucket(Bucket="2015-03-31")
    s3.put_object(Bucket="2015-03-31", Key="functions/f", Body=b"mine")
    assert s3.get_object(Bucket="2015-03-31", Key="functions/f")["Body"].read() == b"mine"
    assert len(moto_gateway.wire.requests) == for_lambda


def test_an_upload_that_breaks_off_does_not_disturb_the_next(moto_gateway: Any, client: Any) -> None:
    s3, bucket = client(moto_gateway, "s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    with moto_gateway.connect() as connection:
        head = f"PUT /{bucket}/broken HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n".encode()
        connection.sendall(head + signed("s3") + b"\r\n" + b"x" * 200_000)
    s3.put_object(Bucket=bucket, Key="whole", Body=b"x")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["whole"]


def test_an_unread_body_does_not_become_the_next_request(moto_gateway: Any, client: Any, read: Any) -> None:
    """Moto answers many errors without reading the body; the connection to it is kept nevertheless."""
    with moto_gateway.connect() as connection:
        for _ in range(3):
            head = b"PUT /no-such-bucket-here/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n"
            connection.sendall(head + signed("s3") + b"\r\n" + b"GET / HTTP/1.1\r\n\r\n".ljust(300_000, b"x"))
            assert read(connection)[0] == 404
    assert client(moto_gateway, "sts").get_caller_identity()["Account"] == "000000000000"


def test_the_hosts_clients_see_the_same_moto(moto_gateway: Any, client: Any) -> None:
    bucket = unique("bucket")
    client(moto_gateway, "s3", "444444444444").create_bucket(Bucket=bucket)

    def buckets(account: str) -> list[str]:
        answer = moto_gateway.host.connect_to("s3", account_id=account, region="us-east-1").list_buckets()
        return [item["Name"] for item in answer["Buckets"]]

    assert buckets("444444444444") == [bucket]
    assert bucket not in buckets("000000000000")


def test_a_client_starts_moto_from_any_thread(local_gateway: Any) -> None:
    sts = local_gateway.host.connect_to("sts", account_id="555555555555", region="eu-west-1")
    assert sts.get_caller_identity()["Account"] == "555555555555"
    assert local_gateway.host.connect_to("sts", account_id="555555555555", region="eu-west-1") is sts


def test_an_unknown_service_is_unavailable(moto_gateway: Any) -> None:
    with pytest.raises(ServiceUnavailable, match="no-such"):
        moto_gateway.host.connect_to("no-such", account_id="000000000000", region="us-east-1")


def test_a_moto_that_died_is_started_again_without_its_state(
    local_gateway: Any, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    s3 = client(local_gateway, "s3")
    s3.create_bucket(Bucket="will-be-lost")
    ready_again = asyncio.run_coroutine_threadsafe(_next_start(local_gateway.host.moto), local_gateway.loop)
    # The callback has to be there before moto dies.
    local_gateway.call(lambda: None)
    os.kill(local_gateway.host.moto.pid, signal.SIGKILL)
    ready_again.result(20)
    assert s3.list_buckets()["Buckets"] == []
    assert local_gateway.host.moto.starts == 2
    assert "is lost" in caplog.text


def test_without_moto_other_services_answer_503(local_gateway: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with local_gateway.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + signed("s3") + b"\r\n")
        status, headers, body = read(connection)
    assert (status, headers["x-amzn-errortype"]) == (503, "ServiceUnavailable")
    assert b"pip install" in body
    with pytest.raises(ServiceUnavailable, match="pip install"):
        local_gateway.host.connect_to("s3", account_id="000000000000", region="us-east-1")


def test_a_moto_that_cannot_start_answers_503_with_the_reason(
    local_gateway: Any, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with local_gateway.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + signed("s3") + b"\r\n")
        status, _, body = read(connection)
    assert status == 503
    assert b"before it was ready" in body
    assert local_gateway.host.moto.starts == 3


def test_stopping_the_gateway_ends_moto(local_gateway: Any, client: Any) -> None:
    client(local_gateway, "sts").get_caller_identity()
    pid = local_gateway.host.moto.pid
    local_gateway.run(local_gateway.host.stop())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def _next_start(moto: Any) -> None:
    started = asyncio.get_running_loop().create_future()
    moto.on_ready.append(lambda: started.set_result(None))
    await started
