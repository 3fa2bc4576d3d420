"""From the bytes of an output pipe to log events."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_runtime.logs import ClosableSink, EnvironmentLog, OutputParser, new_log_stream

from .fakes import function_version


def frame(message: bytes, moment_us: int = 5_000_000) -> bytes:
    return struct.pack(">IIQ", 0xA55A0003, len(message), moment_us) + message


def test_each_line_is_an_event_with_its_newline() -> None:
    assert OutputParser().feed(b"one\ntwo\n", 7) == [(7, "one\n"), (7, "two\n")]


def test_a_frame_is_one_event_of_many_lines_with_its_own_time() -> None:
    parser = OutputParser()
    entries = parser.feed(b"text\n" + frame(b"[ERROR] a\nb") + b"more", 7)
    assert entries == [(7, "text\n"), (5000, "[ERROR] a\nb")]
    assert parser.flush(8) == [(8, "more")]


def test_text_without_newline_before_a_frame_is_its_own_event() -> None:
    assert OutputParser().feed(b"half" + frame(b"x"), 7) == [(7, "half"), (5000, "x")]


@pytest.mark.parametrize("text", ["今日Zoom", "åZ", "¥Zen"])
def test_text_that_has_the_first_bytes_of_a_frame_is_text(text: str) -> None:
    data = f"{text}\nnext {text}".encode() + frame(text.encode()) + b"last\n"
    assert OutputParser().feed(data, 7) == [(7, f"{text}\n"), (7, f"next {text}"), (5000, text), (7, "last\n")]


@given(st.lists(st.one_of(st.text(max_size=20), st.binary(max_size=20)), max_size=8), st.data())
def test_how_the_pipe_is_cut_into_reads_makes_no_difference(parts: list[str | bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(part) if isinstance(part, bytes) else part.encode() + b"\n" for part in parts)
    whole = OutputParser()
    expected = whole.feed(stream, 1) + whole.flush(1)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parser, got = OutputParser(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += parser.feed(stream[start:end], 1)
    assert got + parser.flush(1) == expected


def test_what_is_not_utf_8_is_replaced() -> None:
    assert OutputParser().feed(b"\xff\n", 1) == [(1, "\ufffd\n")]


@pytest.mark.parametrize("character", ["x", "é", "€", "💥"])
@pytest.mark.parametrize("how", ["line", "frame", "without newline", "in reads", "frame in reads"])
def test_a_long_message_is_cut_between_characters_into_what_cloudwatch_takes(character: str, how: str) -> None:
    """AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html: 256 KB an event, 26 bytes for each among them."""
    text = "a" + character * (600_000 // len(character.encode()))
    parser = OutputParser()
    if how == "frame":
        entries = parser.feed(frame(text.encode()), 1)
    elif how.endswith("in reads"):
        data = frame(text.encode()) if how.startswith("frame") else text.encode() + b"\n"
        entries = [
            entry for start in range(0, len(data), 65_536) for entry in parser.feed(data[start : start + 65_536], 1)
        ]
    else:
        entries = parser.feed(text.encode() + (b"\n" if how == "line" else b""), 1)
    messages = [message for _, message in entries + parser.flush(1)]
    assert "".join(messages).rstrip("\n") == text
    sizes = [len(message.encode()) for message in messages]
    assert len(sizes) == 3
    assert all(256 * 1024 - 26 - 3 <= size <= 256 * 1024 - 26 for size in sizes[:-1])


def test_many_short_lines_are_looked_at_once() -> None:
    """All environments wait meanwhile. Each line used to be followed by a look at all the others: 20 s here."""
    parser, read = OutputParser(), b"x\n" * 32_768
    began = time.process_time()
    assert sum(len(parser.feed(read, 1)) for _ in range(4)) == 4 * 32_768
    assert time.process_time() - began < 5


def test_a_frame_is_passed_on_while_it_comes() -> None:
    """However long one is, or says that it is: no more than an event waits, and is copied when more comes."""
    parser = OutputParser()
    data = b"before\n" + struct.pack(">IIQ", 0xA55A0003, 4_000_000_000, 0)
    assert parser.feed(data, 7) == [(7, "before\n")]
    size = 0
    for _ in range(80):
        size += sum(len(message) for _, message in parser.feed(b"x" * 65_536, 8))
    assert size > 19 * 256 * 1024 - 20 * 26
    assert sum(len(message) for _, message in parser.flush(9)) == 80 * 65_536 - size
    assert parser.feed(b"after\n", 10) == [(10, "after\n")]


def test_what_is_long_and_not_utf_8_is_cut_all_the_same() -> None:
    entries = OutputParser().feed(b"\x80" * 600_000 + b"\n", 1)
    assert "".join(message for _, message in entries) == "\ufffd" * 600_000 + "\n"


def test_stream_name_has_date_and_version() -> None:
    name = new_log_stream(function_version(version="7"), 0, "0123456789abcdef" * 2)
    assert name.startswith("1970/01/01/[7]")
    assert len(name) == len("1970/01/01/[7]") + 32


def test_stream_name_in_a_log_group_that_functions_may_share_has_the_functions_name() -> None:
    assert new_log_stream(function_version(log_group="all-of-them"), 0, "00").startswith("1970/01/01/fn[$LATEST]")


async def test_entries_reach_the_sink_in_order_and_in_one_batch() -> None:
    batches: list[list[tuple[int, str]]] = []
    delivered = asyncio.Event()

    def sink(version, stream, entries) -> None:
        batches.append(list(entries))
        delivered.set()

    log = EnvironmentLog(function_version(), "s", sink, asyncio.get_running_loop(), lambda: 2.0, interval_s=0.001)
    log.write("START\n")
    log.output(b"hello\n")
    log.write(None)
    log.write("END\n")
    await delivered.wait()
    assert batches == [[(2000, "START\n"), (2000, "hello\n"), (2000, "END\n")]]


async def test_tail_is_the_last_4_kib() -> None:
    log = EnvironmentLog(function_version(), "s", lambda *_: None, asyncio.get_running_loop())
    log.write("before\n")
    log.open_tail()
    log.output(b"x" * 5000 + b"\nend\n")
    tail = log.close_tail()
    assert len(tail) == 4096 and tail.endswith(b"x\nend\n") and b"before" not in tail
    log.deliver()


async def test_tail_keeps_no_more_than_it_returns() -> None:
    log = EnvironmentLog(function_version(), "s", lambda *_: None, asyncio.get_running_loop())
    log.open_tail()
    log.output(b"")
    for number in range(2_000):
        log.output(b"%d\n" % number)
    assert log._tail is not None and sum(map(len, log._tail)) < 4096 + 5
    whole = b"".join(b"%d\n" % number for number in range(2_000))
    assert log.close_tail("end") == (whole + b"end\n")[-4096:]
    log.deliver()


def test_a_line_is_not_younger_than_the_frame_that_was_written_after_it() -> None:
    entries = OutputParser().feed(b"one\ntwo\n" + frame(b"[WARNING] three") + b"four\n", 9000)
    assert entries == [(5000, "one\n"), (5000, "two\n"), (5000, "[WARNING] three"), (9000, "four\n")]


async def test_the_order_of_time_is_the_order_of_writing() -> None:
    written: list[tuple[int, str]] = []
    moments = iter((9.0, 9.5))
    log = EnvironmentLog(
        function_version(),
        "s",
        lambda version, stream, entries: written.extend(entries),
        asyncio.get_running_loop(),
        now=lambda: next(moments),
    )
    log.output(b"one\n")
    log.output(frame(b"two", 8_000_000))
    log.write("START", 8.5)
    log.deliver()
    assert written == [(9000, "one\n"), (9000, "two"), (9000, "START")]


def test_a_closed_sink_drops_what_still_comes_and_its_successor_does_not() -> None:
    kept: list[str] = []
    first = ClosableSink(lambda version, stream, entries: kept.extend(message for _, message in entries))
    second = first.renewed()
    first(function_version(), "s", [(0, "a")])
    first.close()
    first(function_version(), "s", [(0, "b")])
    second(function_version(), "s", [(0, "c")])
    assert kept == ["a", "c"]


def log_of(*lines: str, level: str | None = "INFO", log_format: str = "JSON") -> tuple[list[str], list[str]]:
    """What of the function's `lines` goes to its log, and what an observer gets."""
    loop = asyncio.new_event_loop()
    written: list[str] = []
    observed: list[str] = []
    version = function_version(log_format=log_format, application_log_level=level)
    log = EnvironmentLog(version, "stream", lambda _, __, entries: written.extend(text for _, text in entries), loop)
    log.observer = lambda _, entries: observed.extend(text for _, text in entries)
    log.output("".join(line + "\n" for line in lines).encode())
    log.deliver()
    loop.close()
    return [text.removesuffix("\n") for text in written], [text.removesuffix("\n") for text in observed]


