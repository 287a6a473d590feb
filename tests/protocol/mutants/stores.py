"""What a store says of itself, broken on purpose."""

from __future__ import annotations

from typing import Any

from processor.recovery.assignment import Assignment
from processor.recovery.partition import Phase
from processor.recovery.restore import Restore
from processor.recovery.snapshots import PartitionSnapshot, _note_offset
from processor.runtime.committing import Committing
from processor.state.checkpoint import Checkpoint, LocalCheckpoint
from processor.state.record import CHECKPOINT_KEY, LOCAL_CHECKPOINT_KEY
from protocol.abstract.disk import AbstractStore, WriteBatch
from protocol.mutants.table import Mutation, mutant
from protocol.stand_ins import running


def _store_writes(order: Any) -> Mutation:
    """A store that makes one write of each of the parts that `order` gives."""

    def write(self: Any, puts: Any, deletes: Any, local: LocalCheckpoint | None, checkpoint: Checkpoint | None) -> None:
        records = [*puts, *((key, None) for key in deletes)]
        marks = [(LOCAL_CHECKPOINT_KEY, local.to_bytes())] if local else []
        checkpoints = [(CHECKPOINT_KEY, checkpoint.to_bytes())] if checkpoint else []
        for part in order(records, marks, checkpoints):
            batch = WriteBatch()
            batch.operations = list(part)
            self._db.write(batch)

    return {"processor.state.store.rocksdb.Store.write": write}


# Originals: while a mutant is in its place, a name of the module gives the mutant.
_take = Restore.take
_close = Assignment.close
_leave = Committing.leave


@mutant("A store writes the checkpoint last.", "crashes")
def stored_position_is_written_first() -> Mutation:
    return _store_writes(
        lambda records, marks, checkpoints: [[*checkpoints, *marks], *([record] for record in records)]
    )


@mutant("A store writes the local checkpoint last.", "crashes")
def mark_is_written_first() -> Mutation:
    return _store_writes(lambda records, marks, checkpoints: [marks, *([record] for record in records), checkpoints])


@mutant("The checkpoint is the last record of a partition's snapshot in the changelog.", "crashes", exactly_once=False)
def position_of_the_changelog_is_sent_first() -> Mutation:
    def send(self: Any, producer: Any, snapshots: list[PartitionSnapshot]) -> None:
        for snapshot in snapshots:
            number = snapshot.partition.number
            note = _note_offset(snapshot)
            producer.send_one(self._changelog, number, CHECKPOINT_KEY, snapshot.checkpoint.to_bytes(), on_delivery=note)
            keys = [key for key, _ in snapshot.puts] + snapshot.deletes
            values = [value for _, value in snapshot.puts] + [None] * len(snapshot.deletes)
            producer.send(self._changelog, number, keys, values)

    return {"processor.recovery.snapshots.Snapshots.send": send}


@mutant("A store that is complete as of longer ago than the changelog keeps deletions is wiped.", "disks")
def old_stores_are_trusted() -> Mutation:
    return {
        "processor.recovery.stores.open_store": lambda path, resources, now_ms, retention: _open_any(path, resources)
    }


def _open_any(path: Any, resources: Any) -> Any:
    return AbstractStore.open(path, resources)


@mutant("Slices of a restore do not renew *complete as of*.", "broken restores")
def slices_renew_completeness() -> Mutation:
    def take(self: Any, tail: Any) -> None:
        self._complete_as_of = self._began_ms
        _take(self, tail)

    return {"processor.recovery.restore.Restore.take": take}


@mutant("A restore is complete as of the time at which it began.", "stopped restores")
def complete_as_of_the_end_of_the_restore() -> Mutation:
    def finish(self: Any) -> None:
        self._reader.leave(self.partition)
        self._write({}, running().world.now_ms)

    return {"processor.recovery.restore.Restore.finish": finish}


@mutant("A store that is closed in recovery does not become complete by that.", "broken restores")
def closed_half_way_is_complete() -> Mutation:
    def close(self: Any, numbers: Any) -> None:
        numbers = list(numbers)
        _complete_now(self, numbers, is_half_way=True)
        _close(self, numbers)

    return {"processor.recovery.assignment.Assignment.close": close}


@mutant("Only a last commit proves that a partition was held until it left.", "stopped restores")
def partitions_that_leave_are_complete() -> Mutation:
    """As of now, whatever becomes of the commit."""

    def leave(self: Any, numbers: list[int], deadline: float) -> None:
        _complete_now(self.assignment, numbers, is_half_way=False)
        _leave(self, numbers, deadline)

    return {"processor.runtime.committing.Committing.leave": leave}


def _complete_now(assignment: Any, numbers: list[int], *, is_half_way: bool) -> None:
    for number in numbers:
        partition = assignment.partitions.get(number)
        if partition is None or partition.store is None or (partition.phase is Phase.RUNNING) == is_half_way:
            continue
        if (local := partition.store.local_checkpoint()) is not None:
            complete = LocalCheckpoint(local.changelog_offset, running().world.now_ms)
            partition.store.write([], [], complete, None)


@mutant("A restore that took longer than the changelog keeps deletions starts over.", "restores")
def expired_restores_are_trusted() -> Mutation:
    return {"processor.recovery.restore.Restore.has_expired": lambda *_: False}
