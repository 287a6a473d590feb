"""Partitions come, are restored, replay without publishing, run, leave: the one recovery, a bounded piece at a time.

    1. Open the store. One that is corrupt is wiped and rebuilt.
    2. Restore: the changelog's tail up to the high watermark that was asked for after the assignment.
    3. Ask for the group's committed offset, stable, and let `resume_point` decide where to go on.
    4. Seek the input to `replay_from`; step what lies below the committed offset without publishing; run.

A crash, an abort, a rebalance, a lost disk begin at 1 or 2. `advance` does one piece for each partition and returns:
polling never starves, and other partitions go on. What a new group must commit first (offset, checkpoint) is returned.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from processor.errors import Incompatible, StateCorrupt, Unavailable
from processor.failpoints import failpoint
from processor.log import get_logger
from processor.recovery.partition import Move, Partition, Phase
from processor.recovery.restore import Restore, open_store
from processor.recovery.resume import ResumeFacts, ResumePoint, resume_point
from processor.state.store import Store
from processor.types import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from processor.kafka.admin import Admin
    from processor.kafka.consumer import SampleConsumer
    from processor.metrics import Metrics
    from processor.recovery.changelog import ChangelogReader
    from processor.recovery.commit import Identity
    from processor.state.arena import Arena
    from processor.state.store import StateDirectory, StoreResources

_LOG = get_logger()
_SLICE: Final = 5_000  # changelog records restored between two polls
_PROGRESS_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide where a partition goes on, and how long it may take."""

    exactly_once: bool
    from_latest: bool
    accept_gap: bool
    tombstone_retention_ms: int
    budget_seconds: float


@dataclass(slots=True)
class _Recovery:
    """What a partition in recovery has reached so far."""

    began: float
    restore: Restore | None = None
    entry: ResumePoint | None = None
    tries: int = 0  # to learn the committed offset
    next_try: float = 0.0
    said_at: float = 0.0
    replay_from: int = 0


