"""From a batch to what is to be published: decode, cut into slices, cut into waves, step, encode.

A slice is an offset prefix of each partition of the batch: the batch is ordered by partition, and a slice is a range
of it. Between two slices all states reflect exactly the events below their partition's place, so a commit may come
there and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from processor.codec.dead_letter import DeadLetter, dead_letter
from processor.partition import Place
from processor.runs import THIN, cut_run
from processor.sequence import SequenceRules, judge, late, stream_times
from processor.types import NO_TIME, BadEvent, Kind, Reason
from processor.waves import cut_waves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from processor.codec import EventDecoder, PredictionEncoder
    from processor.model.artifact import Artifact
    from processor.model.engine import Engine
    from processor.partition import Partition
    from processor.state.arena import Arena
    from processor.types import Batch, BoolArray, Events, Float32Array, Int32Array, Int64Array

_SHORTEST_RUN = 4  # waves: fewer are stepped before a run is cut

KAFKA_RECORD_OVERHEAD_BYTES = 128
"""More than a record batch with one record adds to its key and value (61 + at most 40), to stay on the safe side."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest record, in bytes, that each topic takes."""

    output: int = 1_048_588
    dead_letter: int = 1_048_588


@dataclass(slots=True)
class Work:
    """A decoded batch and how far it was stepped."""

    batch: Batch
    events: Events
    segments: list[tuple[int, int, int]]  # partition, first row, row after the last
    done: int = 0

    def __len__(self) -> int:
        return len(self.batch) - self.done


@dataclass(slots=True)
class Produced:
    """What one slice asks to be published, and what it counted."""

    predictions: list[tuple[int, list[bytes], list[bytes]]] = field(default_factory=list)  # partition, keys, values
    dead_letters: list[tuple[int, BadEvent, DeadLetter]] = field(default_factory=list)  # input partition first
    events: int = 0
    predicted: int = 0
    replayed: int = 0
    duplicates: int = 0
    waves: int = 0


@dataclass(slots=True)
class _Answers:
    """Columns that the waves of a slice fill, aligned with its rows; `first` is the slice's first row of the batch."""

    first: int
    outputs: dict[str, Float32Array]
    step: Int64Array
    warm: BoolArray
    predicted: BoolArray
    duplicate: BoolArray
    bad: dict[int, BadEvent]  # by row of the batch


