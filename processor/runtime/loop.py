"""The loop: poll, step, commit if due. Nothing else loops.

One thread does all of it. Rebalances come inside a poll. A commit that fails drops the rest of the turn, and every
partition starts its recovery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from processor.errors import Incompatible
from processor.log import get_logger

if TYPE_CHECKING:
    from processor.kafka.consumer import Polled, SampleConsumer
    from processor.kafka.lookout import Lookout
    from processor.metrics import Metrics
    from processor.recovery.assignment import Assignment
    from processor.runtime.committing import Committing
    from processor.runtime.lifetime import Lifetime
    from processor.runtime.outputs import Outputs
    from processor.runtime.pacer import Pacer
    from processor.runtime.rebalances import Rebalances
    from processor.runtime.status import Status
    from processor.stepping.pipeline import Pipeline
    from processor.stepping.slices import Work
    from processor.types import Batch

_LOG = get_logger()
_LOOK_SECONDS: Final = 1.0


@dataclass(slots=True)
class Loop:
    """Everything that moves. Components are arguments; `wiring` connects them."""

    lifetime: Lifetime
    consumer: SampleConsumer
    pipeline: Pipeline
    outputs: Outputs
    assignment: Assignment
    committing: Committing
    rebalances: Rebalances
    pacer: Pacer
    lookout: Lookout
    status: Status
    metrics: Metrics
    _looked_at: float = 0.0

    def run(self) -> None:
        """Polls, steps and commits until the lifetime is over, then hands everything over.

        Raises:
            ProcessorError: what no repetition mends; all that was committed stays as it is.
        """
        self.pacer.start(self._now())
        try:
            while not self.lifetime.is_stopping and self.lookout.refusal is None:
                self.lifetime.beat()
                self.turn()
            self.lifetime.stop()  # also where the look-out has found what the next start would refuse
            _LOG.info("stopping")
            self.rebalances.revoked(sorted(self.assignment.partitions))
        except BaseException as error:
            self.lifetime.has_failed = True
            if isinstance(error, Incompatible):
                self.committing.commits.abandon()
            raise
        if self.lookout.refusal is not None:
            raise self.lookout.refusal

    def turn(self) -> None:
        """Once round."""
        polled = self._poll()
        with self.committing.recovering():
            if polled.batch is not None:
                self._step_batch(polled.batch)
            if not self.lifetime.is_stopping:  # or some of the batch may be left, below the ends
                self._see_ends(polled)
            self._advance_recoveries()
            self.committing.commit_if_due()
        self._look()
        self.lookout.heed()

    def _now(self) -> float:
        return self.lifetime.clock.now()

    # Poll -----------------------------------------------------------------------------------------------------

    def _poll(self) -> Polled:
        started = self._now()
        polled = self.consumer.poll(*self.pacer.poll(started, is_settled=self.assignment.is_settled))
        self.metrics.stage("poll", self._now() - started)
        if polled.batch is not None:
            self.lookout.heard()
        return polled

    def _see_ends(self, polled: Polled) -> None:
        self.assignment.see_replays(self._now(), polled.ends)
        gone = [n for n, held in self.assignment.partitions.items() if held.takes_events and n in polled.unreadable]
        if gone:  # retention has overtaken us: recovery looks at what is left, and refuses or accepts the gap
            _LOG.warning("input.unreadable", partitions=gone, error=polled.unreadable[gone[0]])
            self.committing.recover()

    # Step -----------------------------------------------------------------------------------------------------

    def _step_batch(self, batch: Batch) -> None:
        """Steps a batch slice by slice, and commits between slices where that is due or the arena is full."""
        taken = self._taken(batch)
        if taken is None:
            return
        started = self._now()
        work = self.pipeline.decode(taken, self.assignment.partitions)
        self.metrics.stage("decode", self._now() - started)
        while len(work) and not self.lifetime.is_stopping:  # what is left at a stop belongs to the next owner
            if not self._step_slice(work):
                self.committing.make_room()
            self.assignment.see_replays(self._now())
            self.committing.commit_if_due()

    def _taken(self, batch: Batch) -> Batch | None:
        """The batch without what was polled of partitions that have left or were rewound meanwhile."""
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

    def _step_slice(self, work: Work) -> bool:
        """Steps and sends one slice. False: the arena was too full of dirty keys to begin."""
        started = self._now()
        produced = self.pipeline.step(work, self.assignment.partitions, self.pacer.rows)
        stepped = self._now()
        if not produced.events:
            return False
        self.outputs.send(produced)
        self.pacer.stepped(produced.events, stepped - started)
        self.metrics.stage("step", stepped - started)
        self.metrics.stage("produce", self._now() - stepped)
        self.metrics.slice_done(produced)
        return True

    # Between the batches --------------------------------------------------------------------------------------

    def _advance_recoveries(self) -> None:
        new = self.assignment.advance(self._now(), self.lifetime.clock.now_ms())
        if new:
            self.committing.begin(new)

    def _look(self) -> None:
        """Once a second: cursors follow the input's ends, and the gauges are set.

        No oftener: the next commit persists a cursor that has moved, and not every marker is worth a commit.
        """
        now = self._now()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self.assignment.pass_ends()
            self.status.measure()
