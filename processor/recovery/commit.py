"""The commit: one Kafka transaction of outputs, changelog records and input offsets; then the stores.

    0. Ask for a look at the topics. It runs while 2 and 3 do.
    1. The loop has produced the outputs and dead letters of the slices so far (the first one began the transaction).
    2. The snapshot that falls due: each key's record, then one checkpoint record for each partition that moved.
    3. Flush, and look at the deliveries.
    4. Send the input offsets to the transaction. Once the look has found the topics as they were: commit it.
    5. For each partition, one batch of the store: the records and the checkpoint.
    6. The rows are clean; the flush queue turns.

Nothing is persisted that is not committed: killed after 1, 2 or 3, the transaction aborts; killed after 4, the
changelog's tail brings the store up. Each gap is a failpoint, named `commit.*`. A step that fails repairs nothing here:
it raises `CommitFailed`, and every partition starts its recovery, which asks Kafka what was committed.

`at_least_once` has the same steps in another order (see `AtLeastOnce`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol

from processor.errors import naming
from processor.failpoints import failpoint
from processor.kafka.retry import CommitFailed, GenerationChanged
from processor.log import get_logger
from processor.state.checkpoint import Checkpoint, LocalCheckpoint
from processor.state.record import CHECKPOINT_KEY, encode_records, state_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from processor.kafka.client import KafkaError, Message
    from processor.kafka.consumer import SampleConsumer
    from processor.kafka.lookout import Lookout
    from processor.kafka.producer import IdempotentProducer, TransactionalProducer
    from processor.recovery.partition import Partition
    from processor.recovery.sweeper import Sweeper
    from processor.state.arena import Arena
    from processor.types import Cursor, Int32Array

_LOG = get_logger()
_GENERATIONS: Final = 3  # tries of one commit while the group moves on


@dataclass(frozen=True, slots=True)
class Identity:
    """The past that led to the states, as every checkpoint records it."""

    topic_id: str
    fingerprint: int
    settings_hash: int
    partitions: int = 0  # of the input topic
    former_hash: int | None = None  # of the same settings, as the former version counted them

    def hash_of(self, partition: Partition) -> int:
        """The settings' hash of a partition's checkpoints."""
        if partition.under_former_rules and self.former_hash is not None:
            return self.former_hash
        return self.settings_hash


@dataclass(slots=True)
class PartitionSnapshot:
    """What a commit persists of one partition."""

    partition: Partition
    checkpoint: Checkpoint
    puts: list[tuple[bytes, bytes]] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    changelog_offset: int | None = None  # of the checkpoint's record, known from its delivery


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did."""

    partitions: int
    records: int
    bytes: int


NOTHING = Committed(0, 0, 0)


class Commits(Protocol):
    """Both guarantees, as the loop sees them."""

    def commit(self, partitions: Iterable[Partition], slots: Int32Array, now: float, now_ms: int) -> Committed:
        """Persists the dirty `slots` and what has moved. `now`: monotonic seconds; `now_ms`: wall clock.

        Raises:
            CommitFailed: recovery follows.
            Unavailable: the brokers were away for longer than their budget.
        """

    def begin(self, partitions: Iterable[Partition], now_ms: int) -> None:
        """Commits a first offset and checkpoint for partitions that have neither: their cursors. Raises as `commit`."""

    def drop(self) -> None:
        """Gives up what was produced and not committed."""

    def abandon(self) -> None:
        """As `drop`, where the process ends: nothing can be produced any more."""


