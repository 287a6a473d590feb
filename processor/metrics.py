"""The metrics: one table with each metric's type, meaning and what to do about it, and the methods that move them.

The loop calls once per slice or commit, never per event. Labels come from closed lists and their children are made at
the start, so that a series is there (at zero) before its first happening, and the output stays below 500 lines
whatever the input. `lag` and the other gauges are set by whoever looks, just before a scrape (`before_render`).
"""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import prometheus_client as prometheus

from processor.types import BadEvent, Reason
from processor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

PREFIX: Final = "processor_"
PHASES: Final = ("assigned", "restoring", "replaying", "running")
STAGES: Final = ("poll", "decode", "step", "produce", "commit")
OUTCOMES: Final = ("committed", "failed")
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_COMMIT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLICE_EVENTS: Final = (1, 10, 100, 300, 1_000, 3_000, 10_000)


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric: its name without the prefix, and what its reader needs to know."""

    name: str
    type: Literal["counter", "gauge", "histogram", "info"]
    help: str
    advice: str
    label: str = ""
    values: tuple[str, ...] = ()  # all that the label can be
    buckets: tuple[float, ...] = ()


TABLE: Final = (
    Spec(
        "events_total",
        "counter",
        "Input events taken for the first time: predicted, dead letters, duplicates and forgotten keys.",
        "Zero while the lag grows: look at partitions and at the log's last line.",
    ),
    Spec(
        "predictions_total",
        "counter",
        "Predictions handed to the producer.",
        "Far below events: see dead letters and duplicates.",
    ),
    Spec(
        "dead_letters_total",
        "counter",
        "Events that went to the dead-letter topic, by reason.",
        "Read some of the topic: the headers say what was wrong, and with which input record.",
        "reason",
        tuple(Reason),
    ),
    Spec(
        "duplicates_total",
        "counter",
        "Events dropped because their sequence number was not above the key's last.",
        "A steady share is a producer that repeats itself; a burst is one that was started again.",
    ),
    Spec(
        "commits_total",
        "counter",
        "Commits by outcome. A failed one is followed by the way back: restore, replay, go on.",
        "More than a few failed: look for broker trouble, or another process with the same identity.",
        "outcome",
        OUTCOMES,
    ),
    Spec(
        "commit_seconds",
        "histogram",
        "Seconds that a commit took, from its snapshot to the store.",
        "Near the transaction's timeout: brokers or the disk are too slow; lower the load or raise the timeout.",
        buckets=_COMMIT_SECONDS,
    ),
    Spec(
        "slice_events",
        "histogram",
        "Events that were stepped at once.",
        "Small ones with a lag: the arena is too small for its keys; raise state.memory_mib.",
        buckets=_SLICE_EVENTS,
    ),
    Spec(
        "lag_events",
        "gauge",
        "Input events that are not answered yet, of all partitions of this process.",
        "Growing: add a process, up to one for each partition.",
    ),
    Spec(
        "lag_worst_events",
        "gauge",
        "Input events that are not answered yet, of the partition that has most of them.",
        "Far above the others' share: few keys have most of the events.",
    ),
    Spec(
        "partitions",
        "gauge",
        "Partitions that this process holds, by phase.",
        "Long in restoring or replaying: that is how long a takeover takes; see the log for its progress.",
        "phase",
        PHASES,
    ),
    Spec(
        "keys",
        "gauge",
        "Keys whose state is in memory.",
        "At its ceiling, states are read from disk again and again; raise state.memory_mib where that is slow.",
    ),
    Spec(
        "dirty_keys",
        "gauge",
        "Keys whose state has changed since its record was last written: what a takeover replays.",
        "Near the keys in memory: lower state.snapshot_interval_seconds or raise state.memory_mib.",
    ),
    Spec(
        "snapshot_records_total",
        "counter",
        "Records written to the changelog and the store.",
        "The greatest cost beside stepping: a longer state.snapshot_interval_seconds writes fewer.",
    ),
    Spec(
        "snapshot_bytes_total",
        "counter",
        "Bytes of the records written to the changelog and the store.",
        "Plan the changelog topic's disk and network by it.",
    ),
    Spec(
        "restored_records_total",
        "counter",
        "Changelog records read to bring stores to the changelog's end.",
        "Large after a start with its disk in place: the state directory was not kept.",
    ),
    Spec(
        "replayed_events_total",
        "counter",
        "Input events stepped again in silence on the way back.",
        "Large after a clean stop: the shutdown ran out of time; raise processing.shutdown_seconds.",
    ),
    Spec(
        "gap_events_total",
        "counter",
        "Input events that a replay needed and the input no longer had, accepted by processing.accept_gap.",
        "Any: states miss these events. Raise the input topic's retention above the snapshot interval.",
    ),
    Spec(
        "stage_seconds_total",
        "counter",
        "Seconds that the loop spent in each of its stages.",
        "The stage with the largest share is the one to look at; mostly poll means that there is time to spare.",
        "stage",
        STAGES,
    ),
    Spec(
        "model_info",
        "info",
        "The artifact that is served: its fingerprint's first digits, its mode, and this program's version.",
        "Differs between the processes of a group: a roll-out is under way, or was left half done.",
    ),
)


class Slice(Protocol):
    """What a slice counted (processor.pipeline.Produced)."""

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


class Commit(Protocol):
    """What a commit did (processor.commit.Committed)."""

    @property
    def partitions(self) -> int: ...
    @property
    def records(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        # The moment at which a counter was made is one more line for each of them, and of no use to anybody.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        self._counters: dict[tuple[str, str], prometheus.Counter] = {}
        self._gauges: dict[tuple[str, str], prometheus.Gauge] = {}
        self._histograms: dict[str, prometheus.Histogram] = {}
        self._before: list[Callable[[], None]] = []
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
                self._histograms[spec.name] = prometheus.Histogram(
                    name, spec.help, registry=self.registry, buckets=spec.buckets
                )
            case "info":
                # `Info` appends its suffix by itself.
                self._info = prometheus.Info(name.removesuffix("_info"), spec.help, registry=self.registry)

    # What the loop tells ------------------------------------------------------------------------------------------

    def slice_done(self, produced: Slice) -> None:
        """A slice was stepped and its answers were handed to the producer."""
        self._add("events_total", produced.events - produced.replayed)
        self._add("predictions_total", produced.predicted)
        self._add("replayed_events_total", produced.replayed)
        self._add("duplicates_total", produced.duplicates)
        self._histograms["slice_events"].observe(produced.events)
        for reason, count in Tally(bad.reason for _, bad, _ in produced.dead_letters).items():
            self._add("dead_letters_total", count, reason)

    def committed(self, done: Commit, seconds: float) -> None:
        """A commit succeeded after `seconds`. One that had nothing to do is no commit, but its time was spent."""
        self.stage("commit", seconds)
        if done.partitions == 0:
            return
        self._add("commits_total", 1, "committed")
        self._histograms["commit_seconds"].observe(seconds)
        self._add("snapshot_records_total", done.records)
        self._add("snapshot_bytes_total", done.bytes)

    def commit_failed(self) -> None:
        """A transaction was dropped; the way back follows."""
        self._add("commits_total", 1, "failed")

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

    def keys(self, in_memory: int, dirty: int) -> None:
        """Keys in the arena, and how many of them are dirty."""
        self._gauges["keys", ""].set(in_memory)
        self._gauges["dirty_keys", ""].set(dirty)

    def lag(self, events: Mapping[int, int]) -> None:
        """Partition -> input events not answered yet. Partitions that left are left out."""
        self._gauges["lag_events", ""].set(sum(events.values()))
        self._gauges["lag_worst_events", ""].set(max(events.values(), default=0))

    def model(self, model_id: str, mode: str) -> None:
        """The artifact that is served."""
        self._info.info({"model": model_id, "mode": mode, "version": __version__})

    def before_render(self, look: Callable[[], None]) -> None:
        """`look` is called at each scrape, on the scraping thread, and sets gauges."""
        self._before.append(look)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        for look in self._before:
            look()
        return prometheus.generate_latest(self.registry)

    def _add(self, name: str, amount: float, value: str = "") -> None:
        # A metric that the table does not have is a KeyError: a bug.
        if amount:
            self._counters[name, value].inc(amount)
        else:
            assert (name, value) in self._counters
