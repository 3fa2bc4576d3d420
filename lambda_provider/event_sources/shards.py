"""The shards of a stream: which of them may be read now, so that records of a key are processed in their order.

A shard that is split or merged ends, and its children begin where it ends: they are read when everything of their parents is
processed (streams/latest/dev/kinesis-using-sdk-java-after-resharding.html). The shards of a DynamoDB stream end by themselves
after some hours, and have one child.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as the stream lists it. `parents` are none, one (split), or two (merged)."""

    id: str
    parents: tuple[str, ...] = ()


def readable(listed: Iterable[Shard], finished: Collection[str]) -> list[Shard]:
    """The shards that are not finished and whose parents all are, or are not listed any more: their records are gone."""
    shards = list(listed)
    unfinished = {shard.id for shard in shards} - set(finished)
    return [shard for shard in shards if shard.id in unfinished and unfinished.isdisjoint(shard.parents)]