class Snapshots:
    """What both guarantees share: what is to be persisted, and how the stores take it."""

    def __init__(self, arena: Arena, identity: Identity, changelog_topic: str, sweeper: Sweeper) -> None:
        self._arena, self._identity, self._changelog = arena, identity, changelog_topic
        self._sweeper = sweeper

    def of(self, partitions: Sequence[Partition], slots: Int32Array) -> list[PartitionSnapshot]:
        """One for each partition whose checkpoint changes; in the order of their numbers."""
        flush_queue, arena = self._arena.flush_queue, self._arena
        owners = arena.partition_of[slots]
        snapshots = []
        swept = self._sweeper.next_partition(partitions)
        for partition in sorted(partitions, key=lambda partition: partition.number):
            mine = slots[owners == partition.number]
            checkpoint = self._checkpoint(partition, flush_queue.replay_from(partition.number, partition.cursor, slots))
            with naming(partition.number):
                deletes = self._sweeper.sweep(partition, checkpoint, arena) if partition is swept else []
            if checkpoint == partition.persisted and not len(mine) and not deletes:
                continue
            records = encode_records(arena.records_of(mine), self._identity.fingerprint)
            keys = state_keys(arena.keys_of(mine))
            snapshots.append(PartitionSnapshot(partition, checkpoint, list(zip(keys, records, strict=True)), deletes))
        return snapshots

    def first(self, partitions: Iterable[Partition]) -> list[PartitionSnapshot]:
        """The first checkpoints of partitions that have none."""
        return [PartitionSnapshot(partition, self._checkpoint(partition, partition.cursor)) for partition in partitions]

    def _checkpoint(self, partition: Partition, replay: Cursor) -> Checkpoint:
        return Checkpoint(
            replay_from=replay.offset,
            stream_time=replay.stream_time,
            committed=partition.committable,
            topic_id=self._identity.topic_id,
            fingerprint=self._identity.fingerprint,
            settings_hash=self._identity.hash_of(partition),
            partitions=self._identity.partitions,
        )

    def send(self, producer: TransactionalProducer | IdempotentProducer, snapshots: list[PartitionSnapshot]) -> None:
        """2. Records and deletions first, the checkpoint last."""
        for snapshot in snapshots:
            number = snapshot.partition.number
            if snapshot.puts or snapshot.deletes:
                keys = [key for key, _ in snapshot.puts] + snapshot.deletes
                values = [value for _, value in snapshot.puts] + [None] * len(snapshot.deletes)
                producer.send(self._changelog, number, keys, values)
            checkpoint = snapshot.checkpoint.to_bytes()
            producer.send_one(self._changelog, number, CHECKPOINT_KEY, checkpoint, on_delivery=_note_offset(snapshot))

    def store(self, snapshots: list[PartitionSnapshot], now_ms: int) -> None:
        """5. One batch of each partition's store, its checkpoint with it."""
        for index, snapshot in enumerate(snapshots):
            assert snapshot.changelog_offset is not None
            with naming(snapshot.partition.number):
                snapshot.partition.open_store.write(
                    puts=snapshot.puts,
                    deletes=snapshot.deletes,
                    local=LocalCheckpoint(snapshot.changelog_offset + 1, now_ms),
                    checkpoint=snapshot.checkpoint,
                )
            snapshot.partition.persisted = snapshot.checkpoint
            if index == 0:
                failpoint("commit.partly_stored")
        failpoint("commit.stored")

    def clean(self, partitions: Iterable[Partition], slots: Int32Array, now: float) -> None:
        """6. The rows are clean, and the flush queue turns."""
        self._arena.flush_queue.written(slots)
        self._arena.flush_queue.turn(now, {partition.number: partition.cursor for partition in partitions})
        failpoint("commit.done")


def _note_offset(snapshot: PartitionSnapshot):  # type: ignore[no-untyped-def]
    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            snapshot.changelog_offset = message.offset()

    return delivered


def _are_delivered(snapshots: list[PartitionSnapshot]) -> bool:
    """3. Whether every checkpoint has an offset in the changelog."""
    return all(snapshot.changelog_offset is not None for snapshot in snapshots)


def _offsets(snapshots: list[PartitionSnapshot]) -> Mapping[int, int]:
    return {snapshot.partition.number: snapshot.checkpoint.committed for snapshot in snapshots}


def _measure(snapshots: list[PartitionSnapshot]) -> Committed:
    records = sum(len(snapshot.puts) + len(snapshot.deletes) for snapshot in snapshots)
    size = sum(sum(map(len, chain.from_iterable(snapshot.puts))) for snapshot in snapshots)
    return Committed(len(snapshots), records, size)


