"""Histories of the bookkeeping: whatever a commit keeps, the way back makes of it what one pass over the input does."""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.books import LONGEST, drawn, play
from protocol.mutants import MUTANTS
from protocol.stand_ins import replaced

HISTORIES: Final = 50 * int(os.environ.get("HISTORIES", "12"))
CAUGHT_HERE: Final = (
    "replay_from_is_the_cursor",
    "bucket_has_its_closing_cursor",
    "stepped_again_joins_again",
    "stamp_is_forgotten",
    "stamp_drops_the_stream_time",
    "freed_slots_stay_in_their_bucket",
    "dirty_slots_are_evicted",
    "replay_commits_its_cursor",
)


@settings(max_examples=HISTORIES, deadline=None, print_blob=True)
@given(st.binary(max_size=LONGEST))
def test_whatever_hypothesis_draws(history: bytes) -> None:
    play(history)


def test_whatever_seeds_draw() -> None:
    for seed in range(HISTORIES):
        play(drawn(seed))


@pytest.mark.parametrize("name", CAUGHT_HERE)
def test_a_broken_rule_shows(name: str) -> None:
    """Within a few seeds, so that a search of many is worth something."""
    with replaced(MUTANTS[name].breaks()):
        assert any(fails(drawn(seed)) for seed in range(300))


def fails(history: bytes) -> bool:
    try:
        play(history)
    except Exception:
        return True
    return False
