"""CloudWatch metrics of real functions, read from the host's CloudWatch right after the invokes."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from .rendezvous import MEET, Rendezvous
from .urls import call, give_url

FAILS = "def handler(event, context):\n    if event:\n        raise ValueError(event)\n"


@pytest.fixture
def statistic(aws_client: Callable[..., Any]) -> Callable[..., float]:
    """`statistic("Sum", "Errors", FunctionName="f")` over the last minutes."""
    since = datetime.now(UTC).replace(second=0, microsecond=0)  # What is counted in a minute has one timestamp in it.

    def read(kind: str, metric: str, **dimensions: str) -> float:
        answer = aws_client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=since,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=3600,
            Statistics=[kind],
        )
        return float(sum(point[kind] for point in answer["Datapoints"]))

    return read


def test_invocations_errors_and_duration(
    deploy: Callable[..., str], aws_client: Callable[..., Any], statistic: Callable[..., float]
) -> None:
    name = deploy(FAILS)
    for event in (None, "no", None):
        aws_client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    assert statistic("Sum", "Invocations", FunctionName=name) == 3
    assert statistic("Sum", "Errors", FunctionName=name) == 1
    assert statistic("SampleCount", "Duration", FunctionName=name, Resource=name) == 3
    assert 0 < statistic("Maximum", "Duration", FunctionName=name) < 3000
    names = aws_client("cloudwatch").list_metrics(Namespace="AWS/Lambda")["Metrics"]
    assert {metric["MetricName"] for metric in names} >= {"Invocations", "ConcurrentExecutions", "Throttles"}


def test_three_reserved_and_ten_started(
    deploy: Callable[..., str], aws_client: Callable[..., Any], statistic: Callable[..., float]
) -> None:
    """The exercise of every course on concurrency."""
    client = aws_client("lambda", retries={"total_max_attempts": 1})
    name = deploy(MEET, Timeout=60)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)

    def call(port: int) -> bool:
        try:
            client.invoke(FunctionName=name, Payload=b"%d" % port)
        except client.exceptions.TooManyRequestsException:
            return False
        return True

    with Rendezvous() as place, ThreadPoolExecutor(10) as pool:
        calls: list[Future[bool]] = [pool.submit(call, place.port) for _ in range(10)]
        place.await_guests(3)
        # Nobody goes on before all others were turned away.
        assert [each.result() for each in islice(as_completed(calls, 60), 7)] == [False] * 7
        place.let_go()
        assert sum(each.result() for each in calls) == 3
    assert statistic("Maximum", "ConcurrentExecutions", FunctionName=name) == 3
    assert statistic("Sum", "Throttles", FunctionName=name) == 7
    assert statistic("Sum", "Invocations", FunctionName=name) == 3


def test_a_canary_is_seen_by_version(
    deploy: Callable[..., str], aws_client: Callable[..., Any], statistic: Callable[..., float]
) -> None:
    client = aws_client("lambda")
    name = deploy()
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.invoke(FunctionName=name, Qualifier="live", Payload=b"{}")
    dimensions = {"FunctionName": name, "Resource": f"{name}:live"}
    assert statistic("Sum", "Invocations", **dimensions) == 1
    assert statistic("Sum", "Invocations", **dimensions, ExecutedVersion="1") == 1


def test_metric_data_of_the_account_and_of_a_function_are_not_added_up(
    deploy: Callable[..., str], aws_client: Callable[..., Any]
) -> None:
    account = "333333333333"
    name = deploy(account=account)
    since = datetime.now(UTC).replace(second=0, microsecond=0)  # What is counted in a minute has one timestamp in it.
    aws_client("lambda", account=account).invoke(FunctionName=name, Payload=b"{}")

    def query(id_: str, **dimensions: str) -> dict[str, Any]:
        metric = {
            "Namespace": "AWS/Lambda",
            "MetricName": "Invocations",
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        }
        return {"Id": id_, "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Sum"}}

    answer = aws_client("cloudwatch", account=account).get_metric_data(
        MetricDataQueries=[query("all"), query("one", FunctionName=name)],
        StartTime=since,
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
    )
    assert [result["Values"] for result in answer["MetricDataResults"]] == [[1.0], [1.0]]


def test_a_metric_is_listed_once_however_many_data_it_has(
    deploy: Callable[..., str], aws_client: Callable[..., Any]
) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html"""
    account = "555555555555"
    name = deploy(account=account)
    cloudwatch = aws_client("cloudwatch", account=account)
    for _ in range(3):
        aws_client("lambda", account=account).invoke(FunctionName=name, Payload=b"{}")
        # What was counted is delivered before it is read: each time is a datum of its own.
        metrics = cloudwatch.list_metrics(Namespace="AWS/Lambda", MetricName="Invocations")["Metrics"]
    of_function = {"Name": "FunctionName", "Value": name}
    dimensions = sorted((metric["Dimensions"] for metric in metrics), key=len)
    assert dimensions == [[], [of_function], [of_function, {"Name": "Resource", "Value": name}]]
    narrowed = cloudwatch.list_metrics(MetricName="Invocations", Dimensions=[{"Name": "Resource"}])["Metrics"]
    assert [metric["Dimensions"] for metric in narrowed] == dimensions[2:]


