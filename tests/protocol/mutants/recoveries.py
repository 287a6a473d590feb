"""Recovery, broken on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from processor.recovery.commit import ExactlyOnce
from processor.recovery.partition import Move, Phase
from processor.recovery.recoveries import Recoveries
from processor.recovery.restore import Restore
from processor.recovery.resume import ResumeFacts, ResumePoint
from processor.recovery.snapshots import Snapshots
from processor.state.arena import NO_OFFSET, Arena
from processor.state.checkpoint import Checkpoint
from processor.stepping.pipeline import Pipeline
from processor.types import NO_TIME, Cursor
from protocol.abstract.client import CHANGELOG
from protocol.mutants.table import Mutation, mutant
from protocol.stand_ins import running

# Originals: while a mutant is in its place, a name of the module gives the mutant.
_resume = Recoveries._resume
_fill = Arena._fill
_init_restore = Restore.__init__
_step = Pipeline.step


@mutant("A restore goes up to the high watermark, not to the last stable offset.", "markers")
def restore_up_to_the_last_stable_offset() -> Mutation:
    """Which a read_committed client calls its watermark."""

    def init(self: Any, partition: int, store: Any, reader: Any, low: int, target: int, now_ms: int) -> None:
        local = store.local_checkpoint()
        stable_end = running().world.kafka.log(CHANGELOG, partition).stable_end
        target = max(stable_end, local.changelog_offset if local else 0)
        _init_restore(self, partition, store, reader, low, target, now_ms)

    def overtaken(self: Any, restore: Restore) -> bool:
        return running().world.kafka.log(CHANGELOG, restore.partition).stable_end > restore.target

    return {
        "processor.recovery.restore.Restore.__init__": init,
        "processor.recovery.recoveries.Recoveries._has_been_overtaken": overtaken,
    }


@mutant("The end of the changelog is asked for at every recovery.", "everything")
def target_of_the_last_time() -> Mutation:
    """The end of the changelog is asked for once, and not again at every recovery."""
    targets: dict[tuple[int, int], int] = {}

    def init(self: Any, partition: int, store: Any, reader: Any, low: int, target: int, now_ms: int) -> None:
        target = targets.setdefault((id(reader), partition), target)
        local = store.local_checkpoint()
        _init_restore(self, partition, store, reader, low, max(target, local.changelog_offset if local else 0), now_ms)

    return {"processor.recovery.restore.Restore.__init__": init}


@mutant("The committed offset is asked for stable.", "markers")
def unstable_offsets_are_taken() -> Mutation:
    """The committed offset as it is now, whatever transaction may still change it."""
    return {"protocol.abstract.kafka.Kafka.is_stable": lambda self, partition: True}


@mutant("The committed offset is asked for at every recovery, never remembered.", "aborts")
def publish_from_is_remembered() -> Mutation:
    def resume(self: Any, partition: Any, *arguments: Any) -> None:
        remembered = getattr(self.consumer, "remembered", {})
        self.consumer.remembered = remembered
        known = max(partition.publish_from, remembered.get(partition, 0))
        _resume(self, partition, *arguments)
        if known:
            partition.publish_from = known
        remembered[partition] = partition.publish_from

    def commit_and_remember(self: Any, *arguments: Any) -> Any:
        done = original(self, *arguments)
        for partition in arguments[0]:
            partition.publish_from = partition.committable
        return done

    original = ExactlyOnce.commit
    return {
        "processor.recovery.recoveries.Recoveries._resume": resume,
        "processor.recovery.commit.ExactlyOnce.commit": commit_and_remember,
    }


@mutant("A replay starts at `replay_from`, not at the committed offset.", "crashes")
def replay_starts_at_the_committed_offset() -> Mutation:
    return _entries(lambda entry: replace(entry, replay_from=max(entry.replay_from, entry.publish_from)))


@mutant("Below the committed offset a replay is silent.", "crashes")
def replays_are_published() -> Mutation:
    return _entries(lambda entry: replace(entry, publish_from=entry.replay_from))


@mutant("A checkpoint has the stream time at `replay_from`.", "times")
def stream_time_is_not_stored() -> Mutation:
    return _entries(lambda entry: replace(entry, stream_time=NO_TIME))


def _entries(change: Any) -> Mutation:
    from processor.recovery.resume import resume_point

    def changed(found: ResumeFacts) -> ResumePoint:
        entry = resume_point(found)
        return entry if entry.is_new else change(entry)

    return {"processor.recovery.recoveries.resume_point": changed}


@mutant("The stream time of a checkpoint is that at `replay_from`, not that of the partition's cursor.", "times")
def stream_time_of_the_cursor() -> Mutation:
    """The checkpoint has the stream time at the partition's own cursor, not at `replay_from`."""

    def checkpoint(self: Any, partition: Any, replay: Cursor) -> Checkpoint:
        return original(self, partition, Cursor(replay.offset, partition.cursor.stream_time))

    original = Snapshots._checkpoint
    return {"processor.recovery.snapshots.Snapshots._checkpoint": checkpoint}


@mutant("Events of a replay move the stream time.", "times")
def silent_events_do_not_move_the_stream_time() -> Mutation:
    def step(self: Any, work: Any, partitions: Any, most_rows: int) -> Any:
        before = {number: partition.cursor for number, partition in partitions.items()}
        produced = _step(self, work, partitions, most_rows)
        for number, partition in partitions.items():
            if partition.phase is Phase.REPLAYING and partition.cursor.offset <= partition.publish_from:
                partition.cursor = Cursor(partition.cursor.offset, before[number].stream_time)
        return produced

    return {"processor.stepping.pipeline.Pipeline.step": step}


@mutant("A rewind drops all rows of a partition.", "aborts")
def dirty_rows_are_kept_at_a_rewind() -> Mutation:
    def attach(self: Any, partition: int, source: Any) -> None:
        self._sources[partition] = source
        self._index.setdefault(partition, {})

    def rewind(self: Any, now: float) -> None:
        for number, partition in sorted(self.partitions.items()):
            recovery = self.recoveries.under_way.get(number)
            if recovery is not None and recovery.restore is not None:
                recovery.restore.cancel()
            self.consumer.pause(number)
            partition.move(Move.REWOUND)
            self.recoveries.start(partition, now)

    return {
        "processor.state.arena.Arena.attach": attach,
        "processor.recovery.assignment.Assignment.rewind": rewind,
    }


@mutant("An event at or below the offset of a record is not stepped again.", "replays")
def records_offset_is_ignored() -> Mutation:
    def fill(self: Any, slots: Any, records: Any) -> None:
        _fill(self, slots, records)
        self.offset[slots] = NO_OFFSET

    return {"processor.state.arena.Arena._fill": fill}


@mutant("Whose changelog has grown during its restore restores again, and asks no human.", "zombies")
def overtaken_processes_ask_a_human() -> Mutation:
    return {"processor.recovery.recoveries.Recoveries._has_been_overtaken": lambda *_: False}
