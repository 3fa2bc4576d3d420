"""What docs/hosts.md says of hosts that lack something, each with functions that really run."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from lambda_provider.host import HostBase
from lambda_provider.hosts.gateway import GatewayOptions
from lambda_provider.hosts.gateway_thread import GatewayThread

pytestmark = pytest.mark.scenario

ROLE = "arn:aws:iam::000000000000:role/lambda-role"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:nowhere"
VARIABLES = """
import os
def handler(event, context):
    print("seen")
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
"""


class Served:
    """A host behind a gateway in this process."""

    def __init__(self, host: Any, client_for: Callable[..., Any], zip_of: Callable[..., bytes]) -> None:
        self._gateway = GatewayThread(GatewayOptions(port=0), host)
        self.url = self._gateway.url
        self.hosted = self._gateway.hosted
        self.client = client_for(self.url, "lambda")
        self.client_for = client_for
        self._zip_of = zip_of

    def create(self, name: str, source: str, **parameters: Any) -> None:
        fine = {"Runtime": "python3.12", "Handler": "index.handler", "Role": ROLE}
        code = {"ZipFile": self._zip_of({"index.py": source})}
        self.client.create_function(FunctionName=name, Code=code, **(fine | parameters))
        self.client.get_waiter("function_active_v2").wait(FunctionName=name)

    def invoke(self, name: str, **parameters: Any) -> Any:
        return self.client.invoke(FunctionName=name, **parameters)

    def wait_for_events(self) -> None:
        self._gateway.run(self.hosted.assembly.runtime.events.empty(), 30)

    def on_loop(self, work: Callable[[], Any]) -> Any:
        async def run() -> Any:
            answer = work()
            return await answer if asyncio.iscoroutine(answer) else answer

        return self._gateway.run(run(), 30)

    def stop(self) -> None:
        self._gateway.stop()


@pytest.fixture
def serve(client_for: Callable[..., Any], zip_of: Callable[..., bytes]) -> Iterator[Callable[[Any], Served]]:
    with ExitStack() as stack:

        def start(host: Any) -> Served:
            served = Served(host, client_for, zip_of)
            stack.callback(served.stop)
            return served

        yield start


class NothingButAName:
    """The least of a host."""

    name = "least"
    settings: Mapping[str, str] = {}


def test_functions_run_in_a_host_that_has_nothing(serve: Callable[[Any], Served]) -> None:
    served = serve(NothingButAName())
    served.create("f", VARIABLES)
    answer = served.invoke("f", LogType="Tail")
    variables = json.load(answer["Payload"])
    assert "AWS_ENDPOINT_URL" not in variables
    assert [variables[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")] == [
        "000000000000",
        "test",
        "test",
    ]
    # Logs are dropped, their tail is not.
    assert "\nseen\n" in base64.b64decode(answer["LogResult"]).decode()


def test_without_services_what_has_to_be_there_is_refused_and_what_may_be_there_is_believed(
    serve: Callable[[Any], Served],
) -> None:
    served = serve(NothingButAName())
    client = served.client
    refused = client.exceptions.InvalidParameterValueException
    with pytest.raises(refused, match="S3 Error Message: the host 'least' has no s3"):
        client.create_function(
            FunctionName="g", Runtime="python3.12", Handler="i.h", Role=ROLE, Code={"S3Bucket": "bucket", "S3Key": "k"}
        )
    with pytest.raises(refused, match="the host 'least' has no ec2"):
        served.create("g", VARIABLES, VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]})
    key = "arn:aws:kms:us-east-1:000000000000:key/1"
    served.create("f", VARIABLES, DeadLetterConfig={"TargetArn": QUEUE}, KMSKeyArn=key)
    configuration = client.get_function_configuration(FunctionName="f")
    assert (configuration["DeadLetterConfig"], configuration["KMSKeyArn"]) == ({"TargetArn": QUEUE}, key)


class Counting(HostBase):
    """Keeps metrics."""

    def __init__(self) -> None:
        super().__init__({})
        self.counted: list[str] = []

    def put_metric_data(self, *, metrics: Sequence[Mapping[str, Any]], **place: Any) -> None:
        self.counted.extend(metric["MetricName"] for metric in metrics)


def test_a_record_that_cannot_be_delivered_is_logged_and_counted(
    serve: Callable[[Any], Served], caplog: pytest.LogCaptureFixture
) -> None:
    host = Counting()
    served = serve(host)
    served.create("f", VARIABLES)
    served.client.put_function_event_invoke_config(
        FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": QUEUE}}
    )
    served.invoke("f", InvocationType="Event")
    served.wait_for_events()
    assert "the host 'bare' has no sqs" in caplog.text
    served.on_loop(served.hosted.assembly.runtime.deliver_telemetry)
    assert "DestinationDeliveryFailures" in host.counted


def test_without_an_endpoint_function_urls_are_shown_as_those_of_aws_and_answer_by_their_path(
    serve: Callable[[Any], Served],
) -> None:
    served = serve(NothingButAName())
    served.create("f", "def handler(event, context):\n    return event['rawPath']\n")
    url = served.client.create_function_url_config(FunctionName="f", AuthType="NONE")["FunctionUrl"]
    assert url.endswith(".lambda-url.us-east-1.on.aws/")
    served.client.add_permission(
        FunctionName="f", StatementId="s", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE"
    )
    url_id = url.removeprefix("https://").partition(".")[0]
    with urllib.request.urlopen(f"{served.url}/_lambda/url/{url_id}/a/b") as answer:
        assert answer.read() == b"/a/b"


def test_without_anything_behind_other_services_answer_501(serve: Callable[[Any], Served]) -> None:
    served = serve(NothingButAName())
    queues = served.client_for(served.url, "sqs")
    with pytest.raises(queues.exceptions.ClientError, match="The host 'least' has no service 'sqs'"):
        queues.list_queues()
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(f"{served.url}/bucket/key")


def test_without_identities_the_key_is_the_account(serve: Callable[[Any], Served]) -> None:
    served = serve(NothingButAName())
    for key, account in (("111122223333", "111122223333"), ("AKIAIOSFODNN7EXAMPLE", "000000000000")):
        client = served.client_for(served.url, "lambda", account=key)
        assert client.list_functions()["Functions"] == []
        code = {"ZipFile": served._zip_of({"index.py": VARIABLES})}
        arn = client.create_function(
            FunctionName="f", Runtime="python3.12", Handler="index.handler", Role=ROLE, Code=code
        )["FunctionArn"]
        assert arn.split(":")[4] == account


def test_without_services_of_its_own_the_health_page_names_lambda(serve: Callable[[Any], Served]) -> None:
    served = serve(NothingButAName())
    with urllib.request.urlopen(f"{served.url}/_lambda/health") as answer:
        assert json.load(answer)["services"] == {"lambda": {"state": "running"}}


def test_without_a_token_nobody_runs_functions_in_the_name_of_a_service(serve: Callable[[Any], Served]) -> None:
    served = serve(NothingButAName())
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{served.url}/_lambda/invoke/arn", data=b"")


class Routing(HostBase):
    """Has a router of its own."""

    def __init__(self) -> None:
        super().__init__({})
        self.routed: list[Any] = []

    def route_function_urls(self, application: Any) -> None:
        self.routed.append((application, asyncio.get_running_loop()))


def test_a_router_is_given_the_application_for_function_urls(serve: Callable[[Any], Served]) -> None:
    host = Routing()
    served = serve(host)
    ((application, loop),) = host.routed
    served.create("f", "def handler(event, context):\n    return event['rawPath']\n")
    url = served.client.create_function_url_config(FunctionName="f", AuthType="AWS_IAM")["FunctionUrl"]
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "headers": [(b"host", url.removeprefix("https://").rstrip("/").encode())],
    }
    served.on_loop(lambda: application(scope, receive, send))
    assert sent[0]["status"] == 403
    assert loop is served.on_loop(asyncio.get_running_loop)


class Emptied(HostBase):
    """Is told when everything is to be forgotten."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: list[str] = []

    async def reset(self) -> None:
        self.told.append("reset")


@pytest.mark.parametrize("host", [Emptied(), NothingButAName()], ids=["told", "not told"])
def test_a_reset_forgets_functions_and_tells_the_host(serve: Callable[[Any], Served], host: Any) -> None:
    served = serve(host)
    served.create("f", VARIABLES)
    served.invoke("f")
    served.on_loop(served.hosted.reset)
    assert served.client.list_functions()["Functions"] == []
    assert served.hosted.assembly.runtime.environment_count() == 0
    assert getattr(host, "told", ["reset"]) == ["reset"]
