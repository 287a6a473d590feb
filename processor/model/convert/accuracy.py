"""How far the step graph is from the trained model: on every prefix, in the long run, and where it goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import tensorflow as tf

from processor.model.convert.graph import walk
from processor.model.convert.properties import Finding
from processor.model.convert.truth import scaled_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.model.convert.properties import Subject
    from processor.model.convert.stepgraph import Step
    from processor.model.convert.truth import Truth

    Tick = Callable[[float], None]

EVERY_PREFIX: Final = 128
"""Up to here every prefix is compared; beyond, one at each power of two."""
LONG_RUN: Final = 512
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

    @property
    def worst(self) -> tuple[float, str]:
        name = max(self.greatest, key=lambda name: self.greatest[name])
        return self.greatest[name], self.where[name]


def horizon(own_length: int | None, length: int | None) -> int:
    """How many samples of a sequence every prefix is compared for."""
    if length is not None:
        return min(length, EVERY_PREFIX)
    return min(max(own_length or 16, 16), EVERY_PREFIX)


def every_prefix(
    subject: Subject, truth: Truth, errors: Errors, lengths: list[int], which: str, tick: Tick | None = None
) -> None:
    """The step's answer after t samples against the trained model's to the first t samples alone, for all t."""
    sequences, outputs = subject.sequences, subject.artifact.outputs
    flat, _ = subject.run(subject.engine(), sequences[:, : max(lengths)])
    widths = np.cumsum([int(np.prod(spec.shape)) for spec in outputs])[:-1]
    for rank, t in enumerate(lengths):
        start = 0 if subject.artifact.length is None else (t - 1) // subject.artifact.length * subject.artifact.length
        known = truth.newest(sequences[:, start:t])
        for spec, got, value in zip(outputs, np.split(flat[:, t - 1], widths, axis=1), known, strict=True):
            place = f"output {spec.name!r}, {which} sequence {{row}}, after sample {t}"
            errors.take(spec.name, t - start, got.reshape(-1, *spec.shape), value, place)
        if tick:
            tick((rank + 1) / len(lengths))


def powers(first: int, last: int) -> list[int]:
    """The powers of two above `first` and up to `last`, and `last`."""
    return sorted({n for k in range(31) if first < (n := 1 << k) <= last} | ({last} if last > first else set()))


def own_causality(subject: Subject, truth: Truth, tolerance: float) -> Finding:
    """A model whose output has time gives, at each sample, what it gives to the prefix: it does not look ahead."""
    sequences = subject.sequences[:, : min(16, subject.artifact.length or 16)]
    middle = max(1, sequences.shape[1] // 2)
    other = sequences.copy()
    other[:, middle:] = 1.0
    pairs = zip(truth.whole(sequences), truth.whole(other), truth.over_time, strict=True)
    error = max((scaled_error(a[:, :middle], b[:, :middle]) for a, b, over in pairs if over), default=0.0)
    return Finding("the model's causality", error <= tolerance, f"samples from {middle + 1} on changed", error)


def long_run(subject: Subject, truth: Truth, tolerance: float, first: int, tick: Tick) -> tuple[Finding, Errors, str]:
    """How the error grows over hundreds of samples; above the tolerance only as far as rounding itself explains it."""
    errors = Errors()
    last = min(LONG_RUN, subject.artifact.length or LONG_RUN)
    every_prefix(subject, truth, errors, powers(first, last) or [last], "random", tick)
    error, where = errors.worst
    if error <= tolerance:
        return Finding("the long run", True, f"up to {last} samples", error), errors, ""
    rounding = truth.rounding(subject.sequences[:, :last])
    if error > OWN_ROUNDINGS * rounding:
        return Finding("the long run", False, where, error), errors, ""
    remark = (
        f"Rounding alone makes this model drift: after {last} samples its own float32 answers are {rounding:.1e} "
        f"from exact ones, and the step's are {error:.1e} from those. Fresh starts now and then keep it exact."
    )
    return Finding("the long run", True, f"{where}: as far as rounding explains it", error), errors, remark


def first_wrong_layer(step: Step, truth: Truth, subject: Subject, tolerance: float) -> str | None:
    """The first call in the graph whose output is not the model's own, for a report that says where it went wrong."""
    graph, length = step.graph, min(8, subject.sequences.shape[1], step.length or 8)
    sequences = subject.sequences[:, :length]
    pairs = [(call, number) for call in graph.calls for number in call.targets[:1]]
    judged = walk(truth.judge)
    tensors_of = {(call.path, call.rank): judged.tensors[call.targets[0]] for call in judged.calls}
    known = truth.insides(sequences, [tensors_of[call.path, call.rank] for call, _ in pairs])
    words = step.widths.get("float32", 0)
    state = np.tile(step.initial, (len(sequences), 1))
    wrong: set[int] = set()
    for t in range(length):
        tensors = {"input_0": tf.constant(sequences[:, t]), "state_f32": tf.constant(state[:, :words])}
        tensors["state_i32"] = tf.fill((len(sequences), 1), t)
        answers, values = step.answer(tensors)
        for (_, number), truth_of in zip(pairs, known, strict=True):
            over, last = graph.flows[number].time is not None, t == length - 1
            wanted = truth_of[:, t] if over else truth_of
            if (over or last) and scaled_error(values[number].numpy(), wanted) > tolerance:
                wrong.add(number)
        state = answers["next_f32"].numpy() if words else state
    return next((call.path for call, number in pairs if number in wrong), None)
