"""The activity feed: from moto's process to who waits for a queue or a stream."""

from __future__ import annotations

import socket
from typing import Any

from lambda_provider.hosts.activity import ActivityFeed
from lambda_provider.hosts.moto_activity import Reporter

A, B = "arn:aws:sqs:us-east-1:000000000000:a", "arn:aws:sqs:us-east-1:000000000000:b"


def test_reports_reach_who_subscribed_to_the_arn() -> None:
    feed, heard = ActivityFeed(), []
    end = feed.subscribe(A, lambda delay_s: heard.append(("a", delay_s)))
    feed.subscribe(B, lambda delay_s: heard.append(("b", delay_s)))
    feed.feed(f"{A} 0.000\n{B} 12.5".encode())
    assert heard == [("a", 0.0)]
    feed.feed(b"00\n")
    assert heard == [("a", 0.0), ("b", 12.5)]
    end()
    end()
    feed.feed(f"{A} 0\n".encode())
    assert len(heard) == 2


def test_a_new_process_may_have_anything() -> None:
    feed, heard = ActivityFeed(), []
    feed.subscribe(A, heard.append)
    feed.feed(b"half a li")
    feed.began()
    feed.feed(f"{A} 1\n".encode())
    assert heard == [0.0, 1.0]


def test_nonsense_is_no_trouble(caplog: Any) -> None:
    feed, heard = ActivityFeed(), []
    feed.subscribe(A, heard.append)
    feed.feed(f"{A} soon\n\n\xff\n{A} 0\n".encode("latin-1"))
    assert heard == [0.0]
    assert "nobody understands" in caplog.text


def test_the_reporter_writes_the_earliest_moment_of_each() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(30)
        reporter = Reporter(theirs)
        with reporter._changed:  # While its thread cannot write.
            reporter.report(A, 30)
            reporter.report(A, 2)
            reporter.report(A, 40)
            reporter.report(B)
        lines = b""
        while lines.count(b"\n") < 2:
            lines += ours.recv(1000)
        assert sorted(lines.decode().splitlines()) == [f"{A} 2.000", f"{B} 0.000"]
