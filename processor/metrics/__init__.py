"""The metrics of a process, and the methods that move them.

The loop calls once per slice or commit, never per event. Labels come from closed lists and their children are made at
the start, so that a series is there (at zero) before its first happening, and the output stays below 500 lines
whatever the input. `lag` and the other gauges are set by the loop once a second.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import prometheus_client as prometheus

from processor.metrics.batch_histogram import BatchHistogram
from processor.metrics.table import OUTCOMES, PHASES, PREFIX, STAGES, SUPERVISOR_TABLE, TABLE, Spec
from processor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from processor.types import BadEvent, Int64Array

__all__ = ["CONTENT_TYPE", "OUTCOMES", "PHASES", "PREFIX", "STAGES", "SUPERVISOR_TABLE", "TABLE", "Metrics", "Spec"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Slice(Protocol):
    """What a slice counted (processor.stepping.pipeline.Produced)."""

    @property
    def events(self) -> int: ...
    @property
    def predicted(self) -> int: ...
    @property
    def replayed(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def dead_letters(self) -> Sequence[tuple[int, BadEvent, object]]: ...
    @property
    def timestamps(self) -> Sequence[Int64Array]: ...


class Commit(Protocol):
    """What a commit did (processor.recovery.commit.Committed)."""

    @property
    def partitions(self) -> int: ...
    @property
    def records(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class Cache(Protocol):
    """The states in memory (processor.state.arena.Arena)."""

    hits: int
    misses: int

    def __len__(self) -> int: ...


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        # The moment at which a counter was made is one more line for each of them, and of no use to anybody.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        self._counters: dict[tuple[str, str], prometheus.Counter] = {}
        self._gauges: dict[tuple[str, str], prometheus.Gauge] = {}
        self._histograms: dict[str, BatchHistogram] = {}
        self._uncommitted: list[Int64Array] = []  # record timestamps of what was predicted since the last commit
        self._seen_hits = self._seen_misses = 0
        self.lags: dict[int, int] = {}  # partition -> input events not processed yet; replaced by `lag`, never changed
        for spec in TABLE:
            self._register(spec)

    def _register(self, spec: Spec) -> None:
        name, labels = PREFIX + spec.name, [spec.label] if spec.label else []
        match spec.type:
            case "counter":
                counter = prometheus.Counter(name, spec.help, labels, registry=self.registry)
                self._counters |= {(spec.name, v): counter.labels(v) for v in spec.values} or {(spec.name, ""): counter}
            case "gauge":
                gauge = prometheus.Gauge(name, spec.help, labels, registry=self.registry)
                self._gauges |= {(spec.name, v): gauge.labels(v) for v in spec.values} or {(spec.name, ""): gauge}
            case "histogram":
                self._histograms[spec.name] = BatchHistogram(name, spec.help, spec.buckets)
                self.registry.register(self._histograms[spec.name])
            case "info":
                # `Info` appends its suffix by itself.
                self._info = prometheus.Info(name.removesuffix("_info"), spec.help, registry=self.registry)

    # What the loop reports -----------------------------------------------------------------------------------------

    def slice_done(self, produced: Slice) -> None:
        """A slice was stepped, and its predictions were sent."""
        self._add("events_total", produced.events - produced.replayed)
        self._add("predictions_total", produced.predicted)
        self._add("replayed_events_total", produced.replayed)
        self._add("duplicates_total", produced.duplicates)
        self._histograms["slice_events"].observe(np.array([produced.events]))
        self._uncommitted += produced.timestamps
        for reason, count in Tally(bad.reason for _, bad, _ in produced.dead_letters).items():
            self._add("dead_letters_total", count, reason)

    def committed(self, done: Commit, seconds: float) -> None:
        """A commit succeeded after `seconds`. One that had nothing to do is no commit, but its time was spent."""
        self.stage("commit", seconds)
        if done.partitions == 0:
            return
        self._add("commits_total", 1, "committed")
        self._histograms["commit_seconds"].observe(np.array([seconds]))
        for timestamps in self._uncommitted:
            # A record need not have a timestamp (-1), and the other machine's clock may be ahead.
            ages = time.time() - timestamps[timestamps >= 0] / 1000
            self._histograms["event_commit_seconds"].observe(np.maximum(ages, 0.0))
        self._uncommitted = []
        self._add("snapshot_records_total", done.records)
        self._add("snapshot_bytes_total", done.bytes)

    def commit_failed(self) -> None:
        """A transaction was dropped; recovery follows."""
        self._add("commits_total", 1, "failed")
        self._uncommitted = []

    def restored(self, records: int) -> None:
        """So many records of the changelog were brought to a store."""
        self._add("restored_records_total", records)

    def gap(self, events: int) -> None:
        """So many events that a replay needed were gone, and that was accepted."""
        self._add("gap_events_total", events)

    def stage(self, name: str, seconds: float) -> None:
        """The loop was in the stage `name` (of STAGES) for so long."""
        self._add("stage_seconds_total", seconds, name)

    # What somebody looks up before a scrape -------------------------------------------------------------------------

    def partitions(self, phases: Iterable[str]) -> None:
        """The phase of each partition that this process holds; closed ones are not held."""
        tally = Tally(phases)
        for phase in PHASES:
            self._gauges["partitions", phase].set(tally[phase])

    def keys(self, arena: Cache, dirty: int) -> None:
        """Keys in the arena, how many of them are dirty, and how often it had what was asked for."""
        self._gauges["keys", ""].set(len(arena))
        self._gauges["dirty_keys", ""].set(dirty)
        self._add("arena_hits_total", arena.hits - self._seen_hits)
        self._add("arena_misses_total", arena.misses - self._seen_misses)
        self._seen_hits, self._seen_misses = arena.hits, arena.misses

    def lag(self, events: Mapping[int, int]) -> None:
        """Partition -> input events not processed yet. Partitions that left are left out."""
        self.lags = dict(events)
        self._gauges["lag_events", ""].set(sum(events.values()))
        self._gauges["lag_worst_events", ""].set(max(events.values(), default=0))

    def model(self, model_id: str, mode: str) -> None:
        """The artifact that is served."""
        self._info.info({"model": model_id, "mode": mode, "version": __version__})

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return prometheus.generate_latest(self.registry)

    def _add(self, name: str, amount: float, value: str = "") -> None:
        # A metric that the table does not have is a KeyError: a bug.
        if amount:
            self._counters[name, value].inc(amount)
        else:
            assert (name, value) in self._counters
