"""The one recovery: after a start, a crash, an abort, a rebalance or a lost disk.

    1. Open the store. One that is corrupt is wiped and rebuilt.
    2. Restore: read the changelog's tail up to the high watermark that was asked for after the assignment.
    3. Ask for the group's committed offset, stable, and let `resume_point` decide where to go on.
    4. Seek the input to `replay_from`; step what lies below the committed offset without publishing; run.

`advance` does one piece for each partition and returns: polling never starves, and other partitions go on. A partition
of a new group has neither offset nor checkpoint. Both are committed first, and its recovery starts again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from processor.errors import Incompatible, Unavailable
from processor.failpoints import failpoint
from processor.log import get_logger
from processor.recovery.partition import Move, Partition, Phase
from processor.recovery.restore import Restore
from processor.recovery.resume import ResumeFacts, ResumePoint, resume_point
from processor.types import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from processor.kafka.admin import Admin
    from processor.kafka.consumer import SampleConsumer
    from processor.metrics import Metrics
    from processor.recovery.changelog import ChangelogReader
    from processor.recovery.identity import Identity
    from processor.recovery.stores import Stores
    from processor.state.arena import Arena

_LOG = get_logger()
_SLICE: Final = 5_000  # changelog records restored between two polls
_PROGRESS_SECONDS: Final = 2.0
_READ_SECONDS: Final = 0.05  # a wait for the changelog while no partition has anything else to do


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide where a partition goes on, and how long its recovery may take."""

    exactly_once: bool
    from_latest: bool
    accept_gap: bool
    budget_seconds: float


@dataclass(slots=True)
class Recovery:
    """How far a partition's recovery has come. Times are monotonic seconds."""

    partition: Partition
    began: float
    restore: Restore | None = None
    point: ResumePoint | None = None
    tries: int = 0  # to learn the committed offset
    next_try: float = 0.0
    reported_at: float = 0.0
    replay_from: int = 0


