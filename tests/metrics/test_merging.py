"""Several processes' metrics as one page: what is summed, what is told apart, and what a process' death changes."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from processor.metrics import Metrics
from processor.metrics.merging import Merged
from processor.types import Reason


def page(events: int, lag: int, *, began: float = 1.0) -> str:
    metrics = Metrics()
    metrics.model("9f3c2a71", "carry")
    metrics._add("events_total", events)
    metrics._add("dead_letters_total", events // 10, Reason.LATE)
    metrics.lag({0: lag, 1: 1})
    lines = metrics.render().decode().splitlines(keepends=True)
    kept = [line for line in lines if "process_start_time_seconds " not in line or line.startswith("#")]
    return "".join(kept) + f"process_start_time_seconds {began}\n"


def values(merged: Merged) -> dict[str, float]:
    """Every sample of the page: `name{labels}` -> value."""
    found = {}
    for family in text_string_to_metric_families(merged.page()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sample.labels.items())
            key = f"{sample.name}{{{labels}}}"
            assert key not in found
            found[key] = sample.value
    return found


def test_what_counts_is_summed_and_the_rest_is_told_apart() -> None:
    merged = Merged()
    merged.take(0, page(100, 5))
    merged.take(1, page(50, 7))
    found = values(merged)
    assert found["processor_events_total{}"] == 150
    assert found["processor_dead_letters_total{reason=late}"] == 15
    assert found["processor_lag_events{}"] == 14
    assert found["processor_lag_worst_events{process=0}"] == 5
    assert found["processor_lag_worst_events{process=1}"] == 7
    assert found["processor_slice_events_count{}"] == 0
    assert found["processor_slice_events_bucket{le=+Inf}"] == 0
    assert found["processor_model_info{process=1,mode=carry,model=9f3c2a71,version=" + version() + "}"] == 1
    assert {"process_start_time_seconds{process=0}", "process_start_time_seconds{process=1}"} <= set(found)


def version() -> str:
    from processor.version import __version__

    return __version__


def test_a_sum_never_falls() -> None:
    """Prometheus would take it for a counter that began at zero, and count the others twice."""
    merged = Merged()
    merged.take(0, page(100, 5))
    merged.take(1, page(50, 7))
    merged.gone(1)  # it was killed
    found = values(merged)
    assert found["processor_events_total{}"] == 150
    assert found["processor_lag_events{}"] == 6, "who is gone has no lag: others have its partitions"
    assert "processor_lag_worst_events{process=1}" not in found
    merged.take(1, page(3, 9, began=2.0))
    assert values(merged)["processor_events_total{}"] == 153
    merged.take(1, page(4, 9, began=2.0))
    assert values(merged)["processor_events_total{}"] == 154
    merged.take(1, page(70, 9, began=3.0))  # two lives between two looks: the greater number hides the restart
    assert values(merged)["processor_events_total{}"] == 224


def test_where_no_start_is_known_a_counter_that_falls_is_one() -> None:
    def without(text: str) -> str:
        return "".join(line for line in text.splitlines(keepends=True) if "process_start_time" not in line)

    merged = Merged()
    merged.take(0, without(page(100, 5)))
    merged.take(0, without(page(3, 5)))
    assert values(merged)["processor_events_total{}"] == 103


def test_no_process_has_answered_yet() -> None:
    merged = Merged()
    merged.gone(0)
    assert merged.page() == ""
