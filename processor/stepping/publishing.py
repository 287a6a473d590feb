"""The results of a slice, and what of them is published: predictions in input order, dead letters, no replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from processor.codec.dead_letter import DeadLetter, dead_letter
from processor.kafka.records import RECORD_OVERHEAD_BYTES
from processor.types import BadEvent, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from processor.codec import PredictionEncoder
    from processor.stepping.slices import Slice
    from processor.types import BoolArray, Float32Array, Int64Array, Rows, TensorSpec


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
    timestamps: list[Int64Array] = field(default_factory=list)  # of the records whose results are new
    events: int = 0
    predicted: int = 0
    replayed: int = 0
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class Results:
    """What the steps found, as columns that they fill, aligned with the slice."""

    outputs: dict[str, Float32Array]
    step: Int64Array
    warm: BoolArray
    predicted: BoolArray
    duplicate: BoolArray
    bad: dict[int, BadEvent]  # row -> why

    @classmethod
    def blank(cls, outputs: Sequence[TensorSpec], piece: Slice) -> Results:
        """No prediction yet; bad are the events that cannot be stepped. outputs: of the model."""
        n = len(piece)
        tensors = {spec.name: np.zeros((n, *spec.shape), np.float32) for spec in outputs}
        warm, predicted, duplicate = np.zeros((3, n), np.bool_)
        return cls(tensors, np.zeros(n, np.int64), warm, predicted, duplicate, {**piece.late, **piece.events.bad})

    def predict(
        self, rows: Rows, outputs: Mapping[str, Float32Array], step: NDArray[np.integer[Any]], warm: BoolArray
    ) -> None:
        """Enters the predictions of `rows`; the other columns are aligned with these."""
        for name, column in outputs.items():
            self.outputs[name][rows] = column
        self.step[rows] = step
        self.warm[rows] = warm
        self.predicted[rows] = True


class Publisher:
    """Encodes results. Pure, except that it adds predictions which are too large to the bad events."""

    def __init__(self, encoder: PredictionEncoder, input_topic: str, limits: Limits) -> None:
        self._encoder, self._input_topic, self._limits = encoder, input_topic, limits

    def publish(self, piece: Slice, results: Results, publish_from: Mapping[int, int]) -> Produced:
        """Encodes the rows at or above each partition's offset in `publish_from`. Below it, a replay is silent."""
        offsets = piece.batch.offsets
        produced = Produced(events=len(piece))
        for number, start, stop in piece.segments:
            first = start + int(np.searchsorted(offsets[start:stop], publish_from[number]))
            produced.replayed += first - start
            produced.timestamps.append(piece.batch.timestamps[first:stop])
            produced.duplicates += int(results.duplicate[first:stop].sum())
            if results.predicted[first:stop].any():
                keys, values = self._predictions(piece, results, first, stop)
                produced.predictions.append((number, keys, values))
                produced.predicted += len(values)
        for row in sorted(results.bad):
            number = int(piece.batch.partitions[row])
            if offsets[row] >= publish_from[number]:
                produced.dead_letters.append(
                    (number, results.bad[row], self._dead_letter(piece, row, results.bad[row]))
                )
        return produced

    def _predictions(self, piece: Slice, results: Results, start: int, stop: int) -> tuple[list[bytes], list[bytes]]:
        """Keys and values of the predictions among the rows `start:stop` of one partition."""
        chosen = results.predicted[start:stop]
        keys = cast("list[bytes]", piece.batch.keys[start:stop])  # a record without a key has no prediction
        rows: slice | Rows = slice(start, stop)
        if not chosen.all():
            rows = start + np.flatnonzero(chosen)
            keys = list(compress(keys, chosen.tolist()))
        values = self._encoder.encode(
            {name: column[rows] for name, column in results.outputs.items()},
            results.step[rows],
            piece.events.time[rows],
            int(piece.batch.partitions[start]),
            piece.batch.offsets[rows],
            results.warm[rows],
        )
        if max(map(len, keys)) + max(map(len, values)) + RECORD_OVERHEAD_BYTES > self._limits.output:
            return self._without_the_too_large(keys, values, start + np.flatnonzero(chosen), results)
        return keys, values

    def _without_the_too_large(
        self, keys: list[bytes], values: list[bytes], rows: Rows, results: Results
    ) -> tuple[list[bytes], list[bytes]]:
        """A prediction that its topic does not take becomes a dead letter. Its step stands."""
        fits: list[bool] = []
        for key, value, row in zip(keys, values, rows.tolist(), strict=True):
            size = len(key) + len(value) + RECORD_OVERHEAD_BYTES
            fits.append(size <= self._limits.output)
            if not fits[-1]:
                detail = f"the prediction has {size} bytes with its key, its topic takes {self._limits.output}"
                results.bad[row] = BadEvent(Reason.TOO_LARGE, detail)
        return list(compress(keys, fits)), list(compress(values, fits))

    def _dead_letter(self, piece: Slice, row: int, bad: BadEvent) -> DeadLetter:
        return dead_letter(
            key=piece.batch.keys[row],
            value=piece.batch.values[row],
            bad=bad,
            topic=self._input_topic,
            partition=int(piece.batch.partitions[row]),
            offset=int(piece.batch.offsets[row]),
            limit=self._limits.dead_letter,
        )
