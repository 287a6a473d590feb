"""A slice is cut into waves: the i-th event of every key, so that each key is in a wave at most once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processor.types import Int32Array


def cut_waves(slots: Int32Array) -> list[NDArray[np.intp]]:
    """Rows of the first event of each slot, of the second, and so on.

    slots: int32[n], in the order of the events. Returns index arrays that together hold each of 0..n-1 once; inside a
    wave the rows are ordered by slot, and every slot is there at most once. Two stable sorts, no loop over events.
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
