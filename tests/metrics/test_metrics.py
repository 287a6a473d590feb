"""The metrics: what the text format's own parser reads back, and that the table is all there is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from processor.metrics import PHASES, PREFIX, STAGES, TABLE, Metrics
from processor.metrics.batch_histogram import BatchHistogram
from processor.recovery.partition import Phase
from processor.types import BadEvent, Reason


@dataclass
class Produced:
    events: int = 0
    predicted: int = 0
    replayed: int = 0
    duplicates: int = 0
    dead_letters: list[tuple[int, BadEvent, object]] = field(default_factory=list)
    timestamps: list[np.ndarray] = field(default_factory=list)


@dataclass
class Committed:
    partitions: int = 1
    records: int = 0
    bytes: int = 0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def values(metrics: Metrics) -> dict[str, float]:
    """`name{label}` -> value of every sample of ours, as the parser reads the text."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            label = ",".join(sample.labels.values())
            found[f"{sample.name}{{{label}}}" if label else sample.name] = sample.value
    return {name.removeprefix(PREFIX): value for name, value in found.items() if name.startswith(PREFIX)}


def test_every_series_is_there_before_its_first_happening(metrics: Metrics) -> None:
    seen = values(metrics)
    for spec in TABLE:
        if spec.type in ("counter", "gauge"):
            for name in [f"{spec.name}{{{value}}}" for value in spec.values] or [spec.name]:
                assert seen[name] == 0.0
    assert seen["commit_seconds_count"] == 0.0


def test_the_table_is_all_there_is_and_says_what_to_do(metrics: Metrics) -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(metrics.render().decode())
        if family.name.startswith(PREFIX)
    }
    assert set(families) == {PREFIX + (s.name.removesuffix("_total") if s.type == "counter" else s.name) for s in TABLE}
    for spec in TABLE:
        family = families[PREFIX + (spec.name.removesuffix("_total") if spec.type == "counter" else spec.name)]
        assert family.documentation == spec.help
        assert spec.help.endswith(".")
        assert spec.advice.endswith(".")


def test_fewer_than_500_lines(metrics: Metrics) -> None:
    metrics.lag(dict.fromkeys(range(1000), 5))
    metrics.partitions(["running"] * 1000)
    assert metrics.render().count(b"\n") < 500


def test_the_phases_are_those_of_a_partition() -> None:
    assert set(PHASES) == {phase.value for phase in Phase} - {"closed"}


def test_a_slice(metrics: Metrics) -> None:
    bad = [BadEvent(Reason.LATE, ""), BadEvent(Reason.LATE, ""), BadEvent(Reason.NO_KEY, "")]
    produced = Produced(10, 4, 2, 1, [(0, event, b"") for event in bad])
    metrics.slice_done(produced)
    metrics.slice_done(produced)
    seen = values(metrics)
    assert seen["events_total"] == 16
    assert seen["predictions_total"] == 8
    assert seen["replayed_events_total"] == 4
    assert seen["duplicates_total"] == 2
    assert (seen["dead_letters_total{late}"], seen["dead_letters_total{no_key}"]) == (4, 2)
    assert (seen["slice_events_count"], seen["slice_events_sum"]) == (2, 20)


def test_commits(metrics: Metrics) -> None:
    metrics.committed(Committed(2, 30, 4000), 0.02)
    metrics.committed(Committed(partitions=0), 0.5)
    metrics.commit_failed()
    seen = values(metrics)
    assert (seen["commits_total{committed}"], seen["commits_total{failed}"]) == (1, 1)
    assert (seen["snapshot_records_total"], seen["snapshot_bytes_total"]) == (30, 4000)
    assert (seen["commit_seconds_count"], seen["commit_seconds_sum"]) == (1, 0.02)
    assert seen["stage_seconds_total{commit}"] == pytest.approx(0.52)


def test_an_event_waits_for_its_commit(metrics: Metrics) -> None:
    def answered(*seconds_ago: float) -> Produced:
        stamps = np.array([int((time.time() - seconds) * 1000) for seconds in seconds_ago], np.int64)
        return Produced(len(stamps), timestamps=[stamps, np.array([-1], np.int64)])

    metrics.slice_done(answered(0.5, 30))
    metrics.slice_done(answered(-30))  # a clock that is ahead
    assert values(metrics)["event_commit_seconds_count"] == 0
    metrics.committed(Committed(), 0.1)
    metrics.slice_done(answered(1))
    metrics.commit_failed()
    metrics.committed(Committed(), 0.1)
    seen = values(metrics)
    assert seen["event_commit_seconds_count"] == 3
    assert 30.5 <= seen["event_commit_seconds_sum"] < 40


def test_a_histogram_of_arrays_is_prometheus_own() -> None:
    edges = (0.5, 1, 2.5)
    own, theirs = CollectorRegistry(), CollectorRegistry()
    ours, reference = (
        BatchHistogram("h", "Some text.", edges),
        Histogram("h", "Some text.", registry=theirs, buckets=edges),
    )
    own.register(ours)
    for some in ([], [0.5], [0.1, 0.6, 1.0, 2.5, 2.6, 7.0], [1.0] * 5):
        ours.observe(np.array(some, np.float64))
        for value in some:
            reference.observe(value)
        assert generate_latest(own) == generate_latest(theirs)


class Cache:
    hits, misses = 7, 3

    def __len__(self) -> int:
        return 5


def test_the_arena(metrics: Metrics) -> None:
    cache = Cache()
    metrics.keys(cache, 2)
    cache.hits = 9
    metrics.keys(cache, 1)
    seen = values(metrics)
    assert (seen["keys"], seen["dirty_keys"]) == (5, 1)
    assert (seen["arena_hits_total"], seen["arena_misses_total"]) == (9, 3)


def test_the_way_back(metrics: Metrics) -> None:
    metrics.restored(5)
    metrics.restored(6)
    metrics.gap(7)
    seen = values(metrics)
    assert (seen["restored_records_total"], seen["gap_events_total"]) == (11, 7)


def test_gauges_show_the_last_look(metrics: Metrics) -> None:
    metrics.partitions([Phase.RUNNING, Phase.RUNNING, Phase.RESTORING])
    metrics.keys(Cache(), 7)
    metrics.lag({0: 3, 4: 40})
    seen = values(metrics)
    assert (seen["partitions{running}"], seen["partitions{restoring}"], seen["partitions{replaying}"]) == (2, 1, 0)
    assert (seen["keys"], seen["dirty_keys"], seen["lag_events"], seen["lag_worst_events"]) == (5, 7, 43, 40)
    metrics.partitions([])
    metrics.lag({})
    seen = values(metrics)
    assert (seen["partitions{running}"], seen["lag_events"], seen["lag_worst_events"]) == (0, 0, 0)


def test_the_model(metrics: Metrics) -> None:
    metrics.model("0a1b2c3d", "tumbling")
    assert b'mode="tumbling",model="0a1b2c3d"' in metrics.render()


def test_stages(metrics: Metrics) -> None:
    for stage in STAGES:
        metrics.stage(stage, 1.5)
    assert all(values(metrics)[f"stage_seconds_total{{{stage}}}"] == 1.5 for stage in STAGES)
    with pytest.raises(KeyError):
        metrics.stage("thinking", 1.0)


def test_two_processes_in_one_do_not_share(metrics: Metrics) -> None:
    metrics.gap(1)
    assert values(Metrics())["gap_events_total"] == 0
