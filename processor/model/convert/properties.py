"""What must hold of a step whatever the model is: properties that are decided bit by bit, by the engine itself.

Each property is a function of a `Subject` that returns a `Finding`. They ask nothing of the trained model.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.model.artifact import HELD, STEPS
from processor.model.convert.budget import DEFAULT
from processor.model.convert.sequences import Sequences, random_sequences
from processor.model.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.model.artifact import Artifact
    from processor.model.convert.budget import Stage
    from processor.types import Features, Float32Array

MOST_ROWS: Final = 512
SEQUENCE: Final = 512
"""Samples of the random sequences, where the mode sets no end to them."""
LONG_RUN = 10_000
"""Samples of the long run."""
_GARBAGE: Final = (np.nan, np.inf, -3e38)
_SIZES: Final = (1, 8, 64, 3, 512, 33, 2, 4, 7, 16, 100, 128, 255, 256, 511)
"""The most telling first: where a step is dear, not all of them are tried."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `detail` is for people: what was tried, or where it went wrong."""

    name: str
    passed: bool
    detail: str
    error: float | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """An artifact's step under test, and sequences for its inputs.

    most_rows: stepped at once; samples: of the sequences, as many are stepped where any will do; held: bytes of step
    graphs in an engine at once.
    """

    artifact: Artifact
    sequences: Sequences
    most_rows: int = MOST_ROWS
    samples: int = SEQUENCE
    held: int = DEFAULT.held

    def engine(self) -> Engine:
        """An engine that has stepped nothing yet."""
        return Engine(self.artifact, max_rows=self.most_rows, held=self.held)

    def step(self, engine: Engine, samples: Features, state: Float32Array) -> tuple[Float32Array, Float32Array]:
        """All outputs flattened beside each other, and the new state: what is compared bit by bit."""
        outputs, following = engine.step(samples, state)
        return np.concatenate(
            [y.reshape(len(state), int(np.prod(y.shape[1:]))) for y in outputs.values()], axis=1
        ), following

    def run(
        self, engine: Engine, sequences: Sequences, state: Float32Array | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """R sequences of T samples -> flattened outputs [R, T, n], and the states after each sample [R, T, D]."""
        at = engine.initial_state(sequences.rows) if state is None else state
        answers, states = [], []
        for t in range(sequences.length):
            outputs, at = self.step(engine, sequences.at(t), at)
            answers.append(outputs)
            states.append(at)
        return np.stack(answers, axis=1), np.stack(states, axis=1)

    def answers(self, sequences: Sequences, after: list[int], seconds: float = math.inf) -> dict[int, Float32Array]:
        """R sequences of T samples -> flattened outputs [R, n] after so many samples each, and nothing between.

        `after` rises. It stops early where the next of them is expected to take longer than the seconds that are left.
        """
        engine, began = self.engine(), time.perf_counter()
        kept: dict[int, Float32Array] = {}
        at, start = engine.initial_state(sequences.rows), 0
        for stop in after:
            spent = time.perf_counter() - began
            if kept and spent * stop / start > seconds:
                break
            for t in range(start, stop):
                outputs, at = self.step(engine, sequences.at(t), at)
            kept[stop], start = outputs, stop
        return kept

    def many_rows(self, rows: int) -> tuple[Features, Float32Array]:
        """Samples and states of keys of all ages: `rows` of each."""
        count, length = self.sequences.rows, min(self.samples, self.sequences.length)
        keys, ages = np.divmod(np.random.default_rng(1).integers(0, count * length, rows), length)
        samples = [self.sequences.at(t) for t in range(length)]
        features = {
            name: np.stack([samples[age][name][key] for key, age in zip(keys, ages, strict=True)])
            for name in samples[0]
        }
        engine, states = self.engine(), np.empty((rows, self.artifact.words), np.float32)
        at = engine.initial_state(count)
        for t in range(length):
            now = ages == t
            states[now] = at[keys[now]]
            _, at = self.step(engine, samples[t], at)
        return features, states


def some_rows(features: Features, rows: Any) -> dict[str, NDArray[Any]]:
    """Those rows of every input, as arrays of their own."""
    return {name: values[rows].copy() for name, values in features.items()}


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.tobytes() == other.tobytes()


def rows_alone(subject: Subject, stage: Stage | None = None) -> Finding:
    """A row's bits are the same in every bucket, at every place in it, beside every neighbour, NaN among them."""
    engine, name, most = subject.engine(), "a row by itself", subject.most_rows
    samples, states = subject.many_rows(most)
    truth = np.concatenate(subject.step(engine, samples, states), axis=1)
    rng = np.random.default_rng(2)
    tried: list[int] = []
    for turn, size in enumerate(size for size in _SIZES if size <= most):
        if stage is not None and not stage.allows(size):
            continue
        with contextlib.nullcontext() if stage is None else stage.measured(size):
            rows = rng.permutation(most)[:size]
            answer = np.concatenate(subject.step(engine, some_rows(samples, rows), states[rows]), axis=1)
            if not same_bits(answer, truth[rows]):
                return Finding(name, False, f"{size} rows at once give other bits than {most}")
            spoilt = rng.random(size) < 0.5
            bad_samples, bad_states = some_rows(samples, rows), states[rows].copy()
            garbage = _GARBAGE[turn % len(_GARBAGE)]
            for values in bad_samples.values():
                values[spoilt] = garbage if values.dtype.kind == "f" else 0
            bad_states[spoilt, : subject.artifact.float_words] = garbage
            answer = np.concatenate(subject.step(engine, bad_samples, bad_states), axis=1)
            if not same_bits(answer[~spoilt], truth[rows][~spoilt]):
                return Finding(name, False, f"{garbage} in neighbouring rows changes a row, {size} rows at once")
        tried.append(size)
    tile = f"tiles of {subject.artifact.tile}" if subject.artifact.tile else f"{len(tried)} sizes from 1 to {most} rows"
    return Finding(name, True, f"same bits in {tile}, in any order, beside NaN, infinities and garbage")


def splits(subject: Subject) -> Finding:
    """A sequence in chunks is the sequence at once: between chunks the state goes as bytes to another engine."""
    engines, name = [subject.engine(), subject.engine()], "any split"
    truth, states = subject.run(engines[0], subject.sequences)
    length, rng = subject.sequences.length, np.random.default_rng(3)
    tried = 0
    for chunks in (*(rng.integers(1, max(2, length // 2), length) for _ in range(4)), np.ones(length, int)):
        ends = np.unique(np.minimum(np.cumsum(chunks), length))
        at, start, parts = engines[0].initial_state(subject.sequences.rows), 0, []
        for rank, end in enumerate(ends):
            at = np.frombuffer(at.tobytes(), np.float32).reshape(at.shape)
            outputs, inside = subject.run(engines[rank % 2], subject.sequences.part(start, int(end)), at)
            parts.append(outputs)
            start, at = int(end), inside[:, -1]
        tried += 1
        if not same_bits(np.concatenate(parts, axis=1), truth) or not same_bits(at, states[:, -1]):
            return Finding(name, False, f"split after the samples {', '.join(map(str, ends[:-1]))}")
    return Finding(name, True, f"{tried} splits, one of them saved and restored after every sample")


def interleaved(subject: Subject) -> Finding:
    """Keys of different ages, some of them in each call and in any order, each answer as if alone."""
    engine, name = subject.engine(), "interleaved keys"
    truth, _ = subject.run(engine, subject.sequences)
    keys, length = subject.sequences.rows, subject.sequences.length
    samples = [subject.sequences.at(t) for t in range(length)]
    state, ages = engine.initial_state(keys), np.zeros(keys, int)
    rng = np.random.default_rng(4)
    while (ages < length).any():
        now = rng.permutation(np.flatnonzero((ages < length) & (rng.random(keys) < 0.5)))
        features = (
            {name: np.stack([samples[ages[key]][name][key] for key in now]) for name in samples[0]} if len(now) else {}
        )
        if not features:
            continue
        outputs, state[now] = subject.step(engine, features, state[now])
        if not same_bits(outputs, truth[now, ages[now]]):
            return Finding(name, False, f"{keys} keys, at the ages {', '.join(map(str, ages))}")
        ages[now] += 1
    return Finding(name, True, f"{keys} keys, same bits as one by one")


def causal(subject: Subject) -> Finding:
    """Later samples do not change earlier answers."""
    engine = subject.engine()
    truth, _ = subject.run(engine, subject.sequences)
    middle = subject.sequences.length // 2
    others = random_sequences(subject.sequences.interface, subject.sequences.length, 5)
    other = subject.sequences.then(others, middle)
    answer, _ = subject.run(engine, other)
    passed = same_bits(answer[:, :middle], truth[:, :middle])
    return Finding("causality", passed, f"samples from {middle + 1} on changed")


def starts_afresh(subject: Subject) -> Finding:
    """tumbling N: counts to N, and after the N-th sample the state is the initial one again."""
    name, length = "a new sequence after N", subject.artifact.length
    slot = subject.artifact.slot(STEPS)
    assert length is not None
    assert slot is not None
    engine = subject.engine()
    _, states = subject.run(engine, subject.sequences)
    counts = states[:, :, slot.start].copy().view(np.int32)
    expected = np.arange(1, counts.shape[1] + 1) % length
    if not (counts == expected).all():
        return Finding(name, False, "the count of samples is wrong")
    last = states[:, -1].copy()
    last[:, slot.start : slot.stop].view(np.int32)[:] = length - 1
    _, after = subject.step(engine, subject.sequences.at(0), last)
    if not same_bits(after, engine.initial_state(len(after))):
        return Finding(name, False, f"after sample {length} the state is not the initial one")
    return Finding(name, True, f"N = {length}")


def keeps_static(subject: Subject) -> Finding:
    """A static input's value is kept, to the bit, from the first sample on, and what comes later for it is not used."""
    name, artifact, engine = "static inputs", subject.artifact, subject.engine()
    word = artifact.slot(HELD)
    assert word is not None
    truth, states = subject.run(engine, subject.sequences)
    at = engine.initial_state(subject.sequences.rows)
    for t in range(subject.sequences.length):
        features = dict(subject.sequences.at(t))
        held = at[:, word.start].view(np.int32) != 0
        for static in artifact.static_slots:
            features[static] = features[static].copy()
            features[static][held] = np.nan if features[static].dtype.kind == "f" else 2**31 - 1
        outputs, at = subject.step(engine, features, at)
        if not same_bits(outputs, truth[:, t]) or not same_bits(at, states[:, t]):
            return Finding(name, False, f"other values with sample {t + 1} change its answer")
        held = at[:, word.start].view(np.int32) != 0  # not after the N-th sample of `tumbling`
        for static, slot in artifact.static_slots.items():
            given = subject.sequences.at(t)[static][held]
            if not same_bits(at[held, slot.start : slot.stop], given):
                return Finding(name, False, f"the value of {static!r} is not kept after sample {t + 1}")
    return Finding(name, True, f"{', '.join(artifact.static_slots)}: kept from a sequence's first sample on")


def dead_slots(subject: Subject) -> list[str]:
    """The slots that nothing depends on: no answer and no new state, now or after the samples that follow."""
    engine, dead = subject.engine(), []
    samples, states = subject.many_rows(128)
    truth = np.concatenate(subject.step(engine, samples, states), axis=1)
    rng = np.random.default_rng(6)
    for slot in subject.artifact.layout:
        other = states.copy()
        columns = other[:, slot.start : slot.stop]
        if slot.dtype == "int32":
            counts = columns.view(np.int32)
            counts[:] = np.where(counts == 0, 1, 0)  # still tokens and counts that there are
        else:
            columns += rng.standard_normal(columns.shape).astype(np.float32)
        answer = np.concatenate(subject.step(engine, samples, other), axis=1)
        if same_bits(answer, truth):
            dead.append(slot.name)
    return dead


PROPERTIES: Final[tuple[Callable[[Subject], Finding], ...]] = (splits, interleaved, causal)
