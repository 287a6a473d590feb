"""The flush queue and the arena, broken on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from processor.recovery.recoveries import Recoveries
from processor.state.arena import Arena
from processor.state.flush_queue import FlushQueue
from processor.types import Cursor
from protocol.mutants.table import Mutation, mutant

# Originals: while a mutant is in its place, a name of the module gives the mutant.
_stamp = FlushQueue.stamp
_turn = FlushQueue.turn
_wheel_drop = FlushQueue.drop
_wheel_join = FlushQueue.join


@mutant("`replay_from` is the cursor of the oldest bucket that still holds a dirty slot.", "crashes")
def replay_from_is_the_cursor() -> Mutation:
    return {"processor.state.flush_queue.FlushQueue.replay_from": lambda self, partition, cursor, written: cursor}


@mutant("A partition in recovery is stamped with the replay's own cursor, not with the committed offset.", "replays")
def stamp_is_the_committed_offset() -> Mutation:
    """At an assignment and at a rewind, where the replay's own cursor belongs."""

    def enter(self: Any, recovery: Any, point: Any, now: float) -> None:
        partition = recovery.partition
        cursor = partition.cursor
        original(self, recovery, point, now)
        if partition.takes_events:
            _stamp(self.arena.flush_queue, partition.number, Cursor(partition.publish_from, cursor.stream_time))

    original = Recoveries._enter
    return {"processor.recovery.recoveries.Recoveries._enter": enter}


@mutant("The stamp of a partition has the stream time there.", "late events")
def stamp_drops_the_stream_time() -> Mutation:
    return {
        "processor.state.flush_queue.FlushQueue.stamp": lambda self, number, cursor: _stamp(
            self, number, Cursor(cursor.offset)
        )
    }


@mutant("A recovery purges the partition from all buckets, and stamps it again.", "aborts")
def stamp_is_forgotten() -> Mutation:
    """The bucket keeps the cursor that the partition had in it before."""

    def stamp(self: Any, partition: int, cursor: Cursor) -> None:
        self._current.cursors.setdefault(partition, cursor)

    def drop(self: Any, partition: int) -> None:
        cursors = [dict(bucket.cursors) for bucket in self._buckets]
        _wheel_drop(self, partition)
        for bucket, known in zip(self._buckets, cursors, strict=True):
            bucket.cursors.update(known)

    return {"processor.state.flush_queue.FlushQueue.stamp": stamp, "processor.state.flush_queue.FlushQueue.drop": drop}


@mutant("A slot that was freed counts once in the bucket that it joins again.", "everything")
def freed_slots_stay_in_their_bucket() -> Mutation:
    def drop(self: Any, partition: int) -> None:
        joined = [list(bucket.joined) for bucket in self._buckets]
        _wheel_drop(self, partition)
        for bucket, known in zip(self._buckets, joined, strict=True):
            bucket.joined = known

    return {"processor.state.flush_queue.FlushQueue.drop": drop}


@mutant("A bucket has the partitions' cursors at its opening.", "replays")
def bucket_has_its_closing_cursor() -> Mutation:
    """Where the partition stands when the bucket is closed, not where it stood when it was opened."""

    def turn(self: Any, now: float, cursors: Any) -> None:
        self._current.cursors.update(cursors)
        _turn(self, now, cursors)

    return {"processor.state.flush_queue.FlushQueue.turn": turn}


@mutant("A dirty slot stays in its bucket until it is written.", "replays")
def stepped_again_joins_again() -> Mutation:
    """A dirty slot moves to the current bucket whenever it is stepped."""

    def join(self: Any, slots: Any) -> None:
        dirty = slots[self.bucket_of[slots] >= 0]
        if len(dirty):
            self.written(dirty)
        _wheel_join(self, slots)

    return {"processor.state.flush_queue.FlushQueue.join": join}


@mutant("A dirty slot is never evicted.", "crashes")
def dirty_slots_are_evicted() -> Mutation:
    def evict(self: Any, slots: Any) -> None:
        original(self, slots)

    def make_room(self: Any, wanted: list[bytes]) -> int:
        room = original_room(self, wanted)
        if room < len(wanted):
            old = np.flatnonzero((self.partition_of >= 0) & (self._used < self._slice)).astype(np.int32)
            if len(old):
                self.flush_queue.written(old[self.flush_queue.bucket_of[old] >= 0])
                evict(self, old)
                room = original_room(self, wanted)
        return room

    original, original_room = Arena._evict, Arena._make_room
    return {"processor.state.arena.Arena._make_room": make_room}
