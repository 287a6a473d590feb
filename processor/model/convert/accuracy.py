"""How far the step graph is from the trained model: on every prefix, in the long run, and where it goes wrong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert import properties
from processor.model.convert.graph import walk
from processor.model.convert.machine import stepped
from processor.model.convert.properties import Finding
from processor.model.convert.sequences import FARTHEST, ROWS, extreme_sequences, random_sequences
from processor.model.convert.toggles import free
from processor.model.convert.truth import scaled_error
from processor.model.convert.twins import precisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.model.artifact import Artifact
    from processor.model.convert.modes import Built
    from processor.model.convert.properties import Subject
    from processor.model.convert.truth import Truth

    Tick = Callable[[float], None]

EVERY_PREFIX: Final = 128
"""Up to here every prefix is compared; beyond, one at each power of two."""
_MOST_NUMBERS: Final = 1 << 24
"""As many numbers the long run may hold at once, for inputs and states: images make it shorter."""
_WINDOWS: Final = 8
"""So many windows are compared, each a sample on."""
OWN_ROUNDINGS: Final = 16
"""The step may differ by rounding alone as much as this many times what float32 itself costs the model."""


@dataclass
class Errors:
    """The greatest error of each output, where it was, and how it grows with the length of a sequence."""

    greatest: dict[str, float] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    growth: dict[str, dict[int, float]] = field(default_factory=dict)
    not_finite: int = 0
    compared: int = 0

    def take(self, name: str, length: int, got: NDArray[np.float32], truth: NDArray[np.float32], place: str) -> None:
        """Answers [R, ...] of one output to sequences of a length, held against the truth. `place` has a {row}."""
        error = scaled_error(got, truth)
        self.compared += truth.size
        self.not_finite += int(truth.size - np.isfinite(truth).sum())
        seen = self.growth.setdefault(name, {})
        seen[length] = max(seen.get(length, 0.0), error)
        if error > self.greatest.get(name, -1.0):
            self.greatest[name] = error
            row = max(range(len(truth)), key=lambda r: scaled_error(got[r], truth[r]))
            self.where[name] = place.replace("{row}", str(row))

    def until(self, length: int) -> float:
        """The greatest error of all outputs after no more than so many samples."""
        return max((e for seen in self.growth.values() for n, e in seen.items() if n <= length), default=0.0)

    @property
    def worst(self) -> tuple[float, str]:
        name = max(self.greatest, key=lambda name: self.greatest[name])
        return self.greatest[name], self.where[name]


def span(artifact: Artifact, t: int) -> tuple[int, int] | None:
    """The samples (start, stop) that the trained model has to be given for the answer after sample t.

    None where that answer is not said to be the trained model's own.
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
    subject: Subject, truth: Truth, errors: Errors, lengths: list[int], which: str, tick: Tick | None = None
) -> None:
    """The step's answer after t samples against the trained model's to those that it stands for, for all t."""
    sequences, outputs = subject.sequences, subject.artifact.outputs
    flat, _ = subject.run(subject.engine(), sequences.part(0, max(lengths)))
    widths = np.cumsum([int(np.prod(spec.shape)) for spec in outputs])[:-1]
    for rank, t in enumerate(lengths):
        between = span(subject.artifact, t)
        if between is None:
            continue
        known = truth.newest(sequences.part(*between))
        for spec, got, value in zip(outputs, np.split(flat[:, t - 1], widths, axis=1), known, strict=True):
            place = f"output {spec.name!r}, {which} sequence {{row}}, after sample {t}"
            errors.take(spec.name, t - between[0], got.reshape(-1, *spec.shape), value, place)
        if tick:
            tick((rank + 1) / len(lengths))


def own_rounding(subject: Subject, truth: Truth, lengths: list[int], error: float) -> float:
    """What float32 costs the model itself in the answers that were compared; no more of them than explain the error.

    Each of them counts: an answer in the middle of a sequence may be dearer than the last.
    """
    rounding = 0.0
    for t in reversed(lengths):
        between = span(subject.artifact, t)
        if between is not None:
            rounding = max(rounding, truth.rounding(subject.sequences.part(*between)))
        if error <= OWN_ROUNDINGS * rounding:
            break
    return rounding


def powers(first: int, last: int) -> list[int]:
    """The powers of two above `first` and up to `last`, and `last`."""
    return sorted({n for k in range(31) if first < (n := 1 << k) <= last} | ({last} if last > first else set()))


