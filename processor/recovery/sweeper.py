"""The sweeper: walks the stores, a slice per commit, and finds the records that mean the same as none.

Such a record is empty and without a sequence number, or idle by the stream time at `replay_from`; and `replay_from`
has passed its offset. Deleted sooner, a replay would step the tail of a finished sequence into a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from processor.recovery.partition import Phase
from processor.state.record import STATE_TAG, decode_records
from processor.types import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.recovery.partition import Partition
    from processor.state.arena import Arena
    from processor.state.checkpoint import Checkpoint

_SLICE: Final = 200  # records looked at in one commit


class Sweeper:
    """Finds what may be deleted. It only saves space: no prediction depends on when it deletes, or whether."""

    def __init__(self, idle_ms: int) -> None:
        self._idle_ms = idle_ms
        self._cursors: dict[int, bytes | None] = {}
        self._turn = 0

    def next_partition(self, partitions: Sequence[Partition]) -> Partition | None:
        """Whose turn it is: one running partition a commit."""
        running = [partition for partition in partitions if partition.phase is Phase.RUNNING]
        self._turn += 1
        return running[self._turn % len(running)] if running else None

    def sweep(self, partition: Partition, checkpoint: Checkpoint, arena: Arena) -> list[bytes]:
        """Keys, as the store has them, that may be deleted in the commit that persists `checkpoint`."""
        found, cursor = partition.open_store.sweep(self._cursors.get(partition.number), _SLICE)
        self._cursors[partition.number] = cursor
        if not found:
            return []
        records = decode_records([value for _, value in found], arena.words.shape[1], checkpoint.fingerprint)
        absent = records.empty & ~records.has_sequence
        if self._idle_ms and checkpoint.stream_time != NO_TIME:
            timed = records.time != NO_TIME
            absent |= timed & (checkpoint.stream_time - records.time > self._idle_ms)
        absent &= records.offset < checkpoint.replay_from
        keys = [key for (key, _), gone in zip(found, absent.tolist(), strict=True) if gone]
        return [key for key in keys if not arena.is_dirty(partition.number, key.removeprefix(STATE_TAG))]
