"""The commit: one Kafka transaction of outputs, changelog records and input offsets; then the stores.

    1. The loop has produced the outputs and dead letters of the slices so far (the first one began the transaction).
    0. Ask for a look at the topics, again at each try. It runs while 2 and 3 do.
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

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol

from processor.failpoints import failpoint
from processor.kafka.retry import CommitFailed, GenerationChanged
from processor.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from processor.kafka.consumer import SampleConsumer
    from processor.kafka.lookout import Lookout
    from processor.kafka.producer import IdempotentProducer, TransactionalProducer
    from processor.recovery.partition import Partition
    from processor.recovery.snapshots import PartitionSnapshot, Snapshots
    from processor.types import Int32Array

_LOG = get_logger()
_GENERATIONS: Final = 3  # tries of one commit while the group moves on


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
