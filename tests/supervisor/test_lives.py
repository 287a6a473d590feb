"""When a process is started again, and when not."""

from __future__ import annotations

from processor import errors
from processor.supervisor.lives import ENDS_ALL, LONGEST_PAUSE_SECONDS, Lives


def test_short_lives_are_followed_by_longer_pauses() -> None:
    lives = Lives()
    assert [lives.pause_after(0.5) for _ in range(7)] == [1, 2, 4, 8, 16, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert lives.pause_after(3600) == 1, "a long life was a good one"
    assert lives.restarts == 8


def test_only_what_a_human_must_mend_ends_all() -> None:
    assert {errors.ConfigError.exit_code, errors.StateCorrupt.exit_code, errors.Incompatible.exit_code} == ENDS_ALL
    assert {errors.Unavailable.exit_code, errors.OwnershipLost.exit_code, 1, -9} & ENDS_ALL == set()
