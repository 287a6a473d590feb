"""Runs: the events of the few keys that still have some when all others are done, stepped without judging each wave.

A key that is hot makes as many waves as it has events, each of a row or two, and what surrounds a step costs more than
the step. But a key all of whose events are *ordinary* (samples that go on with its sequence: nothing starts afresh or
ends, nothing is a duplicate or was stepped before, static inputs agree) has every verdict known beforehand: it is
judged at once, and only the model goes event by event. Other keys are left to the waves. Both ways compute the same
bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from processor.stepping.static_inputs import agree
from processor.types import NO_TIME, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from processor.state.arena import Arena
    from processor.stepping.sequence import SequenceRules
    from processor.stepping.static_inputs import Statics
    from processor.types import BoolArray, Events, Int32Array, Int64Array

    Rows = NDArray[np.intp]

THIN: Final = 32
"""Rows of a wave at or below which its keys, and those of the waves after it, are worth a look."""


@dataclass(frozen=True, slots=True)
class Run:
    """n events of m keys, wave by wave; in each, keys by falling number of events: wave i has the first `sizes[i]`."""

    rows: Rows  # [n], of the batch
    sizes: list[int]
    slots: Int32Array  # [m]
    counts: Rows  # [m], events of each key
    key: Rows  # [n], each event's key as an index into `slots`
    last: Rows  # [m], each key's last event as an index into `rows`


@dataclass(frozen=True, slots=True)
class _KeyByKey:
    """The same events, one key after the other."""

    rows: Rows  # [n], of the batch
    before: Int64Array  # [n], the stream time before each
    firsts: Rows  # [m], each key's first event as an index into `rows`
    slots: Int32Array  # [m]

    def of_each(self, holds: BoolArray) -> BoolArray:
        """[n] -> [m]: whether it holds for all events of a key."""
        all_of: BoolArray = np.logical_and.reduceat(holds, self.firsts)
        return all_of


def cut_run(
    waves: Sequence[Rows],
    slots: Int32Array,
    before: Int64Array,
    first: int,
    rules: SequenceRules,
    statics: Statics,
    events: Events,
    offsets: Int64Array,
    arena: Arena,
) -> tuple[Run | None, list[Rows]]:
    """The run of all ordinary keys of some last waves of a slice, and what the waves still have of the others.

    waves: rows of the slice, each wave's keys among those of the wave before; slots, before: of the slice's rows, the
    stream times before them; first: the slice's first row of the batch; events, offsets: of the batch.
    """
    rest = np.concatenate(waves)
    order = np.argsort(slots[rest], kind="stable")
    rows = rest[order]
    owners, firsts, key, counts = np.unique(slots[rows], return_index=True, return_inverse=True, return_counts=True)
    keys = _KeyByKey(rows + first, before[rows], firsts, owners)
    ordinary = _are_ordinary(keys, rules, events, offsets, arena)
    if statics:
        ordinary &= keys.of_each(agree(statics, events, keys.rows, key, firsts, owners, arena))
    if not ordinary.any():
        return None, list(waves)
    place = np.full(len(owners), -1, np.intp)
    by_count = np.argsort(-counts[ordinary], kind="stable")
    place[np.flatnonzero(ordinary)[by_count]] = np.arange(len(by_count))
    places = np.empty(len(rest), np.intp)
    places[order] = place[key]
    wave = np.repeat(np.arange(len(waves)), [len(each) for each in waves])
    chosen = np.flatnonzero(places >= 0)
    chosen = chosen[np.lexsort((places[chosen], wave[chosen]))]
    sizes = np.bincount(wave[chosen])
    counts = counts[ordinary][by_count]
    run = Run(
        rows=rest[chosen] + first,
        sizes=sizes.tolist(),
        slots=owners[ordinary][by_count],
        counts=counts,
        key=places[chosen],
        last=(np.cumsum(sizes) - sizes)[counts - 1] + np.arange(len(counts)),
    )
    others = np.split(rest[places < 0], np.cumsum(np.bincount(wave[places < 0], minlength=len(waves)))[:-1])
    return run, [rows for rows in others if len(rows)]


def _are_ordinary(
    keys: _KeyByKey, rules: SequenceRules, events: Events, offsets: Int64Array, arena: Arena
) -> BoolArray:
    """[m]: whether every event of a key is a sample that goes on with its sequence."""
    rows = keys.rows
    if rules.length:
        return np.zeros(len(keys.slots), np.bool_)
    plain = (events.kind[rows] == Kind.SAMPLE) & ~events.start[rows] & ~events.end[rows]
    is_new = offsets[rows[keys.firsts]] > arena.offset[keys.slots]
    return keys.of_each(plain & _goes_on(keys, rules, events, arena)) & is_new & _rises(keys, events, arena)


def _rises(keys: _KeyByKey, events: Events, arena: Arena) -> BoolArray:
    """[m]: whether none of a key's events is numbered, or all are, and their numbers rise."""
    numbered = events.has_sequence[keys.rows]
    none = keys.of_each(~numbered)
    if none.all():
        return none
    sequence = events.sequence[keys.rows]
    is_above = np.empty(len(sequence), np.bool_)
    is_above[1:] = sequence[1:] > sequence[:-1]
    is_above[keys.firsts] = ~arena.has_sequence[keys.slots] | (sequence[keys.firsts] > arena.sequence[keys.slots])
    return none | keys.of_each(numbered & is_above)


def _goes_on(keys: _KeyByKey, rules: SequenceRules, events: Events, arena: Arena) -> BoolArray:
    """[n]: whether a key's time does not fall, and no pause is long enough to start its state afresh."""
    times = events.time[keys.rows]
    goes_on = np.ones(len(times), np.bool_)
    if not rules.gap_ms and not rules.idle_ms:
        return goes_on  # any times will do
    former = np.empty(len(times), np.int64)
    former[1:] = times[:-1]
    former[keys.firsts] = arena.time[keys.slots]
    former = np.where(former == NO_TIME, times, former)  # a key that was never seen has made no pause
    goes_on &= times >= former
    if rules.gap_ms:
        goes_on &= times - former <= rules.gap_ms
    if rules.idle_ms:
        goes_on &= np.maximum(keys.before, times) - former <= rules.idle_ms
    return goes_on