class Pipeline:
    """Steps events; owns nothing but the arena's content. Components are arguments."""

    def __init__(
        self,
        artifact: Artifact,
        engine: Engine,
        arena: Arena,
        decoder: EventDecoder,
        encoder: PredictionEncoder,
        rules: SequenceRules,
        input_topic: str,
        limits: Limits,
    ) -> None:
        self._artifact, self._engine, self._arena = artifact, engine, arena
        self._decoder, self._encoder = decoder, encoder
        self._rules, self._input_topic, self._limits = rules, input_topic, limits
        self._float_words = sum(slot.stop - slot.start for slot in artifact.layout if slot.dtype == "float32")

    def decode(self, batch: Batch) -> Work:
        """The batch as columns. A pure function of the batch."""
        edges = np.flatnonzero(np.diff(batch.partitions)) + 1
        starts = [0, *edges.tolist()]
        stops = [*edges.tolist(), len(batch)]
        numbers = batch.partitions[starts].tolist()
        return Work(batch, self._decoder.decode(batch), list(zip(numbers, starts, stops, strict=True)))

    def step(self, work: Work, partitions: Mapping[int, Partition], most_rows: int) -> Produced:
        """Steps the next slice of `work`, at most `most_rows` events, and moves the partitions' places over it.

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
            times = stream_times(events, start, end, partition.place.stream_time)
            is_late = late(self._rules, events, start, end, times[:-1])
            steps = np.flatnonzero((events.kind[start:end] != Kind.BAD) & ~is_late)
            admitted = self._arena.admit(number, [batch.keys[start + row] or b"" for row in steps.tolist()])
            taken = end - start if len(admitted) == len(steps) else int(steps[len(admitted)])
            slots[start - first + steps[: len(admitted)]] = admitted
            before[start - first : start - first + taken] = times[:taken]
            for row in np.flatnonzero(is_late[:taken]).tolist():
                bad[start + row] = _late(events, start + row, int(times[row]))
            if taken:
                segments.append((number, start, start + taken))
                partition.place = Place(int(batch.offsets[start + taken - 1]) + 1, int(times[taken]))
            if taken < end - start:
                break
        work.done = segments[-1][2] if segments else first
        rows = work.done - first
        bad.update({row: work.events.bad[row] for row in work.events.bad if first <= row < work.done})
        answers = self._blank_answers(first, rows, bad)
        waves = self._step_waves(work, slots[:rows], before[:rows], answers)
        return self._publish(work, segments, answers, waves, partitions)

    def _blank_answers(self, first: int, rows: int, bad: dict[int, BadEvent]) -> _Answers:
        outputs = {spec.name: np.zeros((rows, *spec.shape), np.float32) for spec in self._artifact.outputs}
        warm, predicted, duplicate = np.zeros((3, rows), np.bool_)
        return _Answers(first, outputs, np.zeros(rows, np.int64), warm, predicted, duplicate, bad)

    def _step_waves(self, work: Work, slots: Int32Array, before: Int64Array, answers: _Answers) -> int:
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
        self, work: Work, waves: list[NDArray[np.intp]], slots: Int32Array, before: Int64Array, answers: _Answers
    ) -> list[NDArray[np.intp]]:
        """Steps the ordinary keys of some thin waves event by event. Returns what is left of the waves."""
        arena, events, offsets = self._arena, work.events, work.batch.offsets
        run, others = cut_run(waves, slots, before, answers.first, self._rules, events, offsets, arena)
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
        arena.wheel.join(run.slots)
        return others

    def _step_wave(
        self, work: Work, rows: NDArray[np.intp], slots: Int32Array, before: Int64Array, answers: _Answers
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
        verdict = judge(self._rules, events, rows, before, arena, slots)
        if verdict.duplicate.any():
            answers.duplicate[rows[verdict.duplicate] - answers.first] = True
            kept = ~verdict.duplicate
            rows, slots = rows[kept], slots[kept]
            idle, afresh = verdict.idle[kept], verdict.afresh[kept]
        else:
            idle, afresh = verdict.idle, verdict.afresh
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
        arena.wheel.join(slots)

    def _advance(
        self,
        work: Work,
        rows: NDArray[np.intp],
        slots: Int32Array,
        idle: BoolArray,
        afresh: BoolArray,
        answers: _Answers,
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
        arena.wheel.join(slots)

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

    def _publish(
        self,
        work: Work,
        segments: list[tuple[int, int, int]],
        answers: _Answers,
        waves: int,
        partitions: Mapping[int, Partition],
    ) -> Produced:
        """Encodes what lies at or above each partition's committed offset. Below it, a replay is silent."""
        produced = Produced(waves=waves, events=work.done - answers.first)
        for number, start, stop in segments:
            silent = start + int(np.searchsorted(work.batch.offsets[start:stop], partitions[number].publish_from))
            produced.replayed += silent - start
            produced.duplicates += int(answers.duplicate[silent - answers.first : stop - answers.first].sum())
            self._encode(work, number, silent, stop, answers, produced)
        for row in sorted(answers.bad):
            number = int(work.batch.partitions[row])
            if work.batch.offsets[row] >= partitions[number].publish_from:
                produced.dead_letters.append((number, answers.bad[row], self._dead_letter(work.batch, row, answers)))
        return produced

    def _encode(self, work: Work, number: int, start: int, stop: int, answers: _Answers, produced: Produced) -> None:
        batch, first = work.batch, answers.first
        chosen = answers.predicted[start - first : stop - first]
        count = int(chosen.sum())
        if not count:
            return
        everything = count == stop - start
        at: slice | NDArray[np.intp] = slice(start - first, stop - first)
        rows: slice | NDArray[np.intp] = slice(start, stop)
        keys = batch.keys[start:stop]
        if not everything:
            at = start - first + np.flatnonzero(chosen)
            rows = at + first
            keys = list(compress(keys, chosen.tolist()))
        values = self._encoder.encode(
            {name: column[at] for name, column in answers.outputs.items()},
            answers.step[at],
            work.events.time[rows],
            number,
            batch.offsets[rows],
            answers.warm[at],
        )
        known = [key or b"" for key in keys]
        if max(map(len, known)) + max(map(len, values)) + KAFKA_RECORD_OVERHEAD_BYTES > self._limits.output:
            known, values = self._without_the_too_large(known, values, np.arange(start, stop)[chosen], answers)
        produced.predictions.append((number, known, values))
        produced.predicted += len(values)

    def _without_the_too_large(
        self, keys: list[bytes], values: list[bytes], rows: NDArray[np.intp], answers: _Answers
    ) -> tuple[list[bytes], list[bytes]]:
        """A prediction that its topic does not take becomes a dead letter. Its step stands."""
        fits: list[bool] = []
        for key, value, row in zip(keys, values, rows.tolist(), strict=True):
            size = len(key) + len(value) + KAFKA_RECORD_OVERHEAD_BYTES
            fits.append(size <= self._limits.output)
            if not fits[-1]:
                detail = f"the prediction has {size} bytes with its key, its topic takes {self._limits.output}"
                answers.bad[row] = BadEvent(Reason.TOO_LARGE, detail)
        return list(compress(keys, fits)), list(compress(values, fits))

    def _dead_letter(self, batch: Batch, row: int, answers: _Answers) -> DeadLetter:
        return dead_letter(
            key=batch.keys[row],
            value=batch.values[row],
            bad=answers.bad[row],
            topic=self._input_topic,
            partition=int(batch.partitions[row]),
            offset=int(batch.offsets[row]),
            limit=self._limits.dead_letter,
        )


def _within(segments: list[tuple[int, int, int]], first: int, stop: int) -> list[tuple[int, int, int]]:
    """The parts of the segments that lie in the rows `first:stop`."""
    return [(n, max(a, first), min(b, stop)) for n, a, b in segments if a < stop and b > first]


def _late(events: Events, row: int, stream_time: int) -> BadEvent:
    behind = stream_time - int(events.time[row])
    return BadEvent(
        Reason.LATE, f"its time {int(events.time[row])} is {behind} ms before the stream time {stream_time}"
    )
