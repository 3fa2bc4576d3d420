"""Logs in memory."""

from __future__ import annotations

import threading

import pytest

from lambda_provider.host import LogEvent
from lambda_provider.testing import logbook
from lambda_provider.testing.logbook import LogBook, LogGroup

GROUP = LogGroup("111111111111", "eu-west-1", "/aws/lambda/f")


def events(*messages: str) -> list[LogEvent]:
    return [LogEvent(0, message) for message in messages]


def test_lines_are_kept_by_group_in_their_order() -> None:
    book = LogBook()
    book.add(GROUP, events("a\n", "b\n"))
    book.add(GROUP, events("c"))
    book.add(GROUP._replace(region="us-east-1"), events("elsewhere"))
    assert book.messages(GROUP) == ["a", "b", "c"]
    book.clear()
    assert book.messages(GROUP) == []


def test_who_waits_for_a_line_gets_it_when_it_comes() -> None:
    book = LogBook()
    book.add(GROUP, events("before"))
    timer = threading.Timer(0.02, book.add, (GROUP, events("x", "ready at last\n")))
    timer.start()
    assert book.wait_for(GROUP, lambda line: "ready" in line, 30) == "ready at last"
    assert book.wait_for(GROUP, lambda line: "before" in line, 0) == "before"
    timer.join()


def test_a_line_that_does_not_come_is_a_timeout_that_says_so() -> None:
    book = LogBook()
    book.add(GROUP, events("a", "b"))
    with pytest.raises(TimeoutError, match=r"nothing like that in 2 lines of /aws/lambda/f within 0\.01 s"):
        book.wait_for(GROUP, lambda line: False, 0.01)


def test_the_oldest_lines_of_a_group_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "_MAX_EVENTS_A_GROUP", 3)
    book = LogBook()
    book.add(GROUP, events("a", "b", "c", "d"))
    assert book.messages(GROUP) == ["b", "c", "d"]
    timer = threading.Timer(0.02, book.add, (GROUP, events("e")))
    timer.start()
    assert book.wait_for(GROUP, lambda line: line == "e", 30) == "e"
    timer.join()
