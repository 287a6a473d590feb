"""A page of metrics, read back."""

from __future__ import annotations

import numpy as np
import pytest

from processor.metrics import Metrics
from processor.metrics.page import Series, by_label, quantile, series_of, total
from processor.types import Reason


def test_what_was_counted_is_read_back() -> None:
    metrics = Metrics()
    metrics._add("dead_letters_total", 3, Reason.LATE)
    metrics._add("dead_letters_total", 4, Reason.NO_KEY)
    page = series_of(metrics.render().decode())
    assert page[Series("processor_dead_letters_total", (("reason", "late"),))] == 3
    assert total(page, "processor_dead_letters_total") == 7
    assert by_label(page, "processor_dead_letters_total")["no_key"] == 4
    assert quantile(page, "processor_slice_events", 0.5) is None


@pytest.mark.parametrize(
    ("observed", "share", "expected"),
    [([5] * 10, 0.5, 5.5), ([1] * 10, 0.5, 0.5), ([50] * 99 + [9000], 0.99, 100), ([10**9], 0.5, 10_000)],
)
def test_a_quantile_is_estimated_as_prometheus_does(observed: list[int], share: float, expected: float) -> None:
    """Buckets end at 1, 10, 100, 300, ...: within one, evenly spread; beyond the last, its lower end."""
    metrics = Metrics()
    metrics._histograms["slice_events"].observe(np.array(observed))
    found = quantile(series_of(metrics.render().decode()), "processor_slice_events", share)
    assert found == pytest.approx(expected)