def own_causality(subject: Subject, truth: Truth, tolerance: float) -> Finding:
    """A model whose output has time gives, at each sample, what it gives to the prefix: it does not look ahead."""
    sequences = subject.sequences.part(0, min(16, subject.artifact.length or 16))
    middle = max(1, sequences.length // 2)
    other = sequences.then(random_sequences(sequences.interface, sequences.length, 6), middle)
    pairs = zip(truth.whole(sequences), truth.whole(other), truth.over_time, strict=True)
    error = max((scaled_error(a[:, :middle], b[:, :middle]) for a, b, over in pairs if over), default=0.0)
    return Finding("the model's causality", error <= tolerance, f"samples from {middle + 1} on changed", error)


def long_run(subject: Subject, truth: Truth, tolerance: float, first: int, tick: Tick) -> tuple[Finding, Errors, str]:
    """How the error grows over thousands of samples; above the tolerance only as far as rounding itself explains it."""
    errors = Errors()
    last = _long(subject)
    long = dataclasses.replace(subject, sequences=random_sequences(subject.sequences.interface, last, 8))
    middle = min(last, properties.SEQUENCE)
    lengths = sorted({*powers(first, middle), *(n for n in (4 * middle,) if n < last), last})
    every_prefix(long, truth, errors, lengths, "random", tick)
    error, where = errors.worst
    if error <= tolerance:
        return Finding("the long run", True, f"up to {last} samples", error), errors, ""
    rounding = own_rounding(long, truth, lengths, error)
    if not rounding and errors.until(middle) <= tolerance:
        remark = (
            f"After {last} samples the step is up to {error:.1e} from the model, and after {middle} within the "
            "tolerance. Whether that is the model's own rounding cannot be told: it has no float64 twin."
        )
        return Finding("the long run", True, f"up to {middle} samples", errors.until(middle)), errors, remark
    if error > OWN_ROUNDINGS * rounding:
        return Finding("the long run", False, where, error), errors, ""
    remark = (
        f"Rounding alone makes this model drift: in {last} samples its own float32 answers come to be {rounding:.1e} "
        f"from exact ones, and the step's {error:.1e} from those. Fresh starts now and then keep it exact."
    )
    return Finding("the long run", True, f"{where}: as far as rounding explains it", error), errors, remark


def _long(subject: Subject) -> int:
    """How long the long run is: no longer than a sequence of the mode, and no more than memory holds."""
    sizes = [int(np.prod(spec.shape)) for spec in subject.artifact.inputs]
    most = max(properties.SEQUENCE, _MOST_NUMBERS // (ROWS * max(1, *sizes, subject.artifact.words)))
    return min(properties.LONG_RUN, subject.artifact.length or properties.LONG_RUN, most)


def extremes(subject: Subject, truth: Truth, tolerance: float, lengths: list[int]) -> tuple[Finding | None, str]:
    """Samples far from all that the model was trained on: the step errs with the model, as far as rounding goes.

    Where the step has no number, nothing wrong is published: that is told, and is no failure.
    """
    interface = subject.sequences.interface
    if not any(entry.spec.dtype == "float32" for entry in interface.entries):
        return None, ""
    chosen = [t for t in lengths if span(subject.artifact, t) and (t & (t - 1) == 0 or t == lengths[0])][:5]
    far = dataclasses.replace(subject, sequences=extreme_sequences(interface, max(chosen)))
    errors = Errors()
    every_prefix(far, truth, errors, chosen, "extreme", None)
    if not np.isfinite(errors.worst[0]):
        return None, (
            f"For extreme samples (up to {FARTHEST:.0e}) the step has no number where the trained model has one: "
            f"{errors.worst[1]}. Such events are refused, and change no state."
        )
    error, where = errors.worst
    passed = error <= tolerance
    if not passed:
        rounding = own_rounding(far, truth, chosen, error)
        passed = error <= OWN_ROUNDINGS * rounding or not rounding
        if passed:
            where += ": as far as rounding explains it" if rounding else ": it has no float64 twin to tell rounding by"
    return Finding("extreme inputs", passed, f"up to {FARTHEST:.0e}" if error <= tolerance else where, error), ""


def first_wrong_layer(built: Built, subject: Subject, tolerance: float) -> str | None:
    """The first call in the graph whose output is not the model's own, for a report that says where it went wrong."""
    graph = built.graph
    if graph is None or graph.collected:
        return None
    machine = stepped(built.machine)
    sequences = subject.sequences.part(0, min(8, subject.sequences.length, built.length or 8))
    judged = walk(
        built.model, interface=graph.interface, dtype=None if precisions(built.model) == {"float32"} else "float32"
    )
    pairs = list(zip(graph.calls, judged.calls, strict=True))
    inside = keras.Model([judged.tensors[n] for n in judged.inputs], [judged.tensors[c.targets[0]] for _, c in pairs])
    with free(built.model):
        known = inside([tf.cast(x, t.dtype) for x, t in zip(sequences.whole(), inside.inputs, strict=True)])
    known = [np.asarray(keras.ops.cast(y, "float32")) for y in keras.tree.flatten(known)]
    state = [tf.repeat(tf.constant(piece.initial)[None], sequences.rows, axis=0) for _, piece in machine.pieces]
    wrong: set[int] = set()
    for t in range(sequences.length):
        features = [tf.constant(sequences.at(t)[entry.spec.name]) for entry in graph.interface.entries]
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
