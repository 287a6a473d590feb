"""What must hold of a step whatever the model is: properties that are decided bit by bit, by the engine itself.

Each property is a function of a `Subject` that returns a `Finding`. They ask nothing of the trained model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.model.artifact import STEPS
from processor.model.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.model.artifact import Artifact
    from processor.types import Float32Array

MOST_ROWS: Final = 512
_SIZES: Final = (1, 2, 3, 4, 7, 8, 16, 33, 64, 100, 128, 255, 256, 511, 512)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `detail` is for people: what was tried, or where it went wrong."""

    name: str
    passed: bool
    detail: str
    error: float | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """An artifact's step under test, and sequences [R, T, *sample shape] for its one input."""

    artifact: Artifact
    sequences: NDArray[np.float32]

    def engine(self) -> Engine:
        """An engine that has stepped nothing yet."""
        return Engine(self.artifact, max_rows=MOST_ROWS)

    def step(self, engine: Engine, samples: NDArray[Any], state: Float32Array) -> tuple[Float32Array, Float32Array]:
        """All outputs flattened beside each other, and the new state: what is compared bit by bit."""
        outputs, following = engine.step({self.artifact.inputs[0].name: samples}, state)
        return np.concatenate(
            [y.reshape(len(state), int(np.prod(y.shape[1:]))) for y in outputs.values()], axis=1
        ), following

    def run(
        self, engine: Engine, sequences: NDArray[np.float32], state: Float32Array | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """[R, T, *shape] -> flattened outputs [R, T, n], and the states after each sample [R, T, D]."""
        at = engine.initial_state(len(sequences)) if state is None else state
        answers, states = [], []
        for t in range(sequences.shape[1]):
            outputs, at = self.step(engine, sequences[:, t], at)
            answers.append(outputs)
            states.append(at)
        return np.stack(answers, axis=1), np.stack(states, axis=1)

    def many_rows(self, rows: int) -> tuple[NDArray[np.float32], Float32Array]:
        """Samples and states of keys of all ages: [rows, *shape], [rows, D]."""
        _, states = self.run(self.engine(), self.sequences)
        ages = np.concatenate([self.engine().initial_state(len(self.sequences))[:, None], states[:, :-1]], axis=1)
        count = ages.shape[0] * ages.shape[1]
        chosen = np.random.default_rng(1).integers(0, count, rows)
        samples = self.sequences.reshape(count, *self.sequences.shape[2:])
        return samples[chosen], ages.reshape(count, self.artifact.words)[chosen]


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.tobytes() == other.tobytes()


def rows_alone(subject: Subject) -> Finding:
    """A row's bits are the same in every bucket, at every place in it, beside every neighbour, NaN among them."""
    engine, name = subject.engine(), "a row by itself"
    samples, states = subject.many_rows(MOST_ROWS)
    truth = np.concatenate(subject.step(engine, samples, states), axis=1)
    rng = np.random.default_rng(2)
    for size in _SIZES:
        rows = rng.permutation(MOST_ROWS)[:size]
        answer = np.concatenate(subject.step(engine, samples[rows], states[rows]), axis=1)
        if not same_bits(answer, truth[rows]):
            return Finding(name, False, f"{size} rows at once give other bits than {MOST_ROWS}")
        spoilt = rng.random(size) < 0.5
        bad_samples, bad_states = samples[rows].copy(), states[rows].copy()
        bad_samples[spoilt] = np.nan
        bad_states[spoilt, : subject.artifact.float_words] = np.nan
        answer = np.concatenate(subject.step(engine, bad_samples, bad_states), axis=1)
        if not same_bits(answer[~spoilt], truth[rows][~spoilt]):
            return Finding(name, False, f"NaN in neighbouring rows changes a row, {size} rows at once")
    tile = f"tiles of {subject.artifact.tile}" if subject.artifact.tile else f"1 to {MOST_ROWS} rows"
    return Finding(name, True, f"same bits in {tile}, in any order, beside NaN")


def splits(subject: Subject) -> Finding:
    """A sequence in chunks is the sequence at once: between chunks the state goes as bytes to another engine."""
    engines, name = [subject.engine(), subject.engine()], "any split"
    truth, states = subject.run(engines[0], subject.sequences)
    length, rng = subject.sequences.shape[1], np.random.default_rng(3)
    tried = 0
    for chunks in (*(rng.integers(1, max(2, length // 2), length) for _ in range(4)), np.ones(length, int)):
        ends = np.unique(np.minimum(np.cumsum(chunks), length))
        at, start, parts = engines[0].initial_state(len(subject.sequences)), 0, []
        for rank, end in enumerate(ends):
            at = np.frombuffer(at.tobytes(), np.float32).reshape(at.shape)
            outputs, inside = subject.run(engines[rank % 2], subject.sequences[:, start:end], at)
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
    keys, length = subject.sequences.shape[:2]
    state, ages = engine.initial_state(keys), np.zeros(keys, int)
    rng = np.random.default_rng(4)
    while (ages < length).any():
        now = rng.permutation(np.flatnonzero((ages < length) & (rng.random(keys) < 0.5)))
        outputs, state[now] = subject.step(engine, subject.sequences[now, ages[now]], state[now])
        if not same_bits(outputs, truth[now, ages[now]]):
            return Finding(name, False, f"{keys} keys, at the ages {', '.join(map(str, ages))}")
        ages[now] += 1
    return Finding(name, True, f"{keys} keys, same bits as one by one")


def causal(subject: Subject) -> Finding:
    """Later samples do not change earlier answers."""
    engine = subject.engine()
    truth, _ = subject.run(engine, subject.sequences)
    middle = subject.sequences.shape[1] // 2
    other = subject.sequences.copy()
    other[:, middle:] = np.random.default_rng(5).standard_normal(other[:, middle:].shape)
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
    _, after = subject.step(engine, subject.sequences[:, 0], last)
    if not same_bits(after, engine.initial_state(len(after))):
        return Finding(name, False, f"after sample {length} the state is not the initial one")
    return Finding(name, True, f"N = {length}")


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
            columns.view(np.int32)[:] += 1
        else:
            columns += rng.standard_normal(columns.shape).astype(np.float32)
        answer = np.concatenate(subject.step(engine, samples, other), axis=1)
        if same_bits(answer, truth):
            dead.append(slot.name)
    return dead


PROPERTIES: Final[tuple[Callable[[Subject], Finding], ...]] = (splits, interleaved, causal)
