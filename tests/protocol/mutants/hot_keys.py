"""Hot keys, broken on purpose.

Their events are judged at once. That they answer as they would one by one is in `tests/core`.
"""

from __future__ import annotations

from typing import Any

from processor.stepping.pipeline import Pipeline
from processor.stepping.runs import _are_ordinary
from protocol.mutants.table import Mutation, mutant
from protocol.stand_ins import ignore

_step_run = Pipeline._step_run
_FAR = 1_000_000


@mutant("What a record reflects is no part of a run.", "hot keys")
def runs_step_what_a_record_reflects() -> Mutation:
    def are_ordinary(keys: Any, rules: Any, events: Any, offsets: Any, arena: Any) -> Any:
        return _are_ordinary(keys, rules, events, offsets + _FAR, arena)

    return {"processor.stepping.runs._are_ordinary": are_ordinary}


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
