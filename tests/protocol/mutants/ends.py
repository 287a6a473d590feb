"""Ends of the input, broken on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processor.recovery.assignment import Assignment
from processor.recovery.partition import MOVES
from protocol.abstract.client import INPUT
from protocol.mutants.table import Mutation, mutant
from protocol.stand_ins import running

_see_replays = Assignment.see_replays  # an original: while a mutant is in its place, the name gives the mutant


@mutant("A cursor follows the end that the reader has reached, never the high watermark.", "ends")
def cursors_pass_open_transactions() -> Mutation:
    def see(self: Any, now: float, ends: Mapping[int, int] | None = None) -> None:
        kafka = running().world.kafka
        _see_replays(self, now, {number: kafka.log(INPUT, number).end for number in ends or {}})

    return {"processor.recovery.assignment.Assignment.see_replays": see}


@mutant("An end that was seen before a rewind says nothing after it.", "ends")
def ends_outlive_a_rewind() -> Mutation:
    def move(self: Any, move: Any) -> None:
        self.phase = MOVES[self.phase][move]

    return {"processor.recovery.partition.Partition.move": move}


@mutant("A cursor follows the input's end past markers and aborted records.", "ends")
def markers_hold_cursors_back() -> Mutation:
    """As long as no event comes behind them."""
    return {"processor.recovery.partition.Partition.pass_end": lambda self: None}
