"""Random model graphs: each converts, and says what the trained model says; or is refused for a reason of the list.

Two dozen are drawn in every run of the tests; thousands by `model.draw_graphs`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model import random_graphs
from model.draw_graphs import outcome


@pytest.mark.parametrize("_part", range(4))  # which may be drawn in several processes
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_random_graph_converts_or_says_why_not(_part: int, data: st.DataObject) -> None:
    def draw(options: Any) -> Any:
        return data.draw(st.sampled_from(list(options)))

    with tempfile.TemporaryDirectory() as directory:
        outcome(random_graphs.model(draw), Path(directory))
