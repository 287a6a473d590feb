"""Runs: the events of the few keys that still have some when all others are done, checked at once.

A hot key makes as many waves as it has events, each of a row or two, and what surrounds a step costs more than the
step. But the checks of a key are known beforehand where all of its events are *ordinary*: samples that continue its
sequence. (None starts or ends a sequence, none is a duplicate or was stepped before, static inputs agree.) Such keys
are checked at once, and only the model goes event by event. Other keys stay in the waves. Both compute the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from processor.stepping.static_inputs import agree
from processor.stepping.waves import KeyByKey
from processor.types import NO_TIME, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.state.arena import Arena
    from processor.stepping.sequence import SequenceRules
    from processor.stepping.slices import Slice
    from processor.stepping.static_inputs import Statics
    from processor.types import BoolArray, Events, Int32Array, Int64Array, Rows

THIN: Final = 32
"""Rows of a wave at or below which its keys, and those of the waves after it, are worth a look."""


@dataclass(frozen=True, slots=True)
class Run:
    """n events of m keys, wave by wave; in each, keys by falling number of events: wave i has the first `sizes[i]`."""

    rows: Rows  # [n]
    key: Rows  # [n], each event's key as an index into `slots`
    sizes: list[int]
    slots: Int32Array  # [m]
    counts: Rows  # [m], events of each key
    last: Rows  # [m], each key's last event as an index into `rows`


def cut_run(
    waves: Sequence[Rows], piece: Slice, rules: SequenceRules, statics: Statics, arena: Arena
) -> tuple[Run | None, list[Rows]]:
    """The run of all ordinary keys of the last waves of a slice, and what is left of these waves.

    waves: each wave's keys are among those of the wave before.
    """
    rows = np.concatenate(waves)
    wave = np.repeat(np.arange(len(waves)), [len(each) for each in waves])
    keys = KeyByKey.of(rows, piece.slots[rows])
    ordinary = _are_ordinary(keys, piece, rules, arena)
    if statics:
        ordinary &= keys.all_of_each(agree(statics, piece.events, keys, arena))
    if not ordinary.any():
        return None, list(waves)
    rank = _ranks(ordinary, keys.counts)[np.searchsorted(keys.slots, piece.slots[rows])]
    chosen = rank >= 0
    return _run(rows[chosen], wave[chosen], rank[chosen], piece.slots), _waves(rows[~chosen], wave[~chosen])


def _ranks(ordinary: BoolArray, counts: Rows) -> Rows:
    """[m]: each ordinary key's place in the waves of a run, by falling number of events; -1 for the others."""
    chosen = np.flatnonzero(ordinary)
    ranks = np.full(len(ordinary), -1, np.intp)
    ranks[chosen[np.argsort(-counts[chosen], kind="stable")]] = np.arange(len(chosen))
    return ranks


def _run(rows: Rows, wave: Rows, rank: Rows, slots: Int32Array) -> Run:
    """The run of these rows; wave, rank: which wave each is in, and its key's place there. slots: of all rows."""
    order = np.lexsort((rank, wave))
    rows, rank = rows[order], rank[order]
    counts, sizes = np.bincount(rank), np.bincount(wave)
    starts = np.cumsum(sizes) - sizes
    return Run(
        rows=rows,
        key=rank,
        sizes=sizes.tolist(),
        slots=slots[rows[: len(counts)]],  # the first wave has every key
        counts=counts,
        last=starts[counts - 1] + np.arange(len(counts)),
    )


def _waves(rows: Rows, wave: Rows) -> list[Rows]:
    """Rows that are ordered by wave, as waves again; without the empty ones."""
    cuts = np.flatnonzero(np.diff(wave)) + 1
    return np.split(rows, cuts) if len(rows) else []


def _are_ordinary(keys: KeyByKey, piece: Slice, rules: SequenceRules, arena: Arena) -> BoolArray:
    """[m]: whether every event of a key is a sample that continues its sequence."""
    if rules.length:
        return np.zeros(len(keys.slots), np.bool_)
    events, rows = piece.events, keys.rows
    plain = (events.kind[rows] == Kind.SAMPLE) & ~events.start[rows] & ~events.end[rows]
    continues = keys.all_of_each(plain & _continues(keys, piece, rules, arena))
    return continues & _is_new(keys, piece.batch.offsets, arena) & _rises(keys, events, arena)


def _is_new(keys: KeyByKey, offsets: Int64Array, arena: Arena) -> BoolArray:
    """[m]: whether no event of a key is in its record already."""
    is_new: BoolArray = offsets[keys.rows[keys.firsts]] > arena.offset[keys.slots]
    return is_new


def _rises(keys: KeyByKey, events: Events, arena: Arena) -> BoolArray:
    """[m]: whether none of a key's events has a number, or all have, and their numbers rise."""
    numbered = events.has_sequence[keys.rows]
    none = keys.all_of_each(~numbered)
    if none.all():
        return none
    sequence = events.sequence[keys.rows]
    is_above = np.empty(len(sequence), np.bool_)
    is_above[1:] = sequence[1:] > sequence[:-1]
    is_above[keys.firsts] = ~arena.has_sequence[keys.slots] | (sequence[keys.firsts] > arena.sequence[keys.slots])
    return none | keys.all_of_each(numbered & is_above)


def _continues(keys: KeyByKey, piece: Slice, rules: SequenceRules, arena: Arena) -> BoolArray:
    """[n]: whether a key's time does not fall, and no pause is long enough to start its state afresh."""
    times = piece.events.time[keys.rows]
    continues = np.ones(len(times), np.bool_)
    if not rules.gap_ms and not rules.idle_ms:
        return continues  # any times will do
    former = np.empty(len(times), np.int64)
    former[1:] = times[:-1]
    former[keys.firsts] = arena.time[keys.slots]
    former = np.where(former == NO_TIME, times, former)  # a key that was never seen has made no pause
    continues &= times >= former
    if rules.gap_ms:
        continues &= times - former <= rules.gap_ms
    if rules.idle_ms:
        continues &= np.maximum(piece.stream_time[keys.rows], times) - former <= rules.idle_ms
    return continues
