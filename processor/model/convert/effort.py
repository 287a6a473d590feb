"""How much of a step is tried: rows at once by memory, samples by what a call of the engine costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from processor.model.convert import properties
from processor.model.convert.budget import DEFAULT
from processor.model.convert.sequences import ROWS
from processor.model.interpreter import row_bytes

if TYPE_CHECKING:
    from processor.model.artifact import Artifact
    from processor.model.convert.budget import Budget
    from processor.model.convert.properties import Subject

_COPIES: Final = 6
"""As many copies of rows, states and answers are held where rows are compared with rows."""
_STEPPED: Final = 24
"""As many times are the random sequences stepped, about, to see how the step behaves by itself."""


def rows_at_once(draft: Artifact) -> int:
    """How many rows are stepped at once: fewer than MOST_ROWS where the memory of so many would be too much.

    What was not tried is not used: the engine takes no more rows at once than the certificate did.
    """
    numbers = draft.words + sum(int(np.prod(spec.shape)) for spec in (*draft.inputs, *draft.outputs))
    one = _COPIES * 4 * numbers + 2 * row_bytes(draft)
    return DEFAULT.fitting(one, properties.MOST_ROWS)


def affordable(probe: Subject, budget: Budget) -> int:
    """How many samples of the random sequences can be stepped several times: a power of two."""
    seconds = budget.stage("the step").left / (_STEPPED * max(1e-6, _step_seconds(probe)))
    return min(properties.SEQUENCE, 1 << max(4, int(seconds).bit_length() - 1))


def _step_seconds(probe: Subject) -> float:
    """What a call of the engine costs, for ROWS rows."""
    engine, taken = probe.engine(), []
    state = engine.initial_state(ROWS)
    for _ in range(4):
        began = time.perf_counter()
        engine.step(probe.sequences.at(0), state)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def samples(draft: Artifact, lengths: list[int], most: int) -> int:
    """How long the random sequences are: past the restart of a short `tumbling`, and no longer than need be."""
    longest = max(lengths)
    if draft.length is None:
        return max(longest, most)
    if draft.mode == "window" or not draft.exact_prefix:
        return longest + 3
    if draft.length <= len(lengths):
        return max(2 * draft.length, longest) + 3
    return max(min(draft.length, most), longest) + 3
