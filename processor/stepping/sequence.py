"""What an event does to its key's state, for one wave at a time: the numbered rules of `docs/semantics.md`, as arrays.

Everything here is a pure function of the events of a partition so far: of their times, sequence numbers and markers,
and of the partition's stream time before each of them. No clock, no edge of a batch, nothing that memory happens to
hold. The numbers in the comments are those of that page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from processor.types import NO_TIME, Kind

if TYPE_CHECKING:
    from processor.state.arena import Arena
    from processor.stepping.slices import Slice
    from processor.types import BoolArray, Events, Int32Array, Int64Array, Rows


@dataclass(frozen=True, slots=True)
class SequenceRules:
    """When a key's state starts afresh. Milliseconds of event time; 0 switches a rule off."""

    gap_ms: int = 0
    idle_ms: int = 0
    allowed_lateness_ms: int = 0
    length: int = 0  # tumbling: the state is empty again after this many samples


def stream_times(events: Events, start: int, stop: int, stream_time: int) -> Int64Array:
    """The stream time before each of the partition's events `start:stop`, and after the last: int64[n + 1].

    The greatest time of the good events so far. A late event is below it by definition, so it need not be left out.
    """
    times = np.where(events.kind[start:stop] == Kind.SAMPLE, events.time[start:stop], NO_TIME)
    return np.maximum.accumulate(np.concatenate([np.array([stream_time], np.int64), times]))


def late(rules: SequenceRules, events: Events, start: int, stop: int, before: Int64Array) -> BoolArray:
    """2. Whether each of the events `start:stop` is late."""
    if not rules.allowed_lateness_ms:
        return np.zeros(stop - start, np.bool_)
    is_sample = events.kind[start:stop] == Kind.SAMPLE
    known = before != NO_TIME
    is_late: BoolArray = is_sample & known & (before - events.time[start:stop] > rules.allowed_lateness_ms)
    return is_late


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of a wave, as aligned columns."""

    rows: Rows  # of the slice
    slots: Int32Array  # of their keys
    idle: BoolArray  # the key was forgotten, its sequence number too
    afresh: BoolArray  # the state starts from the artifact's initial state

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, chosen: BoolArray) -> Samples:
        """Those that are chosen."""
        return Samples(self.rows[chosen], self.slots[chosen], self.idle[chosen], self.afresh[chosen])


def classify(rules: SequenceRules, piece: Slice, rows: Rows, arena: Arena) -> tuple[Samples, BoolArray]:
    """Rules 3 to 5 for the samples `rows` of a wave; and which of them are duplicates."""
    events, slots = piece.events, piece.slots[rows]
    times, key_times = events.time[rows], arena.time[slots]
    empty = arena.steps[slots] == 0
    nothing = np.zeros(len(rows), np.bool_)

    idle = nothing  # 3.
    if rules.idle_ms:
        idle = (key_times != NO_TIME) & (np.maximum(piece.stream_time[rows], times) - key_times > rules.idle_ms)

    duplicate = nothing  # 4.
    numbered = events.has_sequence[rows]
    if numbered.any():
        seen = arena.has_sequence[slots] & ~idle
        duplicate = numbered & seen & (events.sequence[rows] <= arena.sequence[slots])

    afresh = empty | idle | events.start[rows]  # 5.
    if rules.gap_ms:
        afresh |= ~empty & (times - key_times > rules.gap_ms)
    return Samples(rows, slots, idle, afresh), duplicate
