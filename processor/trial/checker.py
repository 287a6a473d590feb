"""Compares what was published with the trained model's predictions for whole sequences.

A truth has an answer for each input record that has one: an array, or by name where a model has several outputs. The
model is asked from outside (this module knows no Keras): a function from a block of sequences to predictions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from processor.trial.oracle import InputRecord
from processor.trial.reader import Report, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from processor.trial.oracle import Expected, Predicted, Rejected, Sample
    from processor.trial.reader import Record, Source

    Model = Callable[[dict[str, NDArray[np.float32]]], NDArray[np.float32]]
    Answer = NDArray[np.float32] | Mapping[str, NDArray[np.float32]]
    Truth = dict[Source, Answer]

_ROWS: Final = 512
_Answer = TypeVar("_Answer", "Predicted", "Rejected")


def input_records(topic: Mapping[int, Sequence[Record]]) -> dict[int, list[InputRecord]]:
    """A topic as `read_topic` returns it, as the oracle takes it."""
    return {
        number: [InputRecord(record.offset, record.timestamp, record.key, record.value) for record in records]
        for number, records in topic.items()
    }


def truth_of_sequences(expected: Expected, model: Model, *, rows: int = _ROWS) -> Truth:
    """Asks a model that predicts at every step, as [rows, T, *output shape] for inputs [rows, T, *sample shape]
    ([rows, *shape] for static ones).

    Each sequence is asked for once, whole. A block's sequences have one length, so nothing is padded.
    """
    truth: Truth = {}
    for block in _blocks(expected, rows):
        predictions = model(_stack(block, expected.static))
        for sequence, answer in zip(block, predictions, strict=True):
            for sample, probability in zip(sequence, answer, strict=True):
                truth[sample.partition, sample.offset] = probability
    return truth


def truth_of_prefixes(expected: Expected, model: Model, *, rows: int = _ROWS) -> Truth:
    """Asks a model that predicts once, after the last step, as [rows, *output shape]: for every prefix of a sequence.

    A sequence of T samples is asked about T times, together with others that are as long at the least.
    """
    truth: Truth = {}
    # The longest first: those that have a prefix of a length are then the first ones.
    sequences = sorted((one for some in expected.sequences.values() for one in some), key=len, reverse=True)
    for length in range(1, len(sequences[0]) + 1 if sequences else 1):
        while len(sequences[-1]) < length:
            sequences.pop()
        for start in range(0, len(sequences), rows):
            block = sequences[start : start + rows]
            predictions = model(_stack([sequence[:length] for sequence in block], expected.static))
            for sequence, probability in zip(block, predictions, strict=True):
                last = sequence[length - 1]
                truth[last.partition, last.offset] = probability
    return truth


def _blocks(expected: Expected, rows: int) -> Iterator[list[list[Sample]]]:
    by_length: defaultdict[int, list[list[Sample]]] = defaultdict(list)
    for sequences in expected.sequences.values():
        for sequence in sequences:
            by_length[len(sequence)].append(sequence)
    for _, sequences in sorted(by_length.items()):
        for start in range(0, len(sequences), rows):
            yield sequences[start : start + rows]


def _stack(sequences: Sequence[Sequence[Sample]], static: frozenset[str]) -> dict[str, NDArray[np.float32]]:
    """input name -> [rows, T, *sample shape]; [rows, *shape] for a static one."""
    names = sequences[0][0].features
    columns = {
        name: np.array([sequence[0].features[name] for sequence in sequences])
        if name in static
        else np.array([[sample.features[name] for sample in sequence] for sequence in sequences])
        for name in names
    }
    return {name: column.astype(np.float32) if column.dtype.kind == "f" else column for name, column in columns.items()}


@dataclass(slots=True)
class CheckResult:
    """What `check_published` found; falsy when something is wrong."""

    predictions: Report = field(default_factory=Report)
    dead_letters: Report = field(default_factory=Report)
    greatest_error: float = 0.0  # |published - truth| / max(1, |truth|), over all predictions that have a truth
    compared: int = 0  # predictions whose probability was compared with the truth
    duplicates: int = 0  # input events that answer nothing

    def __bool__(self) -> bool:
        return bool(self.predictions) and bool(self.dead_letters)

    def __str__(self) -> str:
        return (
            f"predictions: {self.predictions}\ndead letters: {self.dead_letters}\n"
            f"greatest error {self.greatest_error:.3g} over {self.compared} probabilities"
        )


def check_published(
    expected: Expected,
    predictions: Mapping[int, Sequence[Record]],
    dead_letters: Mapping[int, Sequence[Record]],
    truth: Truth | None = None,
    *,
    tolerance: float = 1e-5,
) -> CheckResult:
    """Compares what was published with what must be: keys, steps, times, order, reasons; probabilities with the truth.

    Predictions must lie in their event's partition, in input order. The dead-letter topic may have any number of
    partitions; in each of them, the letters of one input partition must be in input order. A probability without a
    truth is not compared; one that is off by more than `tolerance * max(1, |truth|)` is differing.
    """
    verdict = CheckResult(duplicates=expected.duplicates)
    for number in sorted({*expected.predictions, *predictions}):
        wanted = {(one.partition, one.offset): one for one in expected.predictions.get(number, [])}
        verdict.predictions.add(_check_records(wanted, predictions.get(number, ()), _prediction_fault))
        verdict.predictions.add(_check_order(predictions.get(number, ())))
    rejected = {(one.partition, one.offset): one for letters in expected.dead_letters.values() for one in letters}
    everything = [record for records in dead_letters.values() for record in records]
    verdict.dead_letters = _check_records(rejected, everything, _dead_letter_fault)
    for records in dead_letters.values():
        verdict.dead_letters.add(_check_order(records))
    if truth is not None:
        for records in predictions.values():
            _check_probabilities(records, truth, tolerance, verdict)
    return verdict


def _check_records(
    wanted: Mapping[Source, _Answer], records: Sequence[Record], fault: Callable[[_Answer, Record], str | None]
) -> Report:
    """Every wanted answer once, none that is not wanted, and none with a fault."""
    report = Report(compared=len(wanted))
    seen: set[Source] = set()
    for record in records:
        source = source_of(record)
        if source is None or source not in wanted:
            report.differing += 1
            report.note(f"unexpected: answer to input {source}: {record.key!r} -> {record.value!r}")
            continue
        if source in seen:
            report.doubled += 1
            report.note(f"doubled: answer to input {source}, again at offset {record.offset}")
        seen.add(source)
        problem = fault(wanted[source], record)
        if problem:
            report.differing += 1
            report.note(f"differing: answer to input {source}: {problem}")
    lost = [source for source in wanted if source not in seen]
    report.lost += len(lost)
    for source in lost[:1]:
        report.note(f"lost: answer to input {source}: {wanted[source]}")
    return report


def _prediction_fault(wanted: Predicted, record: Record) -> str | None:
    value = json.loads(record.value or b"{}")
    found = (record.key, value.get("step"), value.get("time"))
    if found != (wanted.key, wanted.step, wanted.time):
        return f"expected key, step, time {(wanted.key, wanted.step, wanted.time)}, found {found}"
    return None


def _dead_letter_fault(wanted: Rejected, record: Record) -> str | None:
    reason = dict(record.headers).get("processor.reason")
    found = (record.key, record.value, (reason or b"").decode())
    if found != (wanted.key, wanted.value, str(wanted.reason)):
        return f"expected {(wanted.key, wanted.value, str(wanted.reason))}, found {found}"
    return None


def _check_order(records: Sequence[Record]) -> Report:
    """Per input partition, the first predictions' offsets must rise."""
    report = Report()
    seen: set[Source] = set()
    greatest: dict[int, int] = {}
    for record in records:
        source = source_of(record)
        if source is None or source in seen:
            continue
        seen.add(source)
        partition, offset = source
        if offset < greatest.get(partition, -1):
            report.differing += 1
            report.note(f"out of order: input {partition}:{offset} is answered after {greatest[partition]}")
        greatest[partition] = max(offset, greatest.get(partition, -1))
    return report