class ExactlyOnce:
    """Outputs, dead letters, changelog records and input offsets in one transaction; then the stores."""

    def __init__(
        self, producer: TransactionalProducer, consumer: SampleConsumer, snapshots: Snapshots, lookout: Lookout
    ) -> None:
        self._producer, self._consumer, self._snapshots, self._lookout = producer, consumer, snapshots, lookout

    def commit(self, partitions: Iterable[Partition], slots: Int32Array, now: float, now_ms: int) -> Committed:
        """See Commits."""
        held = [partition for partition in partitions if partition.takes_events]
        snapshots = self._snapshots.of(held, slots)
        if not snapshots:
            return NOTHING
        failpoint("commit.produced")
        self._transact(snapshots)
        self._snapshots.store(snapshots, now_ms)
        self._snapshots.clean(held, slots, now)
        return _measure(snapshots)

    def begin(self, partitions: Iterable[Partition], now_ms: int) -> None:
        """See Commits."""
        snapshots = self._snapshots.first(partitions)
        self._transact(snapshots)
        self._snapshots.store(snapshots, now_ms)

    def _transact(self, snapshots: list[PartitionSnapshot]) -> None:
        """2 to 4. Again, with the same content, where the group has moved on to a new generation meanwhile.

        This member may hold the same partitions: they leave by a callback, which comes inside a poll.
        """
        outputs = self._producer.sent
        for _ in range(_GENERATIONS):
            try:
                self._try(snapshots)
            except GenerationChanged as error:
                _LOG.info("generation_changed", error=str(error))
                for snapshot in snapshots:
                    snapshot.changelog_offset = None
                self._producer.send_again(outputs)
            else:
                return
        self._try(snapshots)

    def _try(self, snapshots: list[PartitionSnapshot]) -> None:
        look = self._lookout.ask()  # all events of this commit were polled before
        self._snapshots.send(self._producer, snapshots)
        failpoint("commit.snapshot")
        self._producer.flush()
        if not _are_delivered(snapshots):
            raise self._producer.failed("a checkpoint was not delivered to the changelog")
        failpoint("commit.flushed")
        offsets = self._consumer.topic_partitions(_offsets(snapshots))
        if offsets:
            self._producer.send_offsets(offsets, self._consumer.group_metadata())
        failpoint("commit.offsets")
        self._lookout.confirm(look)
        self._producer.commit()
        failpoint("commit.committed")

    def drop(self) -> None:
        """See Commits."""
        self._producer.drop()

    def abandon(self) -> None:
        """See Commits."""
        self._producer.abandon()


class AtLeastOnce:
    """No transaction. Outputs are flushed, offsets committed, the changelog flushed, the stores written: in this order.

    A crash between any two of them repeats predictions, with the same bytes. The changelog never runs ahead of the
    group's offsets: checkpoints ahead of them would look like a group that somebody rewound.
    """

    def __init__(
        self,
        outputs: IdempotentProducer,
        changelog: IdempotentProducer,
        consumer: SampleConsumer,
        snapshots: Snapshots,
        lookout: Lookout,
    ) -> None:
        self._outputs, self._changelog = outputs, changelog
        self._consumer, self._snapshots, self._lookout = consumer, snapshots, lookout

    def commit(self, partitions: Iterable[Partition], slots: Int32Array, now: float, now_ms: int) -> Committed:
        """See Commits."""
        held = [partition for partition in partitions if partition.takes_events]
        snapshots = self._snapshots.of(held, slots)
        if not snapshots:
            return NOTHING
        failpoint("commit.produced")
        look = self._lookout.ask()
        self._outputs.flush()
        failpoint("commit.flushed")
        self._lookout.confirm(look)
        self._consumer.commit(_offsets(snapshots))
        failpoint("commit.offsets")
        self._persist(snapshots, now_ms)
        self._snapshots.clean(held, slots, now)
        return _measure(snapshots)

    def begin(self, partitions: Iterable[Partition], now_ms: int) -> None:
        """See Commits. Here the checkpoint comes first: without it, the offset would look like a lost changelog."""
        snapshots = self._snapshots.first(partitions)
        self._lookout.confirm(self._lookout.ask())
        self._persist(snapshots, now_ms)
        self._consumer.commit(_offsets(snapshots))

    def _persist(self, snapshots: list[PartitionSnapshot], now_ms: int) -> None:
        self._snapshots.send(self._changelog, snapshots)
        failpoint("commit.snapshot")
        self._changelog.flush()
        if not _are_delivered(snapshots):
            raise CommitFailed("a checkpoint was not delivered to the changelog")
        failpoint("commit.committed")
        self._snapshots.store(snapshots, now_ms)

    def drop(self) -> None:
        """See Commits. What was produced stays, and may come once more: at least once."""

    def abandon(self) -> None:
        """See Commits."""
