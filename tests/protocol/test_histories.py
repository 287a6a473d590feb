"""Random histories of the protocol: whatever happened, the output reads as if nothing had.

HISTORIES=600 plays so many of each theme and guarantee, drawn by seeds; Hypothesis, which looks for what is rare in its
own way, draws as many again. Hundreds of thousands: `python -m protocol.search`.
"""

from __future__ import annotations

import json
import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.draw import draw_by
from protocol.history import History
from protocol.search import first_failure, shrunk, story_of
from protocol.stand_ins import OUTSIDE, replaced
from protocol.themes import THEMES
from protocol.world import play

HISTORIES = int(os.environ.get("HISTORIES", "12"))


@pytest.mark.parametrize("theme", THEMES)
def test_whatever_happens_the_output_reads_as_if_nothing_had(theme: str) -> None:
    expect_no_failure(range(HISTORIES), theme, exactly_once=True)


@pytest.mark.parametrize("theme", ["crashes", "aborts", "markers", "disks"])
def test_at_least_once_repeats_the_same_bytes_and_loses_nothing(theme: str) -> None:
    expect_no_failure(range(HISTORIES // 2), theme, exactly_once=False)


@settings(max_examples=4 * HISTORIES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from(sorted(THEMES)),
    st.sampled_from([None, True]),
    st.integers(0, 2**16),
)
def test_whatever_hypothesis_draws(random: Random, theme: str, exactly_once: bool | None, seed: int) -> None:
    """Each single choice of a history is Hypothesis' own: it goes on from what it has seen, and makes it smaller."""
    with replaced(OUTSIDE):
        play(draw_by(random, theme, exactly_once, seed))


def expect_no_failure(seeds: range, theme: str, exactly_once: bool) -> None:
    found = first_failure(seeds, theme, exactly_once, None)
    if found is None:
        return
    seed, history, failure = found
    small = shrunk(history, None, 20)
    plain = json.dumps(small.to_json())
    assert History.from_json(json.loads(plain)) == small
    pytest.fail(f"seed {seed} of {theme!r}: {failure}\n\nThe smallest:\n{plain}\n\n{story_of(small)}", pytrace=False)
