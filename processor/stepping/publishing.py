"""What a slice answers, and what of it is published: predictions in input order, dead letters, nothing of a replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, cast

import numpy as np

from processor.codec.dead_letter import DeadLetter, dead_letter
from processor.types import BadEvent, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from processor.codec import PredictionEncoder
    from processor.types import Batch, BoolArray, Events, Float32Array, Int64Array, TensorSpec

KAFKA_RECORD_OVERHEAD_BYTES = 128
"""More than a record batch with one record adds to its key and value (61 + at most 40), to stay on the safe side."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest record, in bytes, that each topic takes."""

    output: int = 1_048_588
    dead_letter: int = 1_048_588


@dataclass(slots=True)
class Produced:
    """What one slice asks to be published, and what it counted."""

    predictions: list[tuple[int, list[bytes], list[bytes]]] = field(default_factory=list)  # partition, keys, values
    dead_letters: list[tuple[int, BadEvent, DeadLetter]] = field(default_factory=list)  # input partition first
    timestamps: list[Int64Array] = field(default_factory=list)  # of the records that are answered for the first time
    events: int = 0
    predicted: int = 0
    replayed: int = 0
    duplicates: int = 0
    waves: int = 0


@dataclass(slots=True)
class Answers:
    """Columns that the waves of a slice fill, aligned with its rows; `first` is the slice's first row of the batch."""

    first: int
    outputs: dict[str, Float32Array]
    step: Int64Array
    warm: BoolArray
    predicted: BoolArray
    duplicate: BoolArray
    bad: dict[int, BadEvent]  # by row of the batch

    @classmethod
    def blank(cls, specs: Sequence[TensorSpec], first: int, rows: int, bad: dict[int, BadEvent]) -> Answers:
        """No answer yet to any of `rows` events, for outputs of these shapes."""
        outputs = {spec.name: np.zeros((rows, *spec.shape), np.float32) for spec in specs}
        warm, predicted, duplicate = np.zeros((3, rows), np.bool_)
        return cls(first, outputs, np.zeros(rows, np.int64), warm, predicted, duplicate, bad)


class Publisher:
    """Encodes answers. Pure but for the answers' own list of bad events."""

    def __init__(self, encoder: PredictionEncoder, input_topic: str, limits: Limits) -> None:
        self._encoder, self._input_topic, self._limits = encoder, input_topic, limits

    def publish(
        self,
        batch: Batch,
        events: Events,
        segments: Sequence[tuple[int, int, int]],
        answers: Answers,
        waves: int,
        publish_from: Mapping[int, int],
    ) -> Produced:
        """Encodes what lies at or above each partition's committed offset. Below it, a replay is silent.

        segments: partition, first row, row after the last, of the batch, in order; publish_from: by partition.
        """
        produced = Produced(waves=waves, events=sum(stop - start for _, start, stop in segments))
        for number, start, stop in segments:
            silent = start + int(np.searchsorted(batch.offsets[start:stop], publish_from[number]))
            produced.replayed += silent - start
            produced.timestamps.append(batch.timestamps[silent:stop])
            produced.duplicates += int(answers.duplicate[silent - answers.first : stop - answers.first].sum())
            self._encode(batch, events, number, silent, stop, answers, produced)
        for row in sorted(answers.bad):
            number = int(batch.partitions[row])
            if batch.offsets[row] >= publish_from[number]:
                produced.dead_letters.append((number, answers.bad[row], self._dead_letter(batch, row, answers)))
        return produced

    def _encode(
        self,
        batch: Batch,
        events: Events,
        number: int,
        start: int,
        stop: int,
        answers: Answers,
        produced: Produced,
    ) -> None:
        first = answers.first
        chosen = answers.predicted[start - first : stop - first]
        count = int(chosen.sum())
        if not count:
            return
        everything = count == stop - start
        at: slice | NDArray[np.intp] = slice(start - first, stop - first)
        rows: slice | NDArray[np.intp] = slice(start, stop)
        keys = cast("list[bytes]", batch.keys[start:stop])  # a record without a key has no prediction
        if not everything:
            at = start - first + np.flatnonzero(chosen)
            rows = at + first
            keys = list(compress(keys, chosen.tolist()))
        values = self._encoder.encode(
            {name: column[at] for name, column in answers.outputs.items()},
            answers.step[at],
            events.time[rows],
            number,
            batch.offsets[rows],
            answers.warm[at],
        )
        if max(map(len, keys)) + max(map(len, values)) + KAFKA_RECORD_OVERHEAD_BYTES > self._limits.output:
            keys, values = self._without_the_too_large(keys, values, np.arange(start, stop)[chosen], answers)
        produced.predictions.append((number, keys, values))
        produced.predicted += len(values)

    def _without_the_too_large(
        self, keys: list[bytes], values: list[bytes], rows: NDArray[np.intp], answers: Answers
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

    def _dead_letter(self, batch: Batch, row: int, answers: Answers) -> DeadLetter:
        return dead_letter(
            key=batch.keys[row],
            value=batch.values[row],
            bad=answers.bad[row],
            topic=self._input_topic,
            partition=int(batch.partitions[row]),
            offset=int(batch.offsets[row]),
            limit=self._limits.dead_letter,
        )
