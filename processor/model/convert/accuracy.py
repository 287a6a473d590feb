"""How far the step graph is from the trained model: on every prefix, in the long run, and where it goes wrong."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert import properties
from processor.model.convert.graph import walk
from processor.model.convert.machine import stepped
from processor.model.convert.names import functional
from processor.model.convert.properties import Finding
from processor.model.convert.reference import row_errors, scaled_error
from processor.model.convert.sequences import FARTHEST, ROWS, extreme_sequences, random_sequences
from processor.model.convert.toggles import free, inference
from processor.model.convert.twins import precisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.model.artifact import Artifact
    from processor.model.convert.budget import Budget, Stage
    from processor.model.convert.modes import Built
    from processor.model.convert.properties import Subject
    from processor.model.convert.reference import Reference
    from processor.model.convert.sequences import Sequences

    Tick = Callable[[float], None]

_MOST_HELD: Final = 128 << 20
"""Bytes of the step's answers that wait for the trained model's."""
EVERY_PREFIX: Final = 128
"""Up to here every prefix is compared; beyond, one at each power of two."""
_FEWER_ROWS: Final = (ROWS, 2, 1)
"""Where a pass of all sequences is too dear, some of them are compared."""
_WINDOWS: Final = 8
"""So many windows are compared, each a sample on."""
MOST_ABOVE: Final = 0.05
"""The share of predictions that may be above the tolerance, as far as rounding explains them."""
OWN_ROUNDINGS: Final = 16
"""The step may differ by rounding alone as much as this many times what float32 itself costs the model."""


@dataclass
class Errors:
    """The greatest error of each output, where it was, and how it grows with the length of a sequence.

    above: how many of the compared predictions (one output of one row, after some samples) are above the tolerance;
    worst_after: the sample after which the greatest of all errors was.
    """

    tolerance: float = math.inf
    greatest: dict[str, float] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    growth: dict[str, dict[int, float]] = field(default_factory=dict)
    not_finite: int = 0
    compared: int = 0
    predictions: int = 0
    above: int = 0
    longest: int = 0
    worst_after: int = 0

    def take(
        self, name: str, which: str, t: int, length: int, got: NDArray[np.float32], truth: NDArray[np.float32]
    ) -> None:
        """Predictions [R, ...] of one output after sample t, beside the truth about the last `length` samples."""
        rows = row_errors(got, truth)
        error = float(rows.max(initial=0.0))
        self.predictions, self.above = self.predictions + len(rows), self.above + int((rows > self.tolerance).sum())
        self.compared += truth.size
        self.longest = max(self.longest, length)
        self.not_finite += int(truth.size - np.isfinite(truth).sum())
        seen = self.growth.setdefault(name, {})
        seen[length] = max(seen.get(length, 0.0), error)
        if error > max(self.greatest.values(), default=-1.0):
            self.worst_after = t
        if error > self.greatest.get(name, -1.0):
            self.greatest[name] = error
            self.where[name] = f"output {name!r}, {which} sequence {int(rows.argmax())}, after sample {t}"

    @property
    def rare(self) -> bool:
        """Whether so few predictions are above the tolerance that rounding may be the reason."""
        return self.above <= MOST_ABOVE * self.predictions

    def until(self, length: int) -> float:
        """The greatest error of all outputs after no more than so many samples."""
        return max((e for seen in self.growth.values() for n, e in seen.items() if n <= length), default=0.0)

    @property
    def worst(self) -> tuple[float, str]:
        name = max(self.greatest, key=lambda name: self.greatest[name])
        return self.greatest[name], self.where[name]


def span(artifact: Artifact, t: int) -> tuple[int, int] | None:
    """The samples (start, stop) that the trained model has to be given for the answer after sample t.

    None where that prediction is not claimed to be the trained model's own.
    """
    length = artifact.length
    if artifact.mode == "window":
        assert length is not None
        return (t - length, t) if t >= length else None
    if length is None:
        return 0, t
    if not artifact.exact_prefix and t % length:
        return None
    return (t - 1) // length * length, t


def lengths_to_compare(artifact: Artifact, own_length: int | None) -> list[int]:
    """After how many samples of the random sequences the answers are compared."""
    length = artifact.length
    if artifact.mode == "window":
        assert length is not None
        return list(range(length, length + _WINDOWS))
    if not artifact.exact_prefix:
        assert length is not None
        return [length, 2 * length]
    if length is None:
        return list(range(1, min(max(own_length or 16, 16), EVERY_PREFIX) + 1))
    first = list(range(1, min(length, EVERY_PREFIX) + 1))
    return first + ([length + n for n in first[:4]] if length == len(first) else [])


def every_prefix(
    subject: Subject, truth: Reference, errors: Errors, lengths: list[int], which: str, stage: Stage, tick: Tick
) -> list[int]:
    """The step's answer after t samples against the trained model's to those that it stands for, for all t.

    Where the stage's time is up before all lengths were compared, the first of them were, in the order that is given.
    Returns the lengths that were compared.
    """
    sequences, outputs = subject.sequences, subject.artifact.outputs
    sizes = [int(np.prod(spec.shape)) for spec in outputs]
    held = [t for t in lengths if span(subject.artifact, t)][: max(1, _MOST_HELD // (4 * sequences.rows * sum(sizes)))]
    flat = subject.answers(sequences, sorted(held), stage.left / 2)
    compared = []
    for rank, t in enumerate(held):
        start, stop = span(subject.artifact, t) or (0, 0)
        whole = sequences.part(start, stop)
        rows = next((n for n in _FEWER_ROWS if stage.allows(min(n, whole.rows) * whole.length)), 0)
        if t not in flat or not rows or stop - start > truth.longest:
            continue
        some = whole if rows == ROWS else whole.chosen(slice(0, rows))
        with stage.measured(some.rows * some.length):
            known = truth.newest(some)
        split = np.split(flat[t][: some.rows], np.cumsum(sizes)[:-1], axis=1)
        answers = [got.reshape(-1, *spec.shape) for got, spec in zip(split, outputs, strict=True)]
        known = _numbers_of_both_ways(truth, some, answers, known)
        for spec, got, value in zip(outputs, answers, known, strict=True):
            errors.take(spec.name, which, t, stop - start, got, value)
        compared.append(t)
        tick((rank + 1) / len(held))
    return sorted(compared)


def _numbers_of_both_ways(truth: Reference, some: Sequences, answers: list[Any], known: list[Any]) -> list[Any]:
    """The trained model's answers; NaN where the step has none, and the model has none either, run as it is written.

    Keras answers in two ways there: NaN where layers run one by one, 0 where TensorFlow fuses a layer with its relu.
    """
    lost = any((np.isnan(got) & np.isfinite(value)).any() for got, value in zip(answers, known, strict=True))
    if not lost:
        return known
    written = truth.newest_unfused(some)
    return [np.where(np.isnan(other), np.nan, value) for other, value in zip(written, known, strict=True)]


def telling_first(lengths: list[int]) -> list[int]:
    """The same lengths: the first, the second, the fourth and so on, and the last; then the others in any order."""
    first = [lengths[n - 1] for n in (1 << k for k in range(len(lengths).bit_length())) if n < len(lengths)]
    first.append(lengths[-1])
    others = sorted(set(lengths) - set(first))
    return [*first, *np.random.default_rng(10).permutation(others).tolist()]


def own_rounding(
    subject: Subject, truth: Reference, lengths: list[int], errors: Errors, stage: Stage, factor: int = OWN_ROUNDINGS
) -> float:
    """What float32 costs the model itself in the answers that were compared; no more of them than explain the error.

    They explain one of up to `factor` times as much.

    Each of them counts: an answer in the middle of a sequence may be dearer than the last. The one with the greatest
    error comes first, since the stage may end before the others.
    """
    rounding, error = 0.0, errors.worst[0]
    for t in sorted(lengths, key=lambda t: (t == errors.worst_after, t), reverse=True):
        between = span(subject.artifact, t)
        if between is not None and stage.allows(between[1] - between[0]):
            with stage.measured(between[1] - between[0]):
                rounding = max(rounding, truth.rounding(subject.sequences.part(*between)))
        if error <= factor * rounding:
            break
    return rounding


def powers(first: int, last: int) -> list[int]:
    """The powers of two above `first` and up to `last`, and `last`."""
    return sorted({n for k in range(31) if first < (n := 1 << k) <= last} | ({last} if last > first else set()))


def own_causality(subject: Subject, truth: Reference, tolerance: float) -> Finding:
    """A model whose output has time gives, at each sample, what it gives to the prefix: it does not look ahead."""
    sequences = subject.sequences.part(0, min(16, subject.artifact.length or 16))
    middle = max(1, sequences.length // 2)
    other = sequences.then(random_sequences(sequences.interface, sequences.length, 6), middle)
    pairs = zip(truth.whole(sequences), truth.whole(other), truth.over_time, strict=True)
    error = max((scaled_error(a[:, :middle], b[:, :middle]) for a, b, over in pairs if over), default=0.0)
    return Finding("the model's causality", error <= tolerance, f"samples from {middle + 1} on changed", error)


def long_run(
    subject: Subject, truth: Reference, tolerance: float, first: int, budget: Budget, tick: Tick
) -> tuple[Finding | None, Errors, str]:
    """How the error grows over thousands of samples; above the tolerance only as far as rounding itself explains it.

    No finding where no sequence longer than `first` samples could be compared within the budget.
    """
    errors, stage = Errors(), budget.stage("long run")
    wanted = min(properties.LONG_RUN, subject.artifact.length or properties.LONG_RUN)
    last = min(wanted, truth.longest, longest_held(subject, budget))
    middle = min(last, properties.SEQUENCE)
    lengths = sorted({*powers(first, middle), *(n for n in (4 * middle,) if n < last), *powers(middle, last)[-1:]})
    if not lengths:
        return None, errors, ""
    long = dataclasses.replace(subject, sequences=random_sequences(subject.sequences.interface, lengths[-1], 8))
    lengths = every_prefix(long, truth, errors, lengths, "random", stage, tick)
    last, middle = lengths[-1], max([n for n in lengths if n <= middle], default=lengths[-1])
    reach = f"up to {last:,} samples" + ("" if last == wanted else f" of {wanted:,}: more is too dear")
    error, where = errors.worst
    if error <= tolerance:
        return Finding("the long run", True, reach, error), errors, ""
    rounding = own_rounding(long, truth, lengths, errors, budget.stage("long run"))
    if not rounding and errors.until(middle) <= tolerance:
        remark = (
            f"After {last} samples the step is up to {error:.1e} from the model, and after {middle} within the "
            "tolerance. Whether that is the model's own rounding cannot be measured: it has no float64 twin."
        )
        return Finding("the long run", True, f"up to {middle} samples", errors.until(middle)), errors, remark
    if error > OWN_ROUNDINGS * rounding:
        return Finding("the long run", False, where, error), errors, ""
    remark = (
        f"Rounding alone makes this model drift: in {last} samples its own float32 answers come to be {rounding:.1e} "
        f"from exact ones, and the step's {error:.1e} from those. Fresh starts now and then keep it exact."
    )
    return Finding("the long run", True, f"{where}: as far as rounding explains it", error), errors, remark


def longest_held(subject: Subject, budget: Budget) -> int:
    """How many samples of ROWS random sequences may be held at once. (They are drawn in float64.)"""
    numbers = sum(int(np.prod(spec.shape)) for spec in subject.artifact.inputs)
    return max(1, budget.held // 4 // (8 * ROWS * max(1, numbers)))


def extremes(
    subject: Subject, truth: Reference, tolerance: float, lengths: list[int], budget: Budget
) -> tuple[Finding | None, str]:
    """Samples far from all that the model was trained on: the step errs with the model, as far as rounding goes.

    Where the step has no number, nothing wrong is published: that is reported, and is no failure.
    """
    interface = subject.sequences.interface
    if not any(entry.spec.dtype == "float32" for entry in interface.entries):
        return None, ""
    chosen = [t for t in lengths if span(subject.artifact, t) and (t & (t - 1) == 0 or t == lengths[0])][:5]
    far = dataclasses.replace(subject, sequences=extreme_sequences(interface, max(chosen)))
    errors = Errors()
    every_prefix(far, truth, errors, chosen, "extreme", budget.stage("extremes"), lambda _: None)
    if not np.isfinite(errors.worst[0]):
        return None, (
            f"For extreme samples (up to {FARTHEST:.0e}) the step has no number where the trained model has one: "
            f"{errors.worst[1]}. Such events are refused, and change no state."
        )
    error, where = errors.worst
    passed = error <= tolerance
    if not passed:
        rounding = own_rounding(far, truth, chosen, errors, budget.stage("extremes"))
        passed = error <= OWN_ROUNDINGS * rounding or not rounding
        if passed:
            where += ": as far as rounding explains it" if rounding else ": it has no float64 twin to tell rounding by"
    return Finding("extreme inputs", passed, f"up to {FARTHEST:.0e}" if error <= tolerance else where, error), ""


def first_wrong_layer(built: Built, subject: Subject, tolerance: float) -> str | None:
    """The first call in the graph whose output is not the model's own, for a report of where it went wrong."""
    graph = built.graph
    if graph is None or graph.collected:
        return None
    machine = stepped(built.machine)
    sequences = subject.sequences.part(0, min(8, subject.sequences.length, built.length or 8))
    original = walk(
        built.model, interface=graph.interface, dtype=None if precisions(built.model) == {"float32"} else "float32"
    )
    pairs = list(zip(graph.calls, original.calls, strict=True))
    inside = functional(
        [original.tensors[n] for n in original.inputs], [original.tensors[c.targets[0]] for _, c in pairs]
    )
    with free(built.model):
        known = inside([tf.cast(x, t.dtype) for x, t in zip(sequences.whole(), inside.inputs, strict=True)])
    known = [np.asarray(keras.ops.cast(y, "float32")) for y in keras.tree.flatten(known)]
    state = [tf.repeat(tf.constant(piece.initial)[None], sequences.rows, axis=0) for _, piece in machine.pieces]
    wrong: set[int] = set()
    for t in range(sequences.length):
        features = [tf.constant(sequences.at(t)[entry.spec.name]) for entry in graph.interface.entries]
        with inference():
            _, state, values = machine.insides(features, state)
        for (call, _), truth_of in zip(pairs, known, strict=True):
            number = call.targets[0]
            time, last = graph.flows[number].time, t == sequences.length - 1
            # Rows of zeros before the first sample are there in the model, and not in the step.
            wanted = truth_of if time is None else np.moveaxis(truth_of, time, 1)[:, t + graph.flows[number].lead]
            got = np.asarray(keras.ops.cast(values[number], "float32"))
            if (time is not None or last) and got.shape == wanted.shape and scaled_error(got, wanted) > tolerance:
                wrong.add(number)
    return next((call.path for call, _ in pairs if call.targets[0] in wrong), None)