@pytest.mark.parametrize(
    ("runtime", "code"),
    [
        ("python3.12", {"index.py": "import json\ndef handler(event, context):\n    print(json.dumps(event))\n"}),
        ("nodejs20.x", {"index.js": "exports.handler = async (event) => console.log(JSON.stringify(event))"}),
    ],
    ids=["python", "nodejs"],
)
def test_metrics_embedded_in_logs(
    deploy: Callable[..., str], aws_client: Callable[..., Any], runtime: str, code: dict[str, str]
) -> None:
    """As Powertools writes them: lambda/latest/dg/monitoring-cloudwatchlogs.html, CloudWatch's embedded metric format."""
    name = deploy(code, runtime=runtime)
    now = datetime.now(UTC)
    directive = {"Namespace": "Shop", "Dimensions": [["function"]], "Metrics": [{"Name": "orders", "Unit": "Count"}]}
    about = {"Timestamp": int(now.timestamp() * 1000), "CloudWatchMetrics": [directive]}
    for orders in (3, [1, 2]):
        event = {"_aws": about, "function": name, "orders": orders}
        aws_client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    [point] = aws_client("cloudwatch").get_metric_statistics(
        Namespace="Shop",
        MetricName="orders",
        Dimensions=[{"Name": "function", "Value": name}],
        StartTime=now - timedelta(minutes=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum", "SampleCount", "Maximum"],
    )["Datapoints"]
    assert (point["Sum"], point["SampleCount"], point["Maximum"], point["Unit"]) == (6, 3, 3, "Count")


def test_requests_to_a_url_are_counted(
    deploy: Callable[..., str], aws_client: Callable[..., Any], statistic: Callable[..., float], gateway: Any
) -> None:
    client = aws_client("lambda")
    name = deploy(FAILS.replace("if event:", "if 'fail' in event['rawPath']:"))
    url = give_url(client, name)
    statuses = [call(gateway, url + path).status for path in ("", "fail", "")]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    statuses.append(call(gateway, url).status)
    assert statuses == [200, 502, 200, 429]
    for dimensions in (
        {},
        {"Resource": f"{name}:$LATEST"},
        {"Resource": f"{name}:$LATEST", "ExecutedVersion": "$LATEST"},
    ):
        assert statistic("Sum", "UrlRequestCount", FunctionName=name, **dimensions) == 4
        assert statistic("Sum", "Url4xxCount", FunctionName=name, **dimensions) == 1
        assert statistic("Sum", "Url5xxCount", FunctionName=name, **dimensions) == 1
        assert statistic("Maximum", "UrlRequestLatency", FunctionName=name, **dimensions) > 0
