"""The loop: poll, process, commit if due. Nothing else loops.

One thread does all of it. Rebalances come inside `poll`, between slices, so what they commit is always a prefix of
each partition. Whatever fails a commit ends in `_take_the_way_back`: what was produced is dropped, every partition is
rewound, and the rest of the batch in hand is dropped with them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from processor.errors import Incompatible, StateCorrupt
from processor.failpoints import failpoint
from processor.kafka.retry import CommitFailed, Patience
from processor.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.kafka.consumer import Polled, SampleConsumer
    from processor.kafka.lookout import Lookout
    from processor.kafka.producer import IdempotentProducer, TransactionalProducer
    from processor.metrics import Metrics
    from processor.recovery.assignment import Assignment
    from processor.recovery.commit import Commits
    from processor.state.arena import Arena
    from processor.stepping.pipeline import Pipeline
    from processor.stepping.publishing import Produced
    from processor.stepping.slices import Work
    from processor.types import Batch, Int32Array

_LOG = get_logger()
_LEAVING_AT_ONCE: Final = 10_000  # records of one commit while partitions leave: between two it looks at the clock
_LEAST_ROWS: Final = 64  # of a slice, however slow the model is
_LOOK_SECONDS: Final = 1.0
_LATE_SECONDS: Final = 1.0
_SLICES_AT_ONCE: Final = 10
_MOST_REBUILT: Final = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, how much at once, and how long."""

    commit_interval_seconds: float
    snapshot_interval_seconds: float
    leaving_seconds: float  # for the commits of partitions that leave, and of the shutdown
    gather_seconds: float = 0.0  # how long a poll waits for more than a few events
    most_events: int = 10_000  # of one poll

    @property
    def share(self) -> float:
        """Of all dirty keys, that each commit writes at the least."""
        return self.commit_interval_seconds / max(self.snapshot_interval_seconds, self.commit_interval_seconds)


@dataclass(frozen=True, slots=True)
class Topics:
    """Where predictions and dead letters go."""

    output: str
    dead_letter: str
    dead_letter_partitions: int