@dataclass(slots=True)
class Assignment:
    """The partitions of this process. `now` is monotonic seconds, `now_ms` the wall clock."""

    consumer: SampleConsumer
    reader: ChangelogReader
    admin: Admin
    arena: Arena
    directory: StateDirectory
    resources: StoreResources
    identity: Identity
    policy: Policy
    metrics: Metrics
    partitions: dict[int, Partition] = field(default_factory=dict)
    _ways: dict[int, _Recovery] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether every partition runs."""
        return all(partition.phase is Phase.RUNNING for partition in self.partitions.values())

    def assigned(self, numbers: Iterable[int], now: float) -> None:
        """Partitions were given to this process. The consumer has them, paused."""
        for number in sorted(numbers):
            self.partitions[number] = Partition(number)
            self._ways[number] = _Recovery(now)
        _LOG.info("assigned", partitions=sorted(numbers), held=sorted(self.partitions))
        failpoint("assign.assigned")

    def rewind(self, now: float) -> None:
        """A commit failed: every partition takes the way back, from its store on."""
        for number, partition in sorted(self.partitions.items()):
            self._forget_progress(number)
            self.consumer.pause(number)
            partition.move(Move.REWOUND)
            self._ways[number] = _Recovery(now)
        if self.partitions:
            _LOG.warning("rewound", partitions=sorted(self.partitions))

    def rebuild(self, number: int, now_ms: int) -> None:
        """A partition's store is corrupt: it is wiped, to be restored from the changelog. After a `rewind`."""
        partition = self.partitions[number]
        partition.rebuilt += 1
        if partition.store is not None:
            self._empty(partition, now_ms)
        _LOG.warning("store.rebuilding", partition=number)

    def owner_of(self, error: StateCorrupt) -> Partition | None:
        """Whose state is corrupt. A store's files tell it themselves: a write to one store may flush another."""
        if error.path is None:
            return self.partitions.get(-1 if error.partition is None else error.partition)
        return next((partition for n, partition in self.partitions.items() if self._path(n) == error.path), None)

    def _discard(self, number: int, store: Store) -> None:
        """Closes a store, which may fail where it is damaged, and deletes it."""
        with suppress(StateCorrupt):
            store.close()
        Store.wipe(self._path(number))

    def close(self, numbers: Iterable[int]) -> None:
        """Partitions leave. Everything of theirs that is to be committed has been."""
        leaving = [number for number in sorted(numbers) if number in self.partitions]
        for number in leaving:
            partition = self.partitions.pop(number)
            self._forget_progress(number)
            self._ways.pop(number, None)
            store, partition.store = partition.store, None
            if store is not None:
                try:
                    store.close()
                except StateCorrupt as error:  # whoever has the partition next restores it from its changelog
                    _LOG.warning("store.corrupt", partition=number, error=error.fact)
                    self._discard(number, store)
            partition.move(Move.LEFT)
        if leaving:
            _LOG.info("revoked", partitions=leaving, held=sorted(self.partitions))

    def _forget_progress(self, number: int) -> None:
        way = self._ways.get(number)
        if way is not None and way.restore is not None:
            way.restore.cancel()
        self.arena.drop(number)

    # One piece of the way -------------------------------------------------------------------------------------

    def advance(self, now: float, now_ms: int) -> list[Partition]:
        """One bounded piece for each partition that is on its way.

        Returns the partitions of a new group. Their first offset and checkpoint (their cursors) are to be committed;
        then `begun` is to be called for them.

        Raises:
            Incompatible: a human has to decide. Unavailable: a budget is spent.
        """
        if not self._ways:
            return []
        for number in [n for n in self._ways if self.partitions[n].phase is Phase.ASSIGNED]:
            self._open_within_budget(self.partitions[number], now, now_ms)
        self._begin_restores(now_ms)
        self._read_changelog(now)
        return self._locate_all(now, now_ms)

    def _path(self, number: int) -> Path:
        return self.directory.store_path(number)

    def _open_within_budget(self, partition: Partition, now: float, now_ms: int) -> None:
        try:
            self._open(partition, now_ms)
        except Unavailable:  # its lock is still held by a process that is closing
            if now - self._ways[partition.number].began > self.policy.budget_seconds:
                raise
            return
        partition.move(Move.OPENED)
        failpoint("assign.opened")

    def _open(self, partition: Partition, now_ms: int) -> None:
        path = self._path(partition.number)
        try:
            partition.store = open_store(path, self.resources, now_ms, self.policy.tombstone_retention_ms)
        except StateCorrupt as error:
            _LOG.warning("store.corrupt", partition=partition.number, error=error.fact)
            Store.wipe(path)
            partition.store = open_store(path, self.resources, now_ms, self.policy.tombstone_retention_ms)

    def _empty(self, partition: Partition, now_ms: int) -> None:
        self._discard(partition.number, partition.open_store)
        self._open(partition, now_ms)

    def _begin_restores(self, now_ms: int) -> None:
        fresh = [
            number
            for number, way in self._ways.items()
            if way.restore is None and self.partitions[number].phase is Phase.RESTORING
        ]
        if not fresh:
            return
        low = self.admin.low_watermarks(self.reader.topic, fresh)
        high = self.admin.high_watermarks(self.reader.topic, fresh)
        for number in fresh:
            store = self.partitions[number].open_store
            self._ways[number].restore = Restore(number, store, self.reader, low[number], high[number], now_ms)

    def _read_changelog(self, now: float) -> None:
        busy = any(partition.takes_events for partition in self.partitions.values())
        for number, tail in self.reader.read(0.0 if busy else 0.05, _SLICE).items():
            way = self._ways[number]
            assert way.restore is not None
            way.restore.take(tail)
            self.metrics.restored(tail.records)
            failpoint("assign.restoring")
            if now - max(way.said_at, way.began) > _PROGRESS_SECONDS:
                way.said_at = now
                percent = round(100 * way.restore.fraction)
                _LOG.info("restoring", partition=number, records=way.restore.records, percent=percent)

    def _locate_all(self, now: float, now_ms: int) -> list[Partition]:
        new: list[Partition] = []
        for number, way in sorted(self._ways.items()):
            if way.restore is None or not way.restore.is_complete or self.partitions[number].takes_events:
                continue
            if way.entry is None and now >= way.next_try:
                self._locate(self.partitions[number], way, way.restore, now, now_ms)
            if way.entry is None:
                continue
            if way.entry.is_new:
                new.append(self.partitions[number])
            else:
                self._enter(self.partitions[number], way, way.entry, now)
        return new

    def _locate(self, partition: Partition, way: _Recovery, restore: Restore, now: float, now_ms: int) -> None:
        number = partition.number
        if not way.tries:
            if restore.has_expired(now_ms, self.policy.tombstone_retention_ms):
                _LOG.warning("restore.expired", partition=number)
                restore.cancel()
                self._empty(partition, now_ms)
                self._ways[number] = _Recovery(now)
                return
            restore.finish()
            _LOG.info("restored", partition=number, records=restore.records, seconds=round(now - way.began, 3))
            failpoint("assign.restored")
        try:
            committed = self.consumer.committed(number, min(1.0, 0.1 * 2**way.tries))
        except TimeoutError as error:
            way.tries += 1
            way.next_try = now + 0.05
            if now - way.began > self.policy.budget_seconds:
                raise Unavailable(
                    f"The committed offset of partition {number} could not be learnt "
                    f"within {self.policy.budget_seconds:.0f} s.",
                    str(error),
                    "A transaction of a former owner may hang: see `kafka-transactions.sh find-hanging`.",
                ) from None
            return
        found = ResumeFacts(
            partition=number,
            committed=committed,
            checkpoint=partition.open_store.checkpoint(),
            low=self.admin.low_watermarks(self.consumer.topic, [number])[number],
            high=self.admin.high_watermarks(self.consumer.topic, [number])[number],
            topic_id=self.identity.topic_id,
            partitions=self.identity.partitions,
            settings_hash=self.identity.settings_hash,
            former_hash=self.identity.former_hash,
            fingerprint=self.identity.fingerprint,
            exactly_once=self.policy.exactly_once,
            from_latest=self.policy.from_latest,
            accept_gap=self.policy.accept_gap,
        )
        try:
            entry = resume_point(found)
        except Incompatible:
            if not self._has_been_overtaken(restore):
                raise
            _LOG.info("overtaken", partition=number)
            self._ways[number] = _Recovery(way.began)
            return
        way.entry, partition.persisted = entry, found.checkpoint
        partition.cursor = Cursor(entry.replay_from, entry.stream_time)
        partition.publish_from, partition.under_former_rules = entry.publish_from, entry.under_former_rules
        if entry.missing:
            self.metrics.gap(entry.missing)
            _LOG.warning("gap.accepted", partition=number, events=entry.missing)
        failpoint("assign.located")

    def _has_been_overtaken(self, restore: Restore) -> bool:
        """Whether the changelog has grown since its end was asked for: another owner went on meanwhile.

        A process stopped past its session compares an old state with a new offset before it hears of its loss. No
        human has to decide that: it restores once more, or is told.
        """
        return self.admin.high_watermarks(self.reader.topic, [restore.partition])[restore.partition] > restore.target

    def begun(self, partitions: Iterable[Partition]) -> None:
        """Their first offset and checkpoint are committed: they take the way back once more, and find both."""
        for partition in partitions:
            way = self._ways[partition.number]
            self._ways[partition.number] = _Recovery(way.began)
        failpoint("assign.started")

    def _enter(self, partition: Partition, way: _Recovery, entry: ResumePoint, now: float) -> None:
        """Seeks the input, and lets its events in."""
        if not self.consumer.resume_at(partition.number, entry.replay_from):
            return
        self.arena.attach(partition.number, partition.open_store)
        self.arena.flush_queue.stamp(partition.number, partition.cursor)
        partition.move(Move.LOCATED)
        way.replay_from = entry.replay_from
        way.said_at = now
        failpoint("assign.sought")
        self.see_replays(now)

    # Replays ---------------------------------------------------------------------------------------------------

    def see_replays(self, now: float, ends: Mapping[int, int] | None = None) -> None:
        """Partitions whose replay has reached the committed offset run. After each slice, and where an end was seen.

        ends: the offset up to which the client has read a partition. Every event below it was stepped.
        """
        for number, end in (ends or {}).items():
            partition = self.partitions.get(number)
            if partition and partition.takes_events:
                partition.seen_end = end
                if partition.phase is Phase.REPLAYING:
                    partition.pass_end()
        for number, way in list(self._ways.items()):
            partition = self.partitions[number]
            if partition.phase is not Phase.REPLAYING:
                continue
            replayed = min(partition.cursor.offset, partition.publish_from) - way.replay_from
            if replayed:
                failpoint("assign.replaying")
            if partition.cursor.offset >= partition.publish_from:
                partition.move(Move.CAUGHT_UP)
                del self._ways[number]
                seconds = round(now - way.began, 3)
                _LOG.info("running", partition=number, replayed_offsets=replayed, seconds=seconds)
                failpoint("assign.running")
            elif now - way.said_at > _PROGRESS_SECONDS:
                way.said_at = now
                left = partition.publish_from - partition.cursor.offset
                _LOG.info("replaying", partition=number, replayed_offsets=replayed, left_offsets=left)
