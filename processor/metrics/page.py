"""A page of metrics as numbers, for code that reads it and does not only show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric


class Series(NamedTuple):
    """One sample's name and labels."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


def series_of(page: str) -> dict[Series, float]:
    """Every sample of a page in Prometheus' text format."""
    return series_in(text_string_to_metric_families(page))


def series_in(families: Iterable[Metric]) -> dict[Series, float]:
    """Every sample of these families."""
    return {
        Series(sample.name, tuple(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def total(values: Mapping[Series, float], name: str) -> float:
    """The sum of all series of this name."""
    return sum(value for series, value in values.items() if series.name == name)


def by_label(values: Mapping[Series, float], name: str) -> dict[str, float]:
    """The first label's value -> the series' value."""
    return {series.labels[0][1]: value for series, value in values.items() if series.name == name and series.labels}


def quantile(values: Mapping[Series, float], name: str, share: float) -> float | None:
    """A quantile of a histogram, as Prometheus' `histogram_quantile` estimates it; None where nothing was observed.

    Within the bucket that holds it, the observations are taken as evenly spread. In the last bucket, which has no upper
    bound, it is the lower one.
    """
    buckets = sorted((float(le), count) for le, count in by_label(values, f"{name}_bucket").items())
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = share * buckets[-1][1]
    for (low, below), (high, until) in _neighbours(buckets):
        if until >= wanted:
            if high == float("inf"):
                return low
            return low + (high - low) * (wanted - below) / (until - below) if until > below else high
    return None


def _neighbours(buckets: Iterable[tuple[float, float]]) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    before = (0.0, 0.0)
    for bucket in buckets:
        yield before, bucket
        before = bucket