@dataclass(slots=True)
class Recoveries:
    """The partitions in recovery. `now` is monotonic seconds, `now_ms` the wall clock."""

    consumer: SampleConsumer
    reader: ChangelogReader
    admin: Admin
    arena: Arena
    stores: Stores
    identity: Identity
    policy: Policy
    metrics: Metrics
    under_way: dict[int, Recovery] = field(default_factory=dict)

    def start(self, partition: Partition, now: float) -> None:
        """Starts a partition's recovery, or starts it again."""
        self.under_way[partition.number] = Recovery(partition, now)

    def forget(self, number: int) -> None:
        """Drops what memory has of a partition, and its recovery. The store keeps what was written."""
        recovery = self.under_way.pop(number, None)
        if recovery is not None and recovery.restore is not None:
            recovery.restore.cancel()
        self.arena.drop(number)

    def advance(self, now: float, now_ms: int, *, is_busy: bool) -> list[Partition]:
        """One bounded piece for each partition. is_busy: others take events meanwhile.

        Returns the partitions of a new group. Their first offset and checkpoint (their cursors) are to be committed;
        then `begun` is to be called for them.

        Raises:
            Incompatible: a human has to decide. Unavailable: a budget is spent.
        """
        if not self.under_way:
            return []
        for recovery in list(self.under_way.values()):
            if recovery.partition.phase is Phase.ASSIGNED:
                self._open(recovery, now, now_ms)
        self._begin_restores(now_ms)
        self._read_changelog(now, is_busy=is_busy)
        return self._resume_all(now, now_ms)

    # 1. ---------------------------------------------------------------------------------------------------------

    def _open(self, recovery: Recovery, now: float, now_ms: int) -> None:
        try:
            self.stores.open(recovery.partition, now_ms)
        except Unavailable:  # its lock is still held by a process that is closing
            if now - recovery.began > self.policy.budget_seconds:
                raise
            return
        recovery.partition.move(Move.OPENED)
        failpoint("assign.opened")

    # 2. ---------------------------------------------------------------------------------------------------------

    def _begin_restores(self, now_ms: int) -> None:
        fresh = [
            number
            for number, recovery in self.under_way.items()
            if recovery.restore is None and recovery.partition.phase is Phase.RESTORING
        ]
        if not fresh:
            return
        low = self.admin.low_watermarks(self.reader.topic, fresh)
        high = self.admin.high_watermarks(self.reader.topic, fresh)
        for number in fresh:
            recovery = self.under_way[number]
            store = recovery.partition.open_store
            recovery.restore = Restore(number, store, self.reader, low[number], high[number], now_ms)

    def _read_changelog(self, now: float, *, is_busy: bool) -> None:
        for number, tail in self.reader.read(0.0 if is_busy else _READ_SECONDS, _SLICE).items():
            recovery = self.under_way[number]
            assert recovery.restore is not None
            recovery.restore.take(tail)
            self.metrics.restored(tail.records)
            failpoint("assign.restoring")
            if now - max(recovery.reported_at, recovery.began) > _PROGRESS_SECONDS:
                recovery.reported_at = now
                percent = round(100 * recovery.restore.fraction)
                _LOG.info("restoring", partition=number, records=recovery.restore.records, percent=percent)

    def _finish_restore(self, recovery: Recovery, restore: Restore, now: float, now_ms: int) -> bool:
        """Whether the store is complete. It may hold what was deleted, where its restore took too long: once more."""
        number = restore.partition
        if restore.has_expired(now_ms, self.stores.tombstone_retention_ms):
            _LOG.warning("restore.expired", partition=number)
            restore.cancel()
            self.stores.empty(recovery.partition, now_ms)
            self.start(recovery.partition, now)
            return False
        restore.finish()
        _LOG.info("restored", partition=number, records=restore.records, seconds=round(now - recovery.began, 3))
        failpoint("assign.restored")
        return True

    # 3. ---------------------------------------------------------------------------------------------------------

    def _resume_all(self, now: float, now_ms: int) -> list[Partition]:
        new: list[Partition] = []
        for _, recovery in sorted(self.under_way.items()):
            if recovery.restore is None or not recovery.restore.is_complete or recovery.partition.takes_events:
                continue
            if recovery.point is None and now >= recovery.next_try:
                self._locate(recovery, recovery.restore, now, now_ms)
            if recovery.point is None:
                continue
            if recovery.point.is_new:
                new.append(recovery.partition)
            else:
                self._enter(recovery, recovery.point, now)
        return new

    def _locate(self, recovery: Recovery, restore: Restore, now: float, now_ms: int) -> None:
        """Finds the resume point, or leaves it to a later try."""
        if not recovery.tries and not self._finish_restore(recovery, restore, now, now_ms):
            return
        try:
            committed = self.consumer.committed(restore.partition, min(1.0, 0.1 * 2**recovery.tries))
        except TimeoutError as error:
            recovery.tries += 1
            recovery.next_try = now + 0.05
            if now - recovery.began > self.policy.budget_seconds:
                raise self._unknown_offset(restore.partition, error) from None
            return
        facts = self._facts(recovery.partition, committed)
        try:
            recovery.point = resume_point(facts)
        except Incompatible:
            if not self._has_been_overtaken(restore):
                raise
            _LOG.info("overtaken", partition=restore.partition)
            self.start(recovery.partition, recovery.began)
            return
        self._resume(recovery.partition, recovery.point, facts)

    def _facts(self, partition: Partition, committed: int | None) -> ResumeFacts:
        number, identity, policy = partition.number, self.identity, self.policy
        return ResumeFacts(
            partition=number,
            committed=committed,
            checkpoint=partition.open_store.checkpoint(),
            low=self.admin.low_watermarks(self.consumer.topic, [number])[number],
            high=self.admin.high_watermarks(self.consumer.topic, [number])[number],
            topic_id=identity.topic_id,
            partitions=identity.partitions,
            settings_hash=identity.settings_hash,
            former_hash=identity.former_hash,
            fingerprint=identity.fingerprint,
            exactly_once=policy.exactly_once,
            from_latest=policy.from_latest,
            accept_gap=policy.accept_gap,
        )

    def _has_been_overtaken(self, restore: Restore) -> bool:
        """Whether the changelog has grown since its end was asked for: another owner went on meanwhile.

        A process that was stopped past its session compares an old state with a new offset before it hears of its
        loss. No human has to decide that: it restores once more, or its partitions are revoked.
        """
        return self.admin.high_watermarks(self.reader.topic, [restore.partition])[restore.partition] > restore.target

    def _resume(self, partition: Partition, point: ResumePoint, facts: ResumeFacts) -> None:
        partition.persisted = facts.checkpoint
        partition.cursor = Cursor(point.replay_from, point.stream_time)
        partition.publish_from, partition.under_former_rules = point.publish_from, point.under_former_rules
        if point.missing:
            self.metrics.gap(point.missing)
            _LOG.warning("gap.accepted", partition=partition.number, events=point.missing)
        failpoint("assign.located")

    def _unknown_offset(self, number: int, error: TimeoutError) -> Unavailable:
        return Unavailable(
            f"The committed offset of partition {number} could not be learnt "
            f"within {self.policy.budget_seconds:.0f} s.",
            str(error),
            "A transaction of a former owner may hang: see `kafka-transactions.sh find-hanging`.",
        )

    def begun(self, partitions: Iterable[Partition]) -> None:
        """Their first offset and checkpoint are committed: their recovery starts again, and finds both."""
        for partition in partitions:
            self.start(partition, self.under_way[partition.number].began)
        failpoint("assign.started")

    # 4. ---------------------------------------------------------------------------------------------------------

    def _enter(self, recovery: Recovery, point: ResumePoint, now: float) -> None:
        """Seeks the input, and lets its events in."""
        partition = recovery.partition
        if not self.consumer.resume_at(partition.number, point.replay_from):
            return
        self.arena.attach(partition.number, partition.open_store)
        self.arena.flush_queue.stamp(partition.number, partition.cursor)
        partition.move(Move.LOCATED)
        recovery.replay_from = point.replay_from
        recovery.reported_at = now
        failpoint("assign.sought")
        self.see_replays(now)

    def see_replays(self, now: float) -> None:
        """Partitions whose replay has reached the committed offset run."""
        for number, recovery in list(self.under_way.items()):
            partition = recovery.partition
            if partition.phase is not Phase.REPLAYING:
                continue
            replayed = min(partition.cursor.offset, partition.publish_from) - recovery.replay_from
            if replayed:
                failpoint("assign.replaying")
            if partition.cursor.offset >= partition.publish_from:
                partition.move(Move.CAUGHT_UP)
                del self.under_way[number]
                seconds = round(now - recovery.began, 3)
                _LOG.info("running", partition=number, replayed_offsets=replayed, seconds=seconds)
                failpoint("assign.running")
            elif now - recovery.reported_at > _PROGRESS_SECONDS:
                recovery.reported_at = now
                left = partition.publish_from - partition.cursor.offset
                _LOG.info("replaying", partition=number, replayed_offsets=replayed, left_offsets=left)
