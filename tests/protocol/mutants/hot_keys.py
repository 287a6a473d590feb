"""Hot keys, broken on purpose.

Their events are checked at once. `tests/stepping` compares the predictions with those of single steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from processor.stepping.pipeline import Pipeline
from protocol.mutants.table import Mutation, mutant
from protocol.stand_ins import ignore

_step_run = Pipeline._step_run


@mutant("What a record reflects is no part of a run.", "hot keys")
def runs_step_what_a_record_reflects() -> Mutation:
    def is_new(keys: Any, offsets: Any, arena: Any) -> Any:
        return np.ones(len(keys.slots), np.bool_)

    return {"processor.stepping.runs._is_new": is_new}


@mutant("The keys of a run are dirty.", "hot keys")
def runs_leave_their_keys_clean() -> Mutation:
    def step_run(self: Any, *arguments: Any) -> Any:
        self._arena.flush_queue.join = ignore
        try:
            return _step_run(self, *arguments)
        finally:
            del self._arena.flush_queue.join

    return {"processor.stepping.pipeline.Pipeline._step_run": step_run}


@mutant("A record of a run has the offset of the key's last event in it.", "hot keys")
def runs_keep_the_offset_of_the_record() -> Mutation:
    """As it was before the run."""

    def step_run(self: Any, *arguments: Any) -> Any:
        offsets = self._arena.offset.copy()
        left = _step_run(self, *arguments)
        self._arena.offset[:] = offsets
        return left

    return {"processor.stepping.pipeline.Pipeline._step_run": step_run}
