"""When records are written never changes an answer, but it must not stall the commits."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest

from processor.state.flush_queue import FlushQueue
from processor.stepping.sequence import SequenceRules
from protocol.draw import event
from protocol.history import History, Move
from protocol.world import play

KEYS = [b"key-%d" % number for number in range(12)]


@pytest.mark.usefixtures("abstract_outside")
def test_keys_that_became_dirty_together_are_written_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a steady load, of which each key has its share: some in nearly every commit, not all of them in one."""
    written: list[int] = []

    def fallen_due(self: Any, *arguments: Any) -> Any:
        slots = original(self, *arguments)
        written.append(len(slots))
        return slots

    original = FlushQueue.fallen_due
    monkeypatch.setattr(FlushQueue, "fallen_due", fallen_due)
    records: list[Any] = [
        (0, offset, key, event(offset % 100, time=offset)) for offset, key in zip(range(400), cycle(KEYS))
    ]
    moves = [Move("start", 0), Move("rebalance", 0)]
    moves += [Move(name, seed) for seed in range(150) for name in ("append", "turn")]
    play(
        History(
            SequenceRules(),
            records,
            [],
            moves,
            slots=16,
            tick=0.001,
            snapshot_interval=0.5,
            polled_at_once=12,
            visible_at_first=12,
        )
    )
    assert sum(written) > 2 * len(KEYS)
    first = next(at for at, count in enumerate(written) if count)
    assert np.mean(np.array(written[first:]) > 0) > 0.8  # all of them in every fifth commit otherwise
