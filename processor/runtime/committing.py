"""When to commit which dirty keys, and what follows a commit that fails: recovery of every partition."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from processor.errors import StateCorrupt
from processor.kafka.retry import CommitFailed, Patience
from processor.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processor.kafka.lookout import Lookout
    from processor.metrics import Metrics
    from processor.recovery.assignment import Assignment
    from processor.recovery.commit import Commits
    from processor.recovery.partition import Partition
    from processor.runtime.lifetime import Clock
    from processor.runtime.pacer import Pacer
    from processor.state.arena import Arena
    from processor.types import Int32Array

_LOG = get_logger()
_LEAVING_AT_ONCE: Final = 10_000  # records of one commit while partitions leave: between two it looks at the clock
_MOST_REBUILT: Final = 2


@dataclass(frozen=True, slots=True)
class Committing:
    """Every commit of the loop. Its methods raise CommitFailed and StateCorrupt: call them inside of `recovering`."""

    commits: Commits
    assignment: Assignment
    arena: Arena
    pacer: Pacer
    patience: Patience
    lookout: Lookout
    metrics: Metrics
    clock: Clock

    def commit_if_due(self) -> None:
        """Commits where the interval has passed."""
        now = self.clock.now()
        if self.pacer.is_due(now):
            # An even share of the dirty keys, so that those that became dirty together do not fall due together.
            queue, pace = self.arena.flush_queue, self.pacer.pace
            least = int(pace.share * queue.dirty_count)
            self._commit(queue.fallen_due(now, pace.snapshot_interval_seconds, least))

    def make_room(self) -> None:
        """Commits a quarter of the arena, so that other keys find room in it."""
        self._commit(self.arena.flush_queue.oldest(max(1, self.arena.size // 4)))

    def begin(self, new: list[Partition]) -> None:
        """Commits the first offsets and checkpoints of partitions that have none."""
        # A transaction is committed as a whole: what others have produced so far needs its offsets in it.
        self._commit(np.empty(0, np.int32))
        self.commits.begin(new, self.clock.now_ms())
        self.assignment.begun(new)

    def leave(self, numbers: list[int], deadline: float) -> None:
        """Writes all dirty keys of partitions that leave, so that the next owner has nothing to replay.

        After the deadline (monotonic seconds) it leaves some unwritten, and `replay_from` accounts for them.
        """
        for number in self.assignment.partitions.keys() & numbers:
            partition = self.assignment.partitions[number]
            partition.pass_end()
            partition.persisted = None  # so that it is part of the commit, changed or not
        leaving = self.arena.flush_queue.of_partitions(set(numbers))
        for start in range(0, max(1, len(leaving)), _LEAVING_AT_ONCE):
            if start and self.clock.now() > deadline:
                _LOG.warning("leaving.late", unwritten=len(leaving) - start)
                break
            self._commit(leaving[start : start + _LEAVING_AT_ONCE])

    def _commit(self, slots: Int32Array) -> None:
        started = self.clock.now()
        done = self.commits.commit(list(self.assignment.partitions.values()), slots, started, self.clock.now_ms())
        now = self.clock.now()
        if (gap := self.pacer.committed(started, now)) is not None:
            _LOG.warning("committed_late", seconds_since_the_last=round(gap, 3), commit_seconds=round(now - started, 3))
        if done.partitions:
            self.lookout.heard()
            self.patience.succeeded()
        self.metrics.committed(done, now - started)

    # What follows a failure -----------------------------------------------------------------------------------

    @contextmanager
    def recovering(self) -> Iterator[None]:
        """A commit that fails, or a store that is corrupt, ends the block: every partition starts its recovery."""
        try:
            yield
        except CommitFailed as error:
            _LOG.warning("commit.failed", error=str(error))
            self.patience.failed(error, self.clock.now())
            self.recover()
        except StateCorrupt as error:
            partition = self.assignment.owner_of(error)
            if partition is None or partition.rebuilt >= _MOST_REBUILT:
                raise  # nobody's, or the changelog itself brings the damage back
            _LOG.warning("store.corrupt", partition=partition.number, error=error.fact)
            self.recover()
            self.assignment.rebuild(partition.number, self.clock.now_ms())

    def recover(self) -> None:
        """Drops what was produced. Every partition starts its recovery, which asks Kafka what was committed."""
        self.metrics.commit_failed()
        self.commits.drop()
        self.assignment.rewind(self.clock.now())
