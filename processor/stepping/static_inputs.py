"""Static inputs: what a sequence's first sample brings holds for all of it. Whether an event agrees, as arrays.

The step graph takes a static input from the state once that holds one, so what is left to decide is which events are
bad: one that starts a state afresh and lacks a value, and one that brings another value than the state holds. Values
are compared as the words that are stored: bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from processor.types import BadEvent, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from processor.model.artifact import Slot
    from processor.state.arena import Arena
    from processor.types import BoolArray, Events, Float32Array, Int32Array

    Rows = NDArray[np.intp]
    Statics = Mapping[str, Slot]  # static input -> the slot that keeps it


def wrong_statics(
    statics: Statics, events: Events, rows: Rows, words: Float32Array, afresh: BoolArray
) -> dict[int, BadEvent]:
    """Which of the samples `rows` don't agree with their keys' states (`words`), by row, and why.

    afresh: whether each of them starts its state afresh, so that what `words` holds is of no account.
    """
    bad: dict[int, BadEvent] = {}
    for name, slot in statics.items():
        given = events.given[name][rows]
        for row in rows[afresh & ~given].tolist():
            detail = f"features: the static input {name!a} is absent, and this event begins a sequence"
            bad.setdefault(row, BadEvent(Reason.WRONG_STATIC, detail))
        differs = given & ~afresh & (_sent(events, name, rows) != _kept(words, slot)).any(axis=1)
        for at in np.flatnonzero(differs).tolist():
            row = int(rows[at])
            detail = f"features: the static input {name!a} is another one than this sequence began with"
            bad.setdefault(row, BadEvent(Reason.WRONG_STATIC, detail))
    return bad


def agree(
    statics: Statics, events: Events, rows: Rows, key: Rows, firsts: Rows, slots: Int32Array, arena: Arena
) -> BoolArray:
    """[n]: whether each event of whole keys agrees, where none of them starts afresh but the first of an empty key.

    rows: of the events, key by key; key: each one's key as an index into `slots`; firsts: each key's first event.
    """
    agrees = np.ones(len(rows), np.bool_)
    empty = arena.steps[slots] == 0
    for name, slot in statics.items():
        given, sent = events.given[name][rows], _sent(events, name, rows)
        kept = np.where(empty[:, None], sent[firsts], _kept(arena.words[slots], slot))
        agrees &= ~given | (sent == kept[key]).all(axis=1)
        agrees[firsts] &= given[firsts] | ~empty
    return agrees


def _sent(events: Events, name: str, rows: Rows) -> Int32Array:
    """[n, words] as bits."""
    column = events.features[name]
    return np.ascontiguousarray(column.reshape(len(column), -1)[rows]).view(np.int32)


def _kept(words: Float32Array, slot: Slot) -> Int32Array:
    return np.ascontiguousarray(words[:, slot.columns]).view(np.int32)
