"""The partitions of this process: they come, recover, run, and leave. `recoveries` has the steps of a recovery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from processor.failpoints import failpoint
from processor.log import get_logger
from processor.recovery.partition import Move, Partition, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from processor.errors import StateCorrupt
    from processor.kafka.consumer import SampleConsumer
    from processor.recovery.recoveries import Recoveries
    from processor.recovery.stores import Stores

_LOG = get_logger()


@dataclass(frozen=True, slots=True)
class Assignment:
    """The partitions by their numbers. `now` is monotonic seconds, `now_ms` the wall clock."""

    consumer: SampleConsumer
    stores: Stores
    recoveries: Recoveries
    partitions: dict[int, Partition] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether every partition runs."""
        return all(partition.phase is Phase.RUNNING for partition in self.partitions.values())

    def assigned(self, numbers: Iterable[int], now: float) -> None:
        """Partitions were given to this process. The consumer has them, paused."""
        for number in sorted(numbers):
            self.partitions[number] = Partition(number)
            self.recoveries.start(self.partitions[number], now)
        _LOG.info("assigned", partitions=sorted(numbers), held=sorted(self.partitions))
        failpoint("assign.assigned")

    def advance(self, now: float, now_ms: int) -> list[Partition]:
        """One bounded piece of every recovery. Returns, and raises, as `Recoveries.advance`."""
        is_busy = any(partition.takes_events for partition in self.partitions.values())
        return self.recoveries.advance(now, now_ms, is_busy=is_busy)

    def begun(self, partitions: Iterable[Partition]) -> None:
        """See Recoveries."""
        self.recoveries.begun(partitions)

    def see_replays(self, now: float, ends: Mapping[int, int] | None = None) -> None:
        """Partitions whose replay is done run. After each slice, and where the consumer has reached an end.

        ends: the offset up to which the client has read a partition. Every event below it was stepped.
        """
        for number, end in (ends or {}).items():
            partition = self.partitions.get(number)
            if partition and partition.takes_events:
                partition.seen_end = end
                if partition.phase is Phase.REPLAYING:
                    partition.pass_end()
        self.recoveries.see_replays(now)

    def pass_ends(self) -> None:
        """All cursors pass the markers and aborted records behind the last event."""
        for partition in self.partitions.values():
            partition.pass_end()

    def rewind(self, now: float) -> None:
        """A commit failed: every partition recovers, from its store on."""
        for number, partition in sorted(self.partitions.items()):
            self.recoveries.forget(number)
            self.consumer.pause(number)
            partition.move(Move.REWOUND)
            self.recoveries.start(partition, now)
        if self.partitions:
            _LOG.warning("rewound", partitions=sorted(self.partitions))

    def owner_of(self, error: StateCorrupt) -> Partition | None:
        """Whose state is corrupt. A store's files name it by their path: a write to one store may flush another."""
        if error.path is None:
            return self.partitions.get(-1 if error.partition is None else error.partition)
        return next((held for number, held in self.partitions.items() if self.stores.path(number) == error.path), None)

    def rebuild(self, number: int, now_ms: int) -> None:
        """A partition's store is corrupt: it is emptied, to be restored from the changelog. After a `rewind`."""
        partition = self.partitions[number]
        partition.rebuilt += 1
        if partition.store is not None:
            self.stores.empty(partition, now_ms)
        _LOG.warning("store.rebuilding", partition=number)

    def close(self, numbers: Iterable[int]) -> None:
        """Partitions leave. Everything of theirs that is to be committed has been."""
        leaving = [number for number in sorted(numbers) if number in self.partitions]
        for number in leaving:
            partition = self.partitions.pop(number)
            self.recoveries.forget(number)
            self.stores.close(partition)
            partition.move(Move.LEFT)
        if leaving:
            _LOG.info("revoked", partitions=leaving, held=sorted(self.partitions))
