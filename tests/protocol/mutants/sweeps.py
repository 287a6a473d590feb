"""Records that leave for good, at the wrong time."""

from __future__ import annotations

from typing import Any

import numpy as np

from processor.recovery.snapshots import Snapshots
from processor.state.arena import Arena
from processor.state.checkpoint import Checkpoint
from processor.state.record import decode_records
from processor.types import NO_TIME
from protocol.mutants.table import Mutation, mutant


def _swept(absent: Any) -> Mutation:
    """A sweeper that looks at all of a store, and takes what `absent` says of records, checkpoint, cursor and idle."""

    def sweep(self: Any, partition: Any, checkpoint: Checkpoint, arena: Arena) -> list[bytes]:
        found, _ = partition.open_store.sweep(None, 1_000)
        if not found:
            return []
        records = decode_records([value for _, value in found], arena.words.shape[1], checkpoint.fingerprint)
        gone = absent(self, partition, checkpoint, records, arena, [key[1:] for key, _ in found])
        return [key for (key, _), is_gone in zip(found, gone.tolist(), strict=True) if is_gone]

    return {"processor.recovery.sweeper.Sweeper.sweep": sweep}


def _is_absent(self: Any, stream_time: int, records: Any) -> Any:
    absent = records.empty & ~records.has_sequence
    if self._idle_ms and stream_time != NO_TIME:
        absent |= (records.time != NO_TIME) & (stream_time - records.time > self._idle_ms)
    return absent


def _is_clean(partition: Any, arena: Arena, keys: list[bytes]) -> Any:
    return np.array([not arena.is_dirty(partition.number, key) for key in keys])


# Originals: while a mutant is in its place, a name of the module gives the mutant.
_fill = Arena._fill
_of = Snapshots.of


@mutant("A record is deleted for good only once `replay_from` has passed its offset.", "sweeps")
def swept_before_replay_from_has_passed() -> Mutation:
    return _swept(
        lambda self, partition, checkpoint, records, arena, keys: (
            _is_absent(self, checkpoint.stream_time, records) & _is_clean(partition, arena, keys)
        )
    )


@mutant("Idle, for the sweeper, is by the stream time at `replay_from`.", "sweeps")
def swept_by_the_stream_time_of_the_cursor() -> Mutation:
    return _swept(
        lambda self, partition, checkpoint, records, arena, keys: (
            _is_absent(self, partition.cursor.stream_time, records)
            & (records.offset < checkpoint.replay_from)
            & _is_clean(partition, arena, keys)
        )
    )


@mutant("A dirty key is not swept.", "times")
def dirty_keys_are_swept() -> Mutation:
    return _swept(
        lambda self, partition, checkpoint, records, arena, keys: (
            _is_absent(self, checkpoint.stream_time, records) & (records.offset < checkpoint.replay_from)
        )
    )


@mutant("An empty record that has a sequence number is kept.", "times")
def numbered_keys_are_swept() -> Mutation:
    """Empty records that still have a sequence number."""
    return _swept(
        lambda self, partition, checkpoint, records, arena, keys: (
            (_is_absent(self, checkpoint.stream_time, records) | records.empty)
            & (records.offset < checkpoint.replay_from)
            & _is_clean(partition, arena, keys)
        )
    )


@mutant("A sequence that ended leaves an empty record.", "replays")
def ended_sequences_are_deleted() -> Mutation:
    """At once, in the cursor of an empty record."""

    def of(self: Any, partitions: Any, slots: Any) -> Any:
        snapshots = _of(self, partitions, slots)
        for snapshot in snapshots:
            ended = [key for key, value in snapshot.puts if value[1] == 2]
            snapshot.puts = [(key, value) for key, value in snapshot.puts if key not in ended]
            snapshot.deletes = [*snapshot.deletes, *ended]
        return snapshots

    return {"processor.recovery.snapshots.Snapshots.of": of}


@mutant("An empty record keeps the time of the sequence that ended.", "times")
def empty_records_forget_their_time() -> Mutation:
    def fill(self: Any, slots: Any, records: Any) -> None:
        _fill(self, slots, records)
        self.time[slots[records.empty]] = NO_TIME

    return {"processor.state.arena.Arena._fill": fill}
