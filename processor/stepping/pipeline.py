"""From a batch to what is to be published: decode, cut into slices, cut into waves, step, encode.

Between two slices all states reflect exactly the events below their partition's cursor, so a commit may come there and
nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from processor.model.artifact import static_slots
from processor.stepping.publishing import Results
from processor.stepping.runs import THIN, cut_run
from processor.stepping.sequence import Samples, SequenceRules, classify
from processor.stepping.slices import Segment, Slicer, Work
from processor.stepping.static_inputs import wrong_statics
from processor.stepping.waves import cut_waves
from processor.types import NO_TIME, BadEvent, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processor.codec.events import EventDecoder
    from processor.model.artifact import Artifact
    from processor.model.engine import Engine
    from processor.recovery.partition import Partition
    from processor.state.arena import Arena
    from processor.stepping.publishing import Produced, Publisher
    from processor.stepping.runs import Run
    from processor.stepping.slices import Slice
    from processor.types import Batch, BoolArray, Float32Array, Int64Array, Rows

_SHORTEST_RUN = 4  # waves: fewer are stepped before a run is cut


class Pipeline:
    """Steps events; owns nothing but the arena's content. Components are arguments."""

    def __init__(
        self,
        artifact: Artifact,
        engine: Engine,
        arena: Arena,
        decoder: EventDecoder,
        publisher: Publisher,
        rules: SequenceRules,
    ) -> None:
        self._artifact, self._engine, self._arena = artifact, engine, arena
        self._decoder, self._publisher, self._rules = decoder, publisher, rules
        self._slicer = Slicer(arena, rules)
        self._statics = static_slots(artifact.inputs, artifact.layout)
        self._float_words = sum(slot.stop - slot.start for slot in artifact.layout if slot.dtype == "float32")

    def decode(self, batch: Batch, partitions: Mapping[int, Partition]) -> Work:
        """The batch as columns. A pure function of the batch, and of which partitions are under former rules."""
        edges = np.flatnonzero(np.diff(batch.partitions)) + 1
        starts = [0, *edges.tolist()]
        stops = [*edges.tolist(), len(batch)]
        numbers = batch.partitions[starts].tolist()
        # The former version knew no `max_behind_seconds`.
        former = frozenset(number for number in numbers if partitions[number].under_former_rules)
        events = self._decoder.decode(batch, without_behind=former)
        return Work(batch, events, list(map(Segment, numbers, starts, stops)))

    def step(self, work: Work, partitions: Mapping[int, Partition], most_rows: int) -> Produced:
        """Steps the next slice of `work`, at most `most_rows` events, and moves the partitions' cursors over it.

        Returns what is to be published. A slice without events means that the arena is full of dirty slots.
        """
        piece = self._slicer.cut(work, partitions, most_rows)
        results = Results.blank(self._artifact.outputs, piece)
        self._step_waves(piece, results)
        publish_from = {number: partitions[number].publish_from for number, _, _ in piece.segments}
        return self._publisher.publish(piece, results, publish_from)

    def _step_waves(self, piece: Slice, results: Results) -> None:
        stepped = np.flatnonzero(piece.slots >= 0)
        waves = [stepped[wave] for wave in cut_waves(piece.slots[stepped])]
        wide = next((rank for rank, rows in enumerate(waves) if len(rows) <= THIN), len(waves))
        for rows in waves[:wide]:
            self._step_wave(piece, rows, results)
        thin = waves[wide:]
        if len(thin) >= _SHORTEST_RUN:
            thin = self._step_run(piece, thin, results)
        for rows in thin:
            self._step_wave(piece, rows, results)

    # Event by event of a few keys -----------------------------------------------------------------------------

    def _step_run(self, piece: Slice, waves: list[Rows], results: Results) -> list[Rows]:
        """Steps the ordinary keys of some thin waves event by event. Returns what is left of the waves."""
        run, others = cut_run(waves, piece, self._rules, self._statics, self._arena)
        if run is None:
            return waves
        features = {name: column[run.rows] for name, column in piece.events.features.items()}
        outputs, states = self._engine.step_run(features, self._arena.words[run.slots], run.sizes)
        if not self._finite_rows(outputs, states).all():
            return waves  # an event that is bad after all leaves its key's state as it was: the waves know how
        before = self._arena.steps[run.slots]
        step = before[run.key] + 1 + np.repeat(np.arange(len(run.sizes)), run.sizes)
        results.predict(run.rows, outputs, step, self._engine.warm(states))
        self._keep_run(piece, run, states)
        return others

    def _keep_run(self, piece: Slice, run: Run, states: Float32Array) -> None:
        """Puts the state after each key's last event into the arena."""
        arena, events = self._arena, piece.events
        last = run.rows[run.last]
        times = np.where(arena.steps[run.slots] == 0, NO_TIME, arena.time[run.slots])
        np.maximum.at(times, run.key, events.time[run.rows])
        numbered = events.has_sequence[last]
        arena.words[run.slots] = states[run.last]
        arena.steps[run.slots] += run.counts
        arena.offset[run.slots] = piece.batch.offsets[last]
        arena.time[run.slots] = times
        arena.sequence[run.slots] = np.where(numbered, events.sequence[last], arena.sequence[run.slots])
        arena.has_sequence[run.slots] |= numbered
        arena.flush_queue.join(run.slots)

    # One event of many keys -----------------------------------------------------------------------------------

    def _step_wave(self, piece: Slice, rows: Rows, results: Results) -> None:
        """Steps `rows`, in which each key is at most once."""
        is_new = piece.batch.offsets[rows] > self._arena.offset[piece.slots[rows]]
        if not is_new.all():  # a replay meets events that a record reflects already
            rows = rows[is_new]
        forgets = piece.events.kind[rows] == Kind.FORGET
        if forgets.any():
            self._forget(piece, rows[forgets])
            rows = rows[~forgets]
        samples, duplicate = classify(self._rules, piece, rows, self._arena)
        if duplicate.any():
            results.duplicate[rows[duplicate]] = True
            samples = samples.only(~duplicate)
        if self._statics:
            wrong = wrong_statics(self._statics, piece.events, samples, self._arena)
            if wrong:
                results.bad.update(wrong)
                samples = samples.only(~np.isin(samples.rows, list(wrong)))
        if len(samples):
            self._advance(piece, samples, results)

    def _forget(self, piece: Slice, rows: Rows) -> None:
        """1. A null value: the keys are as if never seen, from these offsets on."""
        arena, slots = self._arena, piece.slots[rows]
        arena.words[slots] = arena.initial_state
        arena.steps[slots] = 0
        arena.time[slots] = NO_TIME
        arena.has_sequence[slots] = False
        arena.offset[slots] = piece.batch.offsets[rows]
        arena.flush_queue.join(slots)

    def _advance(self, piece: Slice, samples: Samples, results: Results) -> None:
        """6. Steps the samples, and takes each step whose outputs and new state are finite."""
        state = self._arena.words[samples.slots]
        state[samples.afresh] = self._arena.initial_state
        features = {name: column[samples.rows] for name, column in piece.events.features.items()}
        outputs, state = self._engine.step(features, state)
        finite = self._finite_rows(outputs, state)
        if not finite.all():
            for row in samples.rows[~finite].tolist():
                results.bad[row] = BadEvent(Reason.NOT_FINITE, "the model's prediction for this sample is not finite")
            samples, state = samples.only(finite), state[finite]
            outputs = {name: column[finite] for name, column in outputs.items()}
        steps = np.where(samples.afresh, 1, self._arena.steps[samples.slots] + 1)
        results.predict(samples.rows, outputs, steps, self._engine.warm(state))
        self._keep(piece, samples, state, steps)

    def _keep(self, piece: Slice, samples: Samples, state: Float32Array, steps: Int64Array) -> None:
        """Puts the new states into the arena; a sequence that has ended leaves an empty one."""
        arena, events, rows, slots = self._arena, piece.events, samples.rows, samples.slots
        ended = events.end[rows]
        if self._rules.length:
            ended = ended | (steps == self._rules.length)
        if ended.any():
            state[ended] = arena.initial_state
            steps[ended] = 0
        times, numbered = events.time[rows], events.has_sequence[rows]
        arena.words[slots] = state
        arena.steps[slots] = steps
        arena.offset[slots] = piece.batch.offsets[rows]
        arena.time[slots] = np.where(samples.afresh, times, np.maximum(arena.time[slots], times))
        arena.sequence[slots] = np.where(numbered, events.sequence[rows], arena.sequence[slots])
        arena.has_sequence[slots] = numbered | (arena.has_sequence[slots] & ~samples.idle)
        arena.flush_queue.join(slots)

    def _finite_rows(self, outputs: Mapping[str, Float32Array], state: Float32Array) -> BoolArray:
        """Which rows hold no NaN and no infinity. A sum shows in one pass that nothing does; only then it looks closer.

        Integer slots are left out: their bits are no floats.
        """
        columns = [state[:, : self._float_words], *outputs.values()]
        finite = np.ones(len(state), np.bool_)
        with np.errstate(over="ignore", invalid="ignore"):
            suspects = [column for column in columns if not np.isfinite(column.sum())]
        for column in suspects:
            finite &= np.isfinite(column).reshape(len(state), -1).all(axis=1)
        return finite