def _check_probabilities(records: Sequence[Record], truth: Truth, tolerance: float, verdict: CheckResult) -> None:
    for record in records:
        source = source_of(record)
        if source is None or source not in truth:
            continue
        wanted = truth[source]
        error = _error(json.loads(record.value or b"{}").get("probability"), wanted)
        verdict.compared += 1
        verdict.greatest_error = max(verdict.greatest_error, error)
        if not error <= tolerance:
            verdict.predictions.differing += 1
            text = f"wrong probability: input {source[0]}:{source[1]}: expected {wanted}, found {record.value!r}"
            verdict.predictions.note(text)


def _error(found: Any, wanted: Answer) -> float:
    """|found - wanted| / max(1, |wanted|), the greatest; infinite where the two cannot be compared."""
    if isinstance(wanted, Mapping):
        if not isinstance(found, dict) or list(found) != list(wanted):
            return float("inf")
        return max(_error(found[name], wanted[name]) for name in wanted)
    try:
        # What was printed has the digits of a float32: only as one is it exactly what the model predicted.
        with np.errstate(over="ignore"):
            values = np.asarray(found, np.float64).astype(np.float32).astype(np.float64)
    except (TypeError, ValueError):
        return float("inf")
    truth = np.asarray(wanted, np.float64)
    # A layer of one unit is published as a number, and the model's own answer has an axis of length 1 for it.
    if values.size != truth.size or not np.isfinite(values).all():
        return float("inf")
    return float(np.max(np.abs(values.ravel() - truth.ravel()) / np.maximum(1, np.abs(truth.ravel())), initial=0))
