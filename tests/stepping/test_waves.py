"""Waves: every event once, every key at most once in a wave, and the i-th event of a key in the i-th wave."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processor.stepping.waves import cut_waves


@given(st.lists(st.integers(0, 12), max_size=200))
def test_the_ith_wave_holds_the_ith_event_of_every_key(slots: list[int]) -> None:
    column = np.array(slots, np.int32)
    seen: dict[int, int] = {}
    expected: list[set[int]] = []
    for row, slot in enumerate(slots):
        rank = seen.get(slot, 0)
        seen[slot] = rank + 1
        if rank == len(expected):
            expected.append(set())
        expected[rank].add(row)

    waves = cut_waves(column)

    assert [set(wave.tolist()) for wave in waves] == expected
    assert all(len(set(column[wave].tolist())) == len(wave) for wave in waves)
