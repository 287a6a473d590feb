"""The life cycle of a partition, walked over its whole grid."""

from __future__ import annotations

import pytest

from processor.recovery.partition import MOVES, IllegalMove, Move, Partition, Phase
from processor.types import Cursor


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("move", list(Move))
def test_each_cell_of_the_table(phase: Phase, move: Move) -> None:
    partition = Partition(3)
    partition.phase = phase
    if move in MOVES[phase]:
        partition.move(move)
        assert partition.phase is MOVES[phase][move]
    else:
        with pytest.raises(IllegalMove, match="partition 3"):
            partition.move(move)
        assert partition.phase is phase


def test_every_phase_can_be_left_and_only_the_last_is_the_end() -> None:
    assert all(MOVES[phase].get(Move.LEFT) is Phase.CLOSED for phase in Phase if phase is not Phase.CLOSED)
    assert not MOVES[Phase.CLOSED]


def test_a_replay_commits_the_old_offset_and_never_its_own_cursor() -> None:
    partition = Partition(0)
    partition.cursor, partition.publish_from = Cursor(10), 25
    assert partition.committable == 25
    partition.cursor = Cursor(30)
    assert partition.committable == 30
