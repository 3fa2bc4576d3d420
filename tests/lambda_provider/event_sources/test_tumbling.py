"""Tumbling windows by themselves: bounds, events, and what answers have to have."""

from __future__ import annotations

import json

import pytest

from lambda_provider.event_sources.tumbling import STATE_LIMIT_BYTES, TumblingWindow

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


def window(stored: object = None) -> TumblingWindow:
    return TumblingWindow(120, "shardId-000000000006", ARN, stored)


def test_event_has_the_members_of_the_developer_guide() -> None:
    here = window()
    here.open(1607497475.0)
    assert json.loads(here.event([b'{"n":1}', b'{"n":2}'])) == {
        "Records": [{"n": 1}, {"n": 2}],
        "window": {"start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:06:00Z"},
        "state": {},
        "shardId": "shardId-000000000006",
        "eventSourceARN": ARN,
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
    }


def test_window_ends_where_the_next_begins() -> None:
    here = window()
    assert here.covers(0) and not here.is_open
    here.open(130.0)
    assert (here.start, here.end) == (120.0, 240.0)
    assert here.covers(239.9) and not here.covers(240.0)
    here.open(500.0)
    assert here.start == 120.0, "an open window stays"


@pytest.mark.parametrize("response", [b"null", b"", b"{}", b"[]", b'"state"', b"no JSON"])
def test_answer_without_a_state_is_a_failure(response: bytes) -> None:
    assert not window().take(response)


def test_state_is_handed_on_until_the_window_is_closed() -> None:
    here = window()
    here.open(0)
    assert here.take(b'{"state":{"sum":3}}')
    assert json.loads(here.event([], final=True))["state"] == {"sum": 3}
    again = window(json.loads(json.dumps(here.stored())))
    assert json.loads(again.event([]))["state"] == {"sum": 3}
    here.close()
    assert here.stored() is None and not here.is_open


def test_state_that_is_too_large_ends_the_window_early_and_the_window_goes_on() -> None:
    here = window()
    here.open(0)
    here.take(json.dumps({"state": "x" * (STATE_LIMIT_BYTES - 2)}).encode())
    assert not here.too_large
    here.take(json.dumps({"state": "x" * (STATE_LIMIT_BYTES - 1)}).encode())
    assert here.too_large
    here.close(early=True)
    assert here.is_open and not here.too_large
    assert json.loads(here.event([]))["state"] == {}
