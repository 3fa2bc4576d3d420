"""What targets of rules get (eventbridge/latest/userguide/eb-transform-target-input.html)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_provider.hosts.services.events import event_of, fill_in, input_of

RULE = "arn:aws:events:us-east-1:000000000000:rule/example"
EVENT: dict[str, Any] = {
    "version": "0",
    "id": "7bf73129-1428-4cd3-a780-95db273d1602",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "123456789012",
    "time": "2015-11-11T21:29:54Z",
    "region": "us-east-1",
    "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
    "detail": {"instance-id": "i-0123456789", "state": "RUNNING", "a key": {"n": 1}},
}


def made(**target: Any) -> Any:
    return json.loads(input_of({"Arn": "arn:aws:lambda:us-east-1:0:function:f", **target}, EVENT, RULE))


def test_the_event_itself() -> None:
    assert made() == EVENT


def test_a_constant() -> None:
    assert made(Input='["x"]') == ["x"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.detail", EVENT["detail"]),
        ("$.resources[0]", EVENT["resources"][0]),
        ("$.detail['a key'].n", 1),
        ("$.none", None),
    ],
)
def test_a_part(path: str, expected: Any) -> None:
    assert made(InputPath=path) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('"instance <instance> is in <status>"', "instance i-0123456789 is in RUNNING"),
        ('{"instance": <instance>, "status": <status>}', {"instance": "i-0123456789", "status": "RUNNING"}),
        ('{"instance": "<instance>", "all": <whole>}', {"instance": "i-0123456789", "all": EVENT["detail"]}),
        ('{"text": "is <missing>!"}', {"text": "is !"}),
        ('{"rule": "<aws.events.rule-arn>", "name": "<aws.events.rule-name>"}', {"rule": RULE, "name": "example"}),
        ("<aws.events.event.json>", EVENT),
        ("<aws.events.event>", {key: value for key, value in EVENT.items() if key != "detail"}),
    ],
)
def test_a_template(template: str, expected: Any) -> None:
    paths = {
        "instance": "$.detail.instance-id",
        "status": "$.detail.state",
        "whole": "$.detail",
        "missing": "$.detail.none",
    }
    assert made(InputTransformer={"InputPathsMap": paths, "InputTemplate": template}) == expected


def test_text_within_quotes_cannot_end_them() -> None:
    assert json.loads(fill_in('{"said": "<x>"}', {"x": 'a "b" \\ c\n'})) == {"said": 'a "b" \\ c\n'}


def test_the_time_of_an_event_is_text() -> None:
    assert event_of({**EVENT, "time": 1447277394.0, "ingestion-time": 1.0}) == EVENT
    assert list(event_of(EVENT)) == list(EVENT)
