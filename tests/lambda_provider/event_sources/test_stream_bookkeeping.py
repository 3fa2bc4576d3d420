"""Whatever happens to a stream's batches, no record is lost, and each key keeps its order."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_provider.api import ResourceNotFoundException, TooManyRequestsException
from lambda_provider.event_sources.kinesis import KinesisSource
from lambda_runtime.types import InvocationResult

from .stream_fakes import FAILURE, SUCCESS, StreamWorld, answer, stream_mapping

OUTCOMES = st.sampled_from(["ok", "ok", "ok", "partial", "partial", "error", "throttle", "gone", "nonsense", "slow"])


class Function:
    """Processes records with outcomes that were drawn; when they are used up, everything succeeds."""

    def __init__(self, outcomes: list[str], *, windows: bool) -> None:
        self.outcomes = outcomes
        self.windows = windows
        self.done: list[str] = []
        self.keys_in_flight: list[set[str]] = []
        self.world: StreamWorld
        self.state_of_done: list[str] = []

    async def __call__(self, event: bytes, trace_header: str | None) -> InvocationResult:
        document = json.loads(event)
        records = document["Records"]
        keys = {record["kinesis"]["partitionKey"] for record in records}
        for others in self.keys_in_flight:
            assert not keys & others, "two batches have records of a key at once"
        self.keys_in_flight.append(keys)
        try:
            return await self.process(document, [record["kinesis"]["sequenceNumber"] for record in records])
        finally:
            self.keys_in_flight.remove(keys)

    async def process(self, document: dict[str, Any], numbers: list[str]) -> InvocationResult:
        outcome = self.outcomes.pop(0) if self.outcomes else "ok"
        if outcome == "throttle":
            raise TooManyRequestsException("Rate Exceeded.")
        if outcome == "gone":
            raise ResourceNotFoundException("Function not found")
        if outcome == "slow":
            await self.world.clock.sleep_until(self.world.clock.now() + 20)
        if outcome == "error":
            return FAILURE
        failures: list[dict[str, str]] = []
        if outcome == "nonsense" and numbers:
            return answer({"batchItemFailures": [{"itemIdentifier": "of another batch"}], "state": {}})
        if outcome == "partial":
            failures = [{"itemIdentifier": number} for number in numbers[len(numbers) // 2 :]]
        failed = {each["itemIdentifier"] for each in failures}
        self.done += [number for number in numbers if number not in failed]
        if not self.windows:
            return answer({"batchItemFailures": failures}) if failures else SUCCESS
        state = document["state"].get("done", []) + [number for number in numbers if number not in failed]
        if document["isFinalInvokeForWindow"]:
            assert not numbers
            self.state_of_done += state
        return answer({"batchItemFailures": failures, "state": {"done": state}})


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    windows = draw(st.booleans()) and draw(st.booleans())
    return {
        "outcomes": draw(st.lists(OUTCOMES, max_size=14)),
        "keys": draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=10)) * draw(st.integers(1, 4)),
        "settings": {
            "batch_size": draw(st.sampled_from([10, 3, 2, 1])),
            "batching_window_s": draw(st.sampled_from([0, 0, 5])),
            "parallelization_factor": draw(st.sampled_from([1, 1, 2, 10])),
            "bisect_on_error": draw(st.booleans()),
            "tumbling_window_s": 30 if windows else 0,
            "response_types": ("ReportBatchItemFailures",),
        },
        "limit": draw(st.sampled_from([6 * 1024 * 1024, 3000])),
        "fed": draw(st.booleans()),
        "burst": draw(st.sampled_from([1, 3, 10])),
        "splits": draw(st.sets(st.integers(0, 30), max_size=2)),
        "stops": draw(st.sets(st.integers(0, 30), max_size=3)),
        "cancels": draw(st.booleans()),
        "read_failures": draw(
            st.lists(
                st.sampled_from(["ExpiredIteratorException", "ProvisionedThroughputExceededException"]), max_size=3
            )
        ),
    }


@given(history=histories())
@settings(deadline=None)
def test_no_record_is_lost_or_out_of_order(history: dict[str, Any]) -> None:
    asyncio.run(live(history))


async def live(history: dict[str, Any]) -> None:
    windows = bool(history["settings"]["tumbling_window_s"])
    function = Function(history["outcomes"], windows=windows)
    world = function.world = StreamWorld(function, fed=history["fed"])
    world.kinesis.failures = history["read_failures"]
    asked = stream_mapping(**history["settings"])
    runs: list[asyncio.Future[None]] = []
    sent: list[tuple[str, str]] = []

    def begin() -> KinesisSource:
        source = world.source(asked, payload_limit_bytes=history["limit"])
        runs.append(asyncio.ensure_future(source.run()))
        return source

    source = begin()
    for place, key in enumerate(history["keys"]):
        sent.append((world.put(key), key))
        if place in history["splits"]:
            world.split()
        if place % history["burst"] == history["burst"] - 1:
            await world.step(10)
        if place in history["stops"]:
            source.stop()
            if history["cancels"]:
                runs[-1].cancel()
            await world.until(runs[-1].done)  # The manager waits, too.
            source.close()
            source = begin()
    for _ in range(600):
        if set(function.done) >= {number for number, _ in sent} and not function.keys_in_flight:
            break
        await world.step(60)
    source.stop()
    await world.until(runs[-1].done)
    source.close()
    for run in runs:
        assert run.cancelled() or run.exception() is None
    assert set(function.done) == {number for number, _ in sent}, "a record was lost"
    if not history["cancels"]:
        assert sorted(function.done) == sorted(number for number, _ in sent), "a record that was done came again"
    firsts = dict.fromkeys(function.done)
    of_key = dict(sent)
    by_key: dict[str, list[int]] = defaultdict(list)
    for number in firsts:
        by_key[of_key[number]].append(int(number))
    for key, numbers in by_key.items():
        assert numbers == sorted(numbers), f"the key {key} lost its order"
    # What is stored goes on behind the last record.
    again = Function([], windows=windows)
    world.function = again
    again.world = world
    source = begin()
    for _ in range(150 if windows else 10):
        await world.step(60)
    source.stop()
    await world.until(runs[-1].done)
    source.close()
    assert again.done == [], "a record came again after everything was done"
    if windows and not history["cancels"]:
        assert set(function.state_of_done + again.state_of_done) == {number for number, _ in sent}
