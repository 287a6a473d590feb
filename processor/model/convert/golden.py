"""Golden vectors: sequences with the engine's own answers, which every machine that serves the artifact repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.model.artifact import Golden
from processor.model.convert.sequences import random_sequences

if TYPE_CHECKING:
    from processor.model.convert.properties import Subject
    from processor.model.convert.sequences import Sequences

_STEPS: Final = 16
_ROWS: Final = 4
_ORDER: Final = (0, 1, 3, 6, 2, 5, 7)
_MOST_STEPS: Final = 128
_MOST_BYTES: Final = 8 << 20
"""Above this, there are fewer rows."""


def _with_numbers(subject: Subject, sequences: Sequences) -> list[int]:
    """Rows whose every prediction is a number: a golden NaN would look like a broken one."""
    engine, good = subject.engine(), np.ones(sequences.rows, bool)
    state = engine.initial_state(sequences.rows)
    for t in range(sequences.length):
        answers, state = subject.step(engine, sequences.at(t), state)
        good &= np.isfinite(answers).all(axis=1)
    return [row for row in _ORDER if good[row]] or [0]


def golden_vectors(subject: Subject, seed: int) -> Golden:
    """Sequences with the engine's own answers: random ones, because a user's samples are not ours to hand on.

    They depend on nothing that was measured, so that a model is converted to the same artifact every time.
    """
    specs = (*subject.artifact.inputs, *subject.artifact.outputs)
    length = max(_STEPS, min((subject.artifact.length or 0) + 1, _MOST_STEPS))
    rows = _MOST_BYTES // (4 * length * sum(int(np.prod(spec.shape)) for spec in specs))
    sequences = random_sequences(subject.sequences.interface, length, seed)
    engine, good = subject.engine(), _with_numbers(subject, sequences)
    chosen = sequences.chosen(good[: max(1, min(rows, _ROWS))])
    samples = [chosen.at(t) for t in range(length)]
    answers: dict[str, list[Any]] = {spec.name: [] for spec in subject.artifact.outputs}
    state = engine.initial_state(chosen.rows)
    for features in samples:
        outputs, state = engine.step(features, state)
        for output, value in outputs.items():
            answers[output].append(value)
    return Golden(
        {name: np.stack([some[name] for some in samples], axis=1) for name in samples[0]},
        {output: np.stack(values, axis=1) for output, values in answers.items()},
        state,
    )