MOMENT = '"timestamp":"2024-11-02T16:51:31.587199Z"'
DEBUG_LINE = f'{{"level":"debug","msg":"my debug log",{MOMENT}}}'
ERROR_LINE = f'{{"level":"ERROR",{MOMENT}}}'


def test_json_lines_below_the_application_log_level_stay_out_of_the_log_but_not_from_observers() -> None:
    assert log_of(DEBUG_LINE, ERROR_LINE) == ([ERROR_LINE], [DEBUG_LINE, ERROR_LINE])
    assert log_of(DEBUG_LINE, level="DEBUG")[0] == [DEBUG_LINE]
    assert log_of(DEBUG_LINE, level="TRACE")[0] == [DEBUG_LINE]
    assert log_of(DEBUG_LINE, level=None, log_format="Text")[0] == [DEBUG_LINE]


def test_the_names_of_pythons_levels_are_known() -> None:
    warning, critical = f'{{"level":"WARNING",{MOMENT}}}', f'{{"level":"CRITICAL",{MOMENT}}}'
    assert log_of(warning, critical, level="ERROR")[0] == [critical]
    assert log_of(warning, level="WARN")[0] == [warning]


def test_json_lines_without_a_valid_level_or_timestamp_count_as_info() -> None:
    lines = [f'{{"level":"loud",{MOMENT}}}', f"{{{MOMENT}}}", '{"level":"error"}', '{"level":"debug","time":"today"}']
    assert log_of(*lines)[0] == lines
    assert log_of(*lines, level="WARN")[0] == []


def test_what_is_no_json_object_is_never_left_out() -> None:
    lines = ["plain", "{half", "[1]"]
    assert log_of(*lines, level="FATAL")[0] == lines