@dataclass(slots=True)
class Loop:
    """Everything that moves. Components are arguments; `service` wires them."""

    consumer: SampleConsumer
    producer: TransactionalProducer | IdempotentProducer
    pipeline: Pipeline
    assignment: Assignment
    commits: Commits
    arena: Arena
    metrics: Metrics
    pace: Pace
    topics: Topics
    patience: Patience
    lookout: Lookout
    clock: Callable[[], float] = time.monotonic
    heartbeat: float = 0.0
    _stopped_at: float | None = None
    _is_broken: bool = False
    _committed_at: float = 0.0
    _rows: int = 1_000  # of the next slice
    _looked_at: float = 0.0

    def stop(self) -> None:
        """Asks the loop to end after the piece in hand. May be called from a signal handler."""
        self._stopped_at = self._stopped_at or self.clock()

    def run(self) -> None:
        """Polls, processes and commits until `stop`, then hands everything over.

        Raises:
            ProcessorError: what no repetition mends; all that was committed stays as it is.
        """
        self._committed_at = self.clock()
        try:
            while self._stopped_at is None and self.lookout.refusal is None:
                self.heartbeat = self.clock()
                self._turn()
            self.stop()  # also where the look-out has found what the next start would refuse: it ends in peace
            _LOG.info("stopping")
            self.revoked(sorted(self.assignment.partitions))
        except BaseException as error:
            self._is_broken = True
            if isinstance(error, Incompatible):
                self.commits.abandon()
            raise
        if self.lookout.refusal is not None:
            raise self.lookout.refusal

    def _turn(self) -> None:
        polled = self._poll()
        if polled.batch is not None:
            self._process(polled.batch)
        if self._stopped_at is None:  # or some of the batch may be left, below the ends
            self._see_ends(polled)
        self._advance()
        self._commit_if_due()
        self._look()
        self.lookout.heed()

    def close(self) -> None:
        """Leaves the group. After a failure nothing is committed: memory may be in the middle of a slice."""
        self.consumer.close()

    # What others may ask, from their own threads -------------------------------------------------------------

    def heartbeat_age(self) -> float:
        """Seconds since the loop last came round; 0 before it has begun."""
        return self.clock() - self.heartbeat if self.heartbeat else 0.0

    def stopping_age(self) -> float:
        """Seconds since the loop was asked to end; 0 before."""
        return 0.0 if self._stopped_at is None else self.clock() - self._stopped_at

    def _look(self) -> None:
        """Once a second: cursors follow the input's ends, and the gauges are set.

        No oftener: the next commit persists a place that has moved, and not every marker is worth a commit.
        """
        now = self.clock()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        held = self.assignment.partitions
        for partition in held.values():
            partition.pass_end()
        ends = {number: self.consumer.known_end(number) for number in held}
        self.metrics.lag({n: max(0, end - held[n].committable) for n, end in ends.items() if end is not None})
        self.metrics.partitions(partition.phase for partition in held.values())
        self.metrics.keys(self.arena, self.arena.flush_queue.dirty_count)

    # Poll -----------------------------------------------------------------------------------------------------

    def _poll(self) -> Polled:
        started = self.clock()
        due = self._committed_at + self.pace.commit_interval_seconds - started
        settled = self.assignment.is_settled
        timeout, gather = (min(max(due, 0.0), 0.5), self.pace.gather_seconds) if settled else (0.005, 0.0)
        # What is polled is stepped before the next poll: of a slow model no more than some slices at a time.
        polled = self.consumer.poll(timeout, min(self.pace.most_events, _SLICES_AT_ONCE * self._rows), gather)
        self.metrics.stage("poll", self.clock() - started)
        if polled.batch is not None:
            self.lookout.heard()
        return polled

    def _see_ends(self, polled: Polled) -> None:
        self.assignment.see_replays(self.clock(), polled.ends)
        gone = [n for n, held in self.assignment.partitions.items() if held.takes_events and n in polled.unreadable]
        if gone:  # retention has overtaken us: the way back looks at what is left, and refuses or accepts the gap
            _LOG.warning("input.unreadable", partitions=gone, error=polled.unreadable[gone[0]])
            self._take_the_way_back()

    def _advance(self) -> None:
        try:
            new = self.assignment.advance(self.clock(), _now_ms())
            if new:
                # A transaction is committed as a whole: what others have produced so far needs its offsets in it.
                self._commit(np.empty(0, np.int32))
                self.commits.begin(new, _now_ms())
                self.assignment.begun(new)
        except CommitFailed as error:
            self._take_the_way_back(error)
        except StateCorrupt as error:
            self._rebuild(error)

    # Process --------------------------------------------------------------------------------------------------

    def _process(self, batch: Batch) -> None:
        """Steps a batch slice by slice, and commits between slices where that is due or the arena is full."""
        taken = self._taken(batch)
        if taken is None:
            return
        started = self.clock()
        work = self.pipeline.decode(taken, self.assignment.partitions)
        self.metrics.stage("decode", self.clock() - started)
        try:
            while len(work) and self._stopped_at is None:  # at a stop, what is left of it is nobody's yet
                if not self._step(work):
                    self._commit(self.arena.flush_queue.oldest(max(1, self.arena.size // 4)))
                self.assignment.see_replays(self.clock())
                if not self._commit_if_due():
                    return
        except CommitFailed as error:
            self._take_the_way_back(error)
        except StateCorrupt as error:
            self._rebuild(error)

    def _taken(self, batch: Batch) -> Batch | None:
        """Without what was polled of partitions that have left or were rewound meanwhile."""
        held = self.assignment.partitions
        numbers = np.unique(batch.partitions).tolist()
        least = {n: held[n].cursor.offset for n in numbers if n in held and held[n].takes_events}
        if len(least) == len(numbers) and all(
            batch.offsets[np.argmax(batch.partitions == n)] >= least[n] for n in numbers
        ):
            return batch
        limits = np.array([least.get(n, np.iinfo(np.int64).max) for n in batch.partitions.tolist()], np.int64)
        rows = np.flatnonzero(batch.offsets >= limits)
        return batch.take(rows) if len(rows) else None

    def _step(self, work: Work) -> bool:
        """Steps and sends one slice. False: the arena was too full of dirty keys to begin."""
        started = self.clock()
        produced = self.pipeline.step(work, self.assignment.partitions, self._rows)
        stepped = self.clock()
        if not produced.events:
            return False
        self._send(produced)
        self._set_rows(produced.events, stepped - started)
        self.metrics.stage("step", stepped - started)
        self.metrics.stage("produce", self.clock() - stepped)
        self.metrics.slice_done(produced)
        return True

    def _set_rows(self, events: int, seconds: float) -> None:
        """The next slice takes about half a commit interval. When a slice ends never changes what is computed."""
        fitting = int(events * self.pace.commit_interval_seconds / 2 / max(seconds, 1e-6))
        self._rows = min(self.pace.most_events, max(_LEAST_ROWS, fitting))

    def _send(self, produced: Produced) -> None:
        for number, keys, values in produced.predictions:
            self.producer.send(self.topics.output, number, keys, values)
        for number, _, letter in produced.dead_letters:
            partition = number % self.topics.dead_letter_partitions
            self.producer.send_one(self.topics.dead_letter, partition, letter.key, letter.value, letter.headers)

    # Commit ---------------------------------------------------------------------------------------------------

    def _commit_if_due(self) -> bool:
        """Commits where the interval has passed. False: it failed, and everything takes the way back."""
        now = self.clock()
        if now - self._committed_at < self.pace.commit_interval_seconds:
            return True
        try:
            # An even share of the dirty keys, so that those that became dirty together do not fall due together.
            least = int(self.pace.share * self.arena.flush_queue.dirty_count)
            self._commit(self.arena.flush_queue.fallen_due(now, self.pace.snapshot_interval_seconds, least))
        except CommitFailed as error:
            self._take_the_way_back(error)
            return False
        except StateCorrupt as error:
            self._rebuild(error)
            return False
        return True

    def _commit(self, slots: Int32Array) -> None:
        started = self.clock()
        done = self.commits.commit(list(self.assignment.partitions.values()), slots, started, _now_ms())
        now = self.clock()
        if (gap := now - self._committed_at) > max(_LATE_SECONDS, 10 * self.pace.commit_interval_seconds):
            _LOG.warning("committed_late", seconds_since_the_last=round(gap, 3), commit_seconds=round(now - started, 3))
        # From beginning to beginning, so that no event waits for longer; but half of the interval is for steps.
        self._committed_at = max(started, now - self.pace.commit_interval_seconds / 2)
        if done.partitions:
            self.lookout.heard()
            self.patience.succeeded()
        self.metrics.committed(done, now - started)

    def _take_the_way_back(self, error: CommitFailed | None = None) -> None:
        if error is not None:
            _LOG.warning("commit.failed", error=str(error))
            self.patience.failed(error, self.clock())
        self.metrics.commit_failed()
        self.commits.drop()
        self.assignment.rewind(self.clock())

    def _rebuild(self, error: StateCorrupt) -> None:
        partition = self.assignment.owner_of(error)
        if partition is None or partition.rebuilt >= _MOST_REBUILT:
            raise error  # nobody's, or the changelog itself brings the damage back
        _LOG.warning("store.corrupt", partition=partition.number, error=error.fact)
        self._take_the_way_back()
        self.assignment.rebuild(partition.number, _now_ms())

    # Rebalances, inside `poll` --------------------------------------------------------------------------------

    def assigned(self, numbers: list[int]) -> None:
        """Partitions come."""
        self.lookout.see_partitions(numbers)
        self.assignment.assigned(numbers, self.clock())

    def revoked(self, numbers: list[int]) -> None:
        """Partitions leave in peace: all their dirty keys are written, so that the next owner has nothing to replay.

        Past the deadline `replay_from` tells the truth. All are part of the commit: Kafka says if they were still held.
        """
        if not self._is_broken:
            failpoint("revoke.started")
            self._commit_leaving(numbers)
            failpoint("revoke.committed")
        self.assignment.close(numbers)
        failpoint("revoke.closed")

    def _commit_leaving(self, numbers: list[int]) -> None:
        deadline = (self._stopped_at or self.clock()) + self.pace.leaving_seconds
        for number in self.assignment.partitions.keys() & numbers:
            partition = self.assignment.partitions[number]
            partition.pass_end()
            partition.persisted = None  # so that it is part of the commit, changed or not
        try:
            leaving = self.arena.flush_queue.of_partitions(set(numbers))
            for start in range(0, max(1, len(leaving)), _LEAVING_AT_ONCE):
                if start and self.clock() > deadline:
                    _LOG.warning("leaving.late", unwritten=len(leaving) - start)
                    break
                self._commit(leaving[start : start + _LEAVING_AT_ONCE])
        except CommitFailed as error:
            self._take_the_way_back(error)
        except StateCorrupt as error:
            self._rebuild(error)

    def lost(self, numbers: list[int]) -> None:
        """Partitions were taken away: others may have them already. Nothing of theirs may be committed."""
        _LOG.warning("lost", partitions=sorted(numbers))
        if not self._is_broken:
            self._take_the_way_back()
        self.assignment.close(numbers)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
