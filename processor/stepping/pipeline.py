"""From a batch to what is to be published: decode, cut into slices, cut into waves, step, encode.

A slice is an offset prefix of each partition of the batch: the batch is ordered by partition, and a slice is a range
of it. Between two slices all states reflect exactly the events below their partition's cursor, so a commit may come
there and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from processor.model.artifact import static_slots
from processor.stepping.publishing import Answers
from processor.stepping.runs import THIN, cut_run
from processor.stepping.sequence import SequenceRules, classify, late, stream_times
from processor.stepping.static_inputs import wrong_statics
from processor.stepping.waves import cut_waves
from processor.types import NO_TIME, BadEvent, Cursor, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from processor.codec import EventDecoder
    from processor.model.artifact import Artifact
    from processor.model.engine import Engine
    from processor.recovery.partition import Partition
    from processor.state.arena import Arena
    from processor.stepping.publishing import Produced, Publisher
    from processor.types import Batch, BoolArray, Events, Float32Array, Int32Array, Int64Array

_SHORTEST_RUN = 4  # waves: fewer are stepped before a run is cut


@dataclass(slots=True)
class Work:
    """A decoded batch and how far it was stepped."""

    batch: Batch
    events: Events
    segments: list[tuple[int, int, int]]  # partition, first row, row after the last
    done: int = 0

    def __len__(self) -> int:
        return len(self.batch) - self.done


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
        return Work(batch, events, list(zip(numbers, starts, stops, strict=True)))

    def step(self, work: Work, partitions: Mapping[int, Partition], most_rows: int) -> Produced:
        """Steps the next slice of `work`, at most `most_rows` events, and moves the partitions' cursors over it.

        Returns what is to be published. A slice of no event says that the arena is full of dirty slots.
        """
        first = work.done
        stop = min(len(work.batch), first + min(most_rows, self._arena.size))
        self._arena.open_slice()
        batch, events = work.batch, work.events
        slots = np.full(stop - first, -1, np.int32)
        before = np.empty(stop - first, np.int64)
        bad: dict[int, BadEvent] = {}
        segments: list[tuple[int, int, int]] = []
        for number, start, end in _within(work.segments, first, stop):
            partition = partitions[number]
            times = stream_times(events, start, end, partition.cursor.stream_time)
            is_late = late(self._rules, events, start, end, times[:-1])
            steps = np.flatnonzero((events.kind[start:end] != Kind.BAD) & ~is_late)
            admitted = self._arena.admit(number, _keys_of(batch, start, end, steps))
            taken = end - start if len(admitted) == len(steps) else int(steps[len(admitted)])
            slots[start - first + steps[: len(admitted)]] = admitted
            before[start - first : start - first + taken] = times[:taken]
            for row in np.flatnonzero(is_late[:taken]).tolist():
                bad[start + row] = _late(events, start + row, int(times[row]))
            if taken:
                segments.append((number, start, start + taken))
                partition.cursor = Cursor(int(batch.offsets[start + taken - 1]) + 1, int(times[taken]))
            if taken < end - start:
                break
        work.done = segments[-1][2] if segments else first
        rows = work.done - first
        bad.update({row: work.events.bad[row] for row in work.events.bad if first <= row < work.done})
        answers = Answers.blank(self._artifact.outputs, first, rows, bad)
        waves = self._step_waves(work, slots[:rows], before[:rows], answers)
        publish_from = {number: partitions[number].publish_from for number, _, _ in segments}
        return self._publisher.publish(batch, events, segments, answers, waves, publish_from)

    def _step_waves(self, work: Work, slots: Int32Array, before: Int64Array, answers: Answers) -> int:
        stepped = np.flatnonzero(slots >= 0)
        waves = [stepped[wave] for wave in cut_waves(slots[stepped])]
        rank = next((rank for rank, rows in enumerate(waves) if len(rows) <= THIN), len(waves))
        thin = waves[rank:]
        for rows in waves[:rank]:
            self._step_wave(work, rows + answers.first, slots[rows], before[rows], answers)
        if len(thin) >= _SHORTEST_RUN:
            thin = self._step_run(work, thin, slots, before, answers)
        for rows in thin:
            self._step_wave(work, rows + answers.first, slots[rows], before[rows], answers)
        return len(waves)

    def _step_run(
        self, work: Work, waves: list[NDArray[np.intp]], slots: Int32Array, before: Int64Array, answers: Answers
    ) -> list[NDArray[np.intp]]:
        """Steps the ordinary keys of some thin waves event by event. Returns what is left of the waves."""
        arena, events, offsets = self._arena, work.events, work.batch.offsets
        run, others = cut_run(waves, slots, before, answers.first, self._rules, self._statics, events, offsets, arena)
        if run is None:
            return waves
        features = {name: column[run.rows] for name, column in events.features.items()}
        outputs, states = self._engine.step_run(features, arena.words[run.slots], run.sizes)
        if not self._finite_rows(outputs, states).all():
            return waves  # an event that is bad after all leaves its key's state as it was: the waves know how
        empty = arena.steps[run.slots] == 0
        steps = np.where(empty, 0, arena.steps[run.slots])
        at = run.rows - answers.first
        for name, column in outputs.items():
            answers.outputs[name][at] = column
        answers.step[at] = steps[run.key] + 1 + np.repeat(np.arange(len(run.sizes)), run.sizes)
        answers.warm[at] = self._engine.warm(states)
        answers.predicted[at] = True

        last = run.rows[run.last]
        times = np.where(empty, NO_TIME, arena.time[run.slots])
        np.maximum.at(times, run.key, events.time[run.rows])
        arena.words[run.slots] = states[run.last]
        arena.steps[run.slots] = steps + run.counts
        arena.offset[run.slots] = offsets[last]
        arena.time[run.slots] = times
        numbered = events.has_sequence[last]
        arena.sequence[run.slots] = np.where(numbered, events.sequence[last], arena.sequence[run.slots])
        arena.has_sequence[run.slots] |= numbered
        arena.flush_queue.join(run.slots)
        return others

    def _step_wave(
        self, work: Work, rows: NDArray[np.intp], slots: Int32Array, before: Int64Array, answers: Answers
    ) -> None:
        """Each key at most once: `rows` of the batch, their keys' slots and the stream times before them."""
        arena, events = self._arena, work.events
        new = work.batch.offsets[rows] > arena.offset[slots]
        if not new.all():  # a replay comes upon events that a record reflects already
            rows, slots, before = rows[new], slots[new], before[new]
        forgets = events.kind[rows] == Kind.FORGET
        if forgets.any():
            self._forget(slots[forgets], work.batch.offsets[rows[forgets]])
            rows, slots, before = rows[~forgets], slots[~forgets], before[~forgets]
        verdict = classify(self._rules, events, rows, before, arena, slots)
        if verdict.duplicate.any():
            answers.duplicate[rows[verdict.duplicate] - answers.first] = True
            kept = ~verdict.duplicate
            rows, slots = rows[kept], slots[kept]
            idle, afresh = verdict.idle[kept], verdict.afresh[kept]
        else:
            idle, afresh = verdict.idle, verdict.afresh
        if self._statics:
            wrong = wrong_statics(self._statics, events, rows, arena.words[slots], afresh)
            if wrong:
                answers.bad |= wrong
                kept = ~np.isin(rows, list(wrong))
                rows, slots, idle, afresh = rows[kept], slots[kept], idle[kept], afresh[kept]
        if len(rows):
            self._advance(work, rows, slots, idle, afresh, answers)

    def _forget(self, slots: Int32Array, offsets: Int64Array) -> None:
        """1. A null value: the keys are as if never seen, from these offsets on."""
        arena = self._arena
        arena.words[slots] = arena.initial_state
        arena.steps[slots] = 0
        arena.time[slots] = NO_TIME
        arena.has_sequence[slots] = False
        arena.offset[slots] = offsets
        arena.flush_queue.join(slots)

    def _advance(
        self,
        work: Work,
        rows: NDArray[np.intp],
        slots: Int32Array,
        idle: BoolArray,
        afresh: BoolArray,
        answers: Answers,
    ) -> None:
        """6. Steps the samples, and takes each step whose outputs and new state are finite."""
        arena, events = self._arena, work.events
        state = arena.words[slots]
        state[afresh] = arena.initial_state
        features = {name: column[rows] for name, column in events.features.items()}
        outputs, state = self._engine.step(features, state)
        finite = self._finite_rows(outputs, state)
        if not finite.all():
            for row in rows[~finite].tolist():
                answers.bad[row] = BadEvent(Reason.NOT_FINITE, "the model's answer to this sample is not finite")
            rows, slots, state, idle, afresh = rows[finite], slots[finite], state[finite], idle[finite], afresh[finite]
            outputs = {name: column[finite] for name, column in outputs.items()}

        steps = np.where(afresh, 1, arena.steps[slots] + 1)
        at = rows - answers.first
        for name, column in outputs.items():
            answers.outputs[name][at] = column
        answers.step[at] = steps
        answers.warm[at] = self._engine.warm(state)
        answers.predicted[at] = True

        ended = events.end[rows]
        if self._rules.length:
            ended = ended | (steps == self._rules.length)
        if ended.any():
            state[ended] = arena.initial_state
            steps[ended] = 0
        times, numbered = events.time[rows], events.has_sequence[rows]
        arena.words[slots] = state
        arena.steps[slots] = steps
        arena.offset[slots] = work.batch.offsets[rows]
        arena.time[slots] = np.where(afresh, times, np.maximum(arena.time[slots], times))
        arena.sequence[slots] = np.where(numbered, events.sequence[rows], arena.sequence[slots])
        arena.has_sequence[slots] = numbered | (arena.has_sequence[slots] & ~idle)
        arena.flush_queue.join(slots)

    def _finite_rows(self, outputs: Mapping[str, Float32Array], state: Float32Array) -> BoolArray:
        """Which rows hold no NaN and no infinity. A sum shows in one pass that nothing does; only then it is looked up.

        Integer slots are left out: their bits are no floats.
        """
        columns = [state[:, : self._float_words], *outputs.values()]
        finite = np.ones(len(state), np.bool_)
        with np.errstate(over="ignore", invalid="ignore"):
            suspects = [column for column in columns if not np.isfinite(column.sum())]
        for column in suspects:
            finite &= np.isfinite(column).reshape(len(state), -1).all(axis=1)
        return finite


def _keys_of(batch: Batch, start: int, end: int, steps: NDArray[np.intp]) -> list[bytes]:
    """The keys of the rows `steps` of `start:end`, nearly always all. A record without a key is never stepped."""
    keys = cast("list[bytes]", batch.keys)
    return keys[start:end] if len(steps) == end - start else [keys[start + row] for row in steps.tolist()]


def _within(segments: list[tuple[int, int, int]], first: int, stop: int) -> list[tuple[int, int, int]]:
    """The parts of the segments that lie in the rows `first:stop`."""
    return [(n, max(a, first), min(b, stop)) for n, a, b in segments if a < stop and b > first]


def _late(events: Events, row: int, stream_time: int) -> BadEvent:
    behind = stream_time - int(events.time[row])
    return BadEvent(
        Reason.LATE, f"its time {int(events.time[row])} is {behind} ms before the stream time {stream_time}"
    )
