"""The flush queue: which slots are dirty, since when, and from where a replay would have to start without them.

Each commit opens a bucket. A slot that becomes dirty joins the current one and stays there, however often it is
stepped, until it is written. A bucket remembers, for each partition, the cursor at which it was opened (or at which the
partition was stamped into it): no event below that cursor has made any slot of the bucket dirty. Invariants:

- `bucket_of[slot]` is the serial of the one bucket that holds the slot, or CLEAN.
- `replay_from(partition)` is at or below the first event that any record does not reflect yet.

The clock decides when a bucket falls due, and so when a record is written: never what is in it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from processor.types import Cursor, Int32Array, Int64Array

CLEAN: Final = -1


@dataclass(slots=True)
class Bucket:
    """Slots that became dirty between two commits; `cursors` holds the partitions' cursors at its opening."""

    serial: int
    opened_at: float  # seconds of a monotonic clock
    cursors: dict[int, Cursor]
    joined: list[Int32Array] = field(default_factory=list)
    dirty: dict[int, int] = field(default_factory=dict)  # partition -> slots that are still here


class FlushQueue:
    """Dirty slots in the order in which they will be written."""

    def __init__(self, partition_of: Int32Array, now: float) -> None:
        """partition_of: int32[slots], the arena's column of the slots' partitions; it is read, never written."""
        self.bucket_of: Int64Array = np.full(len(partition_of), CLEAN, dtype=np.int64)
        self._partition_of = partition_of
        self._buckets: deque[Bucket] = deque([Bucket(0, now, {})])

    @property
    def _current(self) -> Bucket:
        return self._buckets[-1]

    @property
    def dirty_count(self) -> int:
        return sum(sum(bucket.dirty.values()) for bucket in self._buckets)

    def turn(self, now: float, cursors: Mapping[int, Cursor]) -> None:
        """Opens a new bucket at these cursors, and lets go of the emptied ones."""
        serial = self._current.serial + 1
        self._buckets = deque(bucket for bucket in self._buckets if any(bucket.dirty.values()))
        self._buckets.append(Bucket(serial, now, dict(cursors)))

    def stamp(self, partition: int, cursor: Cursor) -> None:
        """Enters a partition's cursor into the current bucket, before its first step; it must have been dropped."""
        self._current.cursors[partition] = cursor

    def drop(self, partition: int) -> None:
        """Purges a partition from all buckets. To be called while the arena still knows its slots."""
        self.bucket_of[self._partition_of == partition] = CLEAN
        for bucket in self._buckets:
            bucket.dirty.pop(partition, None)
            bucket.cursors.pop(partition, None)
            # Freed slots are given to other keys, and may join the same bucket again: it would count them twice.
            bucket.joined = [slots[self.bucket_of[slots] == bucket.serial] for slots in bucket.joined]

    def join(self, slots: Int32Array) -> None:
        """These slots were stepped: those that were clean join the current bucket. `slots` are distinct."""
        new = slots[self.bucket_of[slots] == CLEAN]
        if len(new) == 0:
            return
        bucket = self._current
        self.bucket_of[new] = bucket.serial
        bucket.joined.append(new)
        counts = np.bincount(self._partition_of[new])
        for partition in np.flatnonzero(counts).tolist():
            bucket.dirty[partition] = bucket.dirty.get(partition, 0) + int(counts[partition])

    def fallen_due(self, now: float, interval: float, least: int = 0) -> Int32Array:
        """The dirty slots of all buckets that were opened `interval` seconds ago or earlier, oldest first.

        Where these are fewer than `least`, the next oldest join them until there are so many.
        """
        return self._oldest(least, now - interval)

    def oldest(self, least: int) -> Int32Array:
        """The `least` dirty slots of the oldest buckets, or all."""
        return self._oldest(least, -inf)

    def _oldest(self, least: int, due_before: float) -> Int32Array:
        found: list[Int32Array] = []
        count = 0
        for bucket in self._buckets:
            is_due = bucket.opened_at <= due_before
            if not is_due and count >= least:
                break
            slots = self._members([bucket])
            found.append(slots if is_due else slots[: least - count])
            count += len(slots)
        return np.concatenate(found) if found else np.empty(0, dtype=np.int32)

    def of_partitions(self, partitions: set[int]) -> Int32Array:
        """All dirty slots of some partitions, oldest first."""
        slots = self._members(self._buckets)
        return slots[np.isin(self._partition_of[slots], sorted(partitions))]

    def _members(self, buckets: Iterable[Bucket]) -> Int32Array:
        found = [slots[self.bucket_of[slots] == bucket.serial] for bucket in buckets for slots in bucket.joined]
        return np.concatenate(found) if found else np.empty(0, dtype=np.int32)

    def replay_from(self, partition: int, cursor: Cursor, written: Int32Array) -> Cursor:
        """Where a replay of the partition starts once the slots in `written` are persisted.

        The cursor of the oldest bucket that still holds another dirty slot of the partition; `cursor`, the partition's
        own, when none does.
        """
        leaving = self.bucket_of[written[self._partition_of[written] == partition]]
        for bucket in self._buckets:
            held = bucket.dirty.get(partition, 0)
            if held and held > np.count_nonzero(leaving == bucket.serial):
                return bucket.cursors[partition]
        return cursor

    def written(self, slots: Int32Array) -> None:
        """These slots' records are persisted: they are clean."""
        if len(slots) == 0:
            return
        by_serial = {bucket.serial: bucket for bucket in self._buckets}
        owners = self._partition_of[slots]
        base = int(owners.max()) + 1
        # One number for each pair of bucket and partition: numbers are counted fifty times as fast as pairs.
        cells, counts = np.unique(self.bucket_of[slots] * base + owners, return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            serial, partition = divmod(cell, base)
            by_serial[serial].dirty[partition] -= count
        self.bucket_of[slots] = CLEAN
