"""The order of `at_least_once`, broken on purpose."""

from __future__ import annotations

from typing import Any

from processor.failpoints import failpoint
from processor.recovery import commit
from processor.recovery.commit import AtLeastOnce
from processor.recovery.snapshots import PartitionSnapshot
from processor.state.checkpoint import LocalCheckpoint
from protocol.mutants.table import Mutation, mutant


@mutant("`at_least_once`: the changelog comes after the offsets.", "crashes", exactly_once=False)
def at_least_once_changelog_before_the_offsets() -> Mutation:
    def commits(self: Any, partitions: Any, slots: Any, now: float, now_ms: int) -> Any:
        held = [partition for partition in partitions if partition.takes_events]
        snapshots = self._snapshots.of(held, slots)
        if not snapshots:
            return commit.NOTHING
        self._outputs.flush()
        self._persist(snapshots, now_ms)
        self._consumer.commit(commit._offsets(snapshots))
        failpoint("commit.offsets")
        self._snapshots.clean(held, slots, now)
        return commit._measure(snapshots)

    return {"processor.recovery.commit.AtLeastOnce.commit": commits}


@mutant("`at_least_once`: the offsets come after the outputs.", "crashes", exactly_once=False)
def at_least_once_offsets_before_the_outputs() -> Mutation:
    original = AtLeastOnce.commit

    class Unflushed:
        def flush(self) -> None:
            pass

    def commits(self: Any, *arguments: Any) -> Any:
        outputs, self._outputs = self._outputs, Unflushed()
        try:
            done = original(self, *arguments)
        finally:
            self._outputs = outputs
        outputs.flush()
        return done

    return {"processor.recovery.commit.AtLeastOnce.commit": commits}


@mutant("`at_least_once`: the store comes after the changelog.", "crashes", exactly_once=False)
def at_least_once_store_before_the_changelog() -> Mutation:
    def persist(self: Any, snapshots: list[PartitionSnapshot], now_ms: int) -> None:
        for snapshot in snapshots:
            local = snapshot.partition.open_store.local_checkpoint()
            offset = local.changelog_offset if local else 0
            snapshot.partition.open_store.write(
                puts=snapshot.puts,
                deletes=snapshot.deletes,
                local=LocalCheckpoint(offset, now_ms),
                checkpoint=snapshot.checkpoint,
            )
        self._snapshots.send(self._changelog, snapshots)
        failpoint("commit.snapshot")
        self._changelog.flush()

    return {"processor.recovery.commit.AtLeastOnce._persist": persist}


@mutant("`at_least_once`: the first checkpoint comes before the first offset.", "crashes", exactly_once=False)
def at_least_once_first_offset_before_the_position() -> Mutation:
    def begin(self: Any, partitions: Any, now_ms: int) -> None:
        snapshots = self._snapshots.first(partitions)
        self._consumer.commit(commit._offsets(snapshots))
        self._persist(snapshots, now_ms)

    return {"processor.recovery.commit.AtLeastOnce.begin": begin}
