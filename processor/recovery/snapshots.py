"""The snapshot of a commit: what it persists of each partition, how it is sent, and how the stores take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from processor.errors import naming
from processor.failpoints import failpoint
from processor.state.checkpoint import Checkpoint, LocalCheckpoint
from processor.state.record import CHECKPOINT_KEY, encode_records, state_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from processor.kafka.client import KafkaError, Message
    from processor.kafka.producer import IdempotentProducer, TransactionalProducer
    from processor.recovery.identity import Identity
    from processor.recovery.partition import Partition
    from processor.recovery.sweeper import Sweeper
    from processor.state.arena import Arena
    from processor.types import Cursor, Int32Array


@dataclass(slots=True)
class PartitionSnapshot:
    """What a commit persists of one partition."""

    partition: Partition
    checkpoint: Checkpoint
    puts: list[tuple[bytes, bytes]] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    changelog_offset: int | None = None  # of the checkpoint's record, known from its delivery


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
