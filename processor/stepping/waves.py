"""The rows of a slice in two orders: in waves, so that each key is in a wave at most once, and key by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from processor.types import BoolArray, Int32Array, Rows


def cut_waves(slots: Int32Array) -> list[Rows]:
    """Rows of the first event of each slot, of the second, and so on.

    slots: int32[n], in the order of the events. Returns index arrays that together hold each of 0..n-1 once. Inside a
    wave, the rows are ordered by slot, and no slot is there twice. Two stable sorts, no loop over events.
    """
    count = len(slots)
    if count == 0:
        return []
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    is_first = np.empty(count, dtype=np.bool_)
    is_first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    firsts = np.flatnonzero(is_first)
    if len(firsts) == count:
        return [order]
    repeats = np.diff(firsts, append=count)
    rank = np.arange(count) - np.repeat(firsts, repeats)
    by_rank = order[np.argsort(rank, kind="stable")]
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])


@dataclass(frozen=True, slots=True)
class KeyByKey:
    """n rows of m keys, one key after the other."""

    rows: Rows  # [n]
    key: Rows  # [n], each row's key as an index into `slots`
    slots: Int32Array  # [m], rising
    counts: Rows  # [m], rows of each key
    firsts: Rows  # [m], each key's first row as an index into `rows`

    @classmethod
    def of(cls, rows: Rows, slots: Int32Array) -> KeyByKey:
        """rows: [n], those of one key in their order; slots: [n], of their keys. n >= 1."""
        order = np.argsort(slots, kind="stable")
        owners, firsts, counts = np.unique(slots[order], return_index=True, return_counts=True)
        return cls(rows[order], np.repeat(np.arange(len(owners)), counts), owners, counts, firsts)

    def all_of_each(self, holds: BoolArray) -> BoolArray:
        """[n] -> [m]: whether it holds for all rows of a key."""
        all_of: BoolArray = np.logical_and.reduceat(holds, self.firsts)
        return all_of
