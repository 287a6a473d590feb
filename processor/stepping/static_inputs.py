"""Static inputs: the value of the first sample holds for the whole sequence. Whether an event agrees, as arrays.

Once the state holds a static input, the step graph takes it from there. So two kinds of event are bad: one that starts
a state afresh without a value, and one whose value differs from the state's. Values are compared as the words that are
stored: bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from processor.types import BadEvent, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processor.model.artifact import Slot
    from processor.state.arena import Arena
    from processor.stepping.sequence import Samples
    from processor.stepping.waves import KeyByKey
    from processor.types import BoolArray, Events, Float32Array, Int32Array, Rows

    Statics = Mapping[str, Slot]  # static input -> the slot that keeps it


def wrong_statics(statics: Statics, events: Events, samples: Samples, arena: Arena) -> dict[int, BadEvent]:
    """Which of the samples don't agree with their keys' states, by row, and why."""
    bad: dict[int, BadEvent] = {}
    words = arena.words[samples.slots]
    for name, slot in statics.items():
        given = events.given[name][samples.rows]
        for row in samples.rows[samples.afresh & ~given].tolist():
            detail = f"features: the static input {name!a} is absent, and this event begins a sequence"
            bad.setdefault(row, BadEvent(Reason.WRONG_STATIC, detail))
        differs = (_sent(events, name, samples.rows) != _kept(words, slot)).any(axis=1)
        for row in samples.rows[given & ~samples.afresh & differs].tolist():
            detail = f"features: the static input {name!a} is another one than this sequence began with"
            bad.setdefault(row, BadEvent(Reason.WRONG_STATIC, detail))
    return bad


def agree(statics: Statics, events: Events, keys: KeyByKey, arena: Arena) -> BoolArray:
    """[n]: whether each event of whole keys agrees, where none of them starts afresh but the first of an empty key."""
    agrees = np.ones(len(keys.rows), np.bool_)
    empty = arena.steps[keys.slots] == 0
    for name, slot in statics.items():
        given, sent = events.given[name][keys.rows], _sent(events, name, keys.rows)
        kept = np.where(empty[:, None], sent[keys.firsts], _kept(arena.words[keys.slots], slot))
        agrees &= ~given | (sent == kept[keys.key]).all(axis=1)
        agrees[keys.firsts] &= given[keys.firsts] | ~empty
    return agrees


def _sent(events: Events, name: str, rows: Rows) -> Int32Array:
    """[n, words] as bits."""
    column = events.features[name]
    return np.ascontiguousarray(column.reshape(len(column), -1)[rows]).view(np.int32)


def _kept(words: Float32Array, slot: Slot) -> Int32Array:
    return np.ascontiguousarray(words[:, slot.columns]).view(np.int32)
