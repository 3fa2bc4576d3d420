"""Logs and metrics on their way to CloudWatch: without moto, with moto, in order, bounded, split as the API wants it."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest

from lambda_provider.host import LogEvent

pytest.importorskip("moto")

ACCOUNT = "111111111111"
GROUP = "/aws/lambda/f"


def put(gateway: Any, messages: list[str], stream: str = "s", account: str = ACCOUNT, first_ms: int = 0) -> None:
    first_ms = first_ms or int(time.time() * 1000) - 1000
    gateway.host.put_log_events(
        account_id=account,
        region="us-east-1",
        log_group=GROUP,
        log_stream=stream,
        events=[LogEvent(first_ms + index, message) for index, message in enumerate(messages)],
    )


def read_messages(logs: Any, stream: str = "s") -> list[str]:
    messages: list[str] = []
    request = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
    while True:
        page = logs.get_log_events(**request)
        if not page["events"]:
            return messages
        messages += [event["message"] for event in page["events"]]
        request["nextToken"] = page["nextForwardToken"]


def test_a_reader_sees_what_was_written_before_moto_ran(local_gateway: Any, client: Any) -> None:
    now_ms = int(time.time() * 1000)
    put(local_gateway, ["a\n", "b\n"], first_ms=now_ms)
    put(local_gateway, ["c\n"], first_ms=now_ms + 1)
    assert local_gateway.call(lambda: local_gateway.host.moto.pid) is None, "log lines alone do not start moto"
    assert read_messages(client(local_gateway, "logs", ACCOUNT)) == ["a\n", "b\n", "c\n"]


def test_a_reader_sees_what_was_written_a_moment_ago(local_gateway: Any, client: Any) -> None:
    logs = client(local_gateway, "logs", ACCOUNT)
    logs.describe_log_groups()
    for number in range(5):
        put(local_gateway, [f"line {number}"])
        assert read_messages(logs)[-1] == f"line {number}"


def test_streams_groups_and_accounts_are_kept_apart(local_gateway: Any, client: Any) -> None:
    put(local_gateway, ["one"], stream="first")
    put(local_gateway, ["two"], stream="second")
    put(local_gateway, ["three"], stream="first", account="222222222222")
    logs = client(local_gateway, "logs", ACCOUNT)
    assert read_messages(logs, "first") == ["one"]
    assert read_messages(logs, "second") == ["two"]
    assert read_messages(client(local_gateway, "logs", "222222222222"), "first") == ["three"]


def test_lines_are_delivered_without_a_reader_once_moto_runs(local_gateway: Any, client: Any) -> None:
    local_gateway.run(local_gateway.host.moto.ready())
    put(local_gateway, ["a"])

    async def delivered() -> None:
        await local_gateway.host.telemetry._task

    local_gateway.run(delivered())
    assert not local_gateway.host.telemetry._streams
    direct = local_gateway.host.connect_to("logs", account_id=ACCOUNT, region="us-east-1")
    assert read_messages(direct) == ["a"]


def test_a_deleted_group_comes_back_with_the_next_line(local_gateway: Any, client: Any) -> None:
    logs = client(local_gateway, "logs", ACCOUNT)
    put(local_gateway, ["before"])
    assert read_messages(logs) == ["before"]
    logs.delete_log_group(logGroupName=GROUP)
    put(local_gateway, ["after"])
    assert read_messages(logs) == ["after"]


def test_more_than_a_request_takes_is_sent_in_several(local_gateway: Any, client: Any) -> None:
    messages = [f"{number} " + "x" * 200 for number in range(10_500)]
    put(local_gateway, messages, first_ms=int(time.time() * 1000) - 60_000)
    assert read_messages(client(local_gateway, "logs", ACCOUNT)) == messages


def test_a_message_that_is_too_long_is_split_between_characters(local_gateway: Any, client: Any) -> None:
    message = "é" * 200_000
    put(local_gateway, [message])
    pieces = read_messages(client(local_gateway, "logs", ACCOUNT))
    assert "".join(pieces) == message
    assert all(len(piece.encode()) <= 256 * 1024 - 26 for piece in pieces)


def test_the_oldest_lines_are_dropped_and_counted_when_too_many_wait(local_gateway: Any, client: Any) -> None:
    local_gateway.host.telemetry._max_bytes = 1000
    put(local_gateway, [f"{number:02}" + "x" * 72 for number in range(20)])
    local_gateway.call(lambda: None)
    assert local_gateway.host.services()["moto"]["dropped_log_events"] == 10
    assert [message[:2] for message in read_messages(client(local_gateway, "logs", ACCOUNT))] == [
        str(number) for number in range(10, 20)
    ]


def test_lines_stamped_out_of_order_are_accepted(local_gateway: Any, client: Any) -> None:
    now_ms = int(time.time() * 1000)
    local_gateway.host.put_log_events(
        account_id=ACCOUNT,
        region="us-east-1",
        log_group=GROUP,
        log_stream="s",
        events=[LogEvent(now_ms, "later"), LogEvent(now_ms - 5, "earlier")],
    )
    assert read_messages(client(local_gateway, "logs", ACCOUNT)) == ["earlier", "later"]


def test_metrics_arrive_in_cloudwatch(local_gateway: Any, client: Any) -> None:
    now = datetime.datetime.now(datetime.UTC)
    metric = {
        "MetricName": "Invocations",
        "Dimensions": [{"Name": "FunctionName", "Value": "f"}],
        "Timestamp": now,
        "Value": 1.0,
        "Unit": "Count",
    }
    local_gateway.host.put_metric_data(
        account_id=ACCOUNT, region="us-east-1", namespace="AWS/Lambda", metrics=[metric, {**metric, "Value": 2.0}]
    )
    answer = client(local_gateway, "cloudwatch", ACCOUNT).get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=metric["Dimensions"],
        StartTime=now - datetime.timedelta(minutes=5),
        EndTime=now + datetime.timedelta(minutes=5),
        Period=3600,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in answer["Datapoints"]) == 3.0
