"""Random model graphs: each converts, and says what the trained model says; or is refused for a reason of the list.

Two dozen are drawn in every run of the tests; thousands by `model.draw_graphs`.
"""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model import random_graphs
from model.draw_graphs import drawn, outcome


@pytest.mark.parametrize("part", range(4))  # which may be drawn in several processes
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_random_graph_converts_or_says_why_not(part: int, data: st.DataObject) -> None:
    def draw(options: Any) -> Any:
        turned = deque(options)
        turned.rotate(part)  # so that the same choices make another graph in each part
        return data.draw(st.sampled_from(list(turned)))

    with tempfile.TemporaryDirectory() as directory:
        outcome(random_graphs.model(draw), Path(directory))


@pytest.mark.parametrize("seed", [487, 529])
def test_what_was_refused_for_its_own_rounding_converts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding that is dearer in the middle of a sequence than at its end; large numbers that nearly cancel out."""
    monkeypatch.setattr(random_graphs, "_STEPS", random_graphs._STEPS[:17])
    assert drawn(seed) == "converted"
