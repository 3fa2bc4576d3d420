"""When schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lambda_provider.hosts.services import cron


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def following(expression: str, after: str, timezone: str = "UTC") -> str | None:
    found = cron.parse(expression, began=0, timezone=timezone)(at(after))
    return None if found is None else datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("cron(0 10 * * ? *)", "2026-11-21 09:59", "2026-11-21 10:00"),
        ("cron(0 10 * * ? *)", "2026-11-21 10:00", "2026-11-22 10:00"),
        ("cron(15 12 * * ? *)", "2026-12-31 13:00", "2027-01-01 12:15"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-20 18:00", "2026-11-23 18:00"),
        ("cron(0 8 1 * ? *)", "2026-11-21 00:00", "2026-12-01 08:00"),
        ("cron(0/15 * * * ? *)", "2026-11-21 10:31", "2026-11-21 10:45"),
        ("cron(0/5 8-17 ? * 2-6 *)", "2026-11-20 17:55", "2026-11-23 08:00"),
        ("cron(0 9 ? * 3#2 *)", "2026-11-21 00:00", "2026-12-08 09:00"),
        ("cron(0 9 L * ? *)", "2026-02-01 00:00", "2026-02-28 09:00"),
        ("cron(0 9 ? * 6L *)", "2026-11-01 00:00", "2026-11-27 09:00"),
        ("cron(0 9 1W * ? *)", "2026-08-01 00:00", "2026-08-03 09:00"),
        ("cron(0 0 29 2 ? *)", "2026-11-21 00:00", "2028-02-29 00:00"),
        ("cron(0 0 1 1 ? 2030)", "2026-11-21 00:00", "2030-01-01 00:00"),
        ("cron(0 0 ? JAN,JUL SUN *)", "2026-11-21 00:00", "2027-01-03 00:00"),
    ],
)
def test_cron(expression: str, after: str, expected: str) -> None:
    assert following(expression, after) == expected


def test_cron_in_a_time_zone() -> None:
    assert following("cron(0 9 * * ? *)", "2026-07-01 00:00", "Europe/Berlin") == "2026-07-01 07:00"
    assert following("cron(0 9 * * ? *)", "2026-12-01 00:00", "Europe/Berlin") == "2026-12-01 08:00"


def test_a_year_that_is_over_is_never_due_again() -> None:
    assert following("cron(0 0 1 1 ? 2020)", "2026-11-21 00:00") is None


def test_a_rate_counts_from_its_beginning() -> None:
    due = cron.parse("rate(5 minutes)", began=1000.0)
    assert (due(1000.0), due(1299.0), due(1300.0)) == (1300.0, 1300.0, 1600.0)


def test_at_is_due_once() -> None:
    assert following("at(2026-11-21T12:00:00)", "2026-11-21 11:00") == "2026-11-21 12:00"
    assert following("at(2026-11-21T12:00:00)", "2026-11-21 12:00") is None


@pytest.mark.parametrize(
    "expression", ["rate(0 minutes)", "cron(* * *)", "cron(61 * * * ? *)", "every day", "rate(5 weeks)"]
)
def test_what_is_no_schedule(expression: str) -> None:
    with pytest.raises(ValueError):
        cron.parse(expression, began=0)
