"""A histogram that takes arrays: some nanoseconds a value, where prometheus_client's own takes microseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


class BatchHistogram(Collector):
    """Counts values by bucket. Written by one thread; a scrape on another may see the last array half counted."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float]) -> None:
        """buckets: their upper edges, which belong to them, rising; the last one, without an edge, comes by itself."""
        self._name, self._documentation = name, documentation
        self._edges = np.array(buckets, np.float64)
        self._labels = [*(str(float(edge)) for edge in buckets), "+Inf"]
        self._counts = np.zeros(len(buckets) + 1, np.int64)
        self._sum = 0.0

    def observe(self, values: NDArray[np.generic]) -> None:
        """Counts an array of finite numbers of any kind."""
        at = np.searchsorted(self._edges, values, side="left")
        self._counts += np.bincount(at, minlength=len(self._counts))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What Prometheus reads."""
        cumulative = np.cumsum(self._counts).tolist()
        buckets = list(zip(self._labels, map(float, cumulative), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)
