"""What schedules of EventBridge Scheduler tell their functions."""

from __future__ import annotations

import json
import re

from lambda_provider.hosts.services.schedules import payload_of

ARN = "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/nightly"


def test_a_schedule_without_input_tells_what_it_is():
    event = json.loads(payload_of(ARN, None))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event.pop("time"))
    assert re.fullmatch(r"[0-9a-f-]{36}", event.pop("id"))
    assert event == {
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "region": "eu-west-1",
        "resources": [ARN],
        "detail": "{}",
    }


def test_context_attributes_stand_for_what_they_name():
    names = ("schedule-arn", "scheduled-time", "execution-id", "attempt-number")
    given = json.dumps({name: f"<aws.scheduler.{name}>" for name in names} | {"other": "<aws.scheduler.none>"})
    told = json.loads(payload_of(ARN, given))
    assert (told["schedule-arn"], told["attempt-number"], told["other"]) == (ARN, "1", "<aws.scheduler.none>")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["scheduled-time"])
    assert re.fullmatch(r"[0-9a-f]{16}", told["execution-id"])


def test_input_is_handed_on_as_it_stands():
    assert payload_of(ARN, ' {"a": [1]} ') == ' {"a": [1]} '
