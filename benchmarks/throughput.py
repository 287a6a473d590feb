"""Events a second: the bare client, and the processor over the same topic in the same run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.feed import PARTITIONS, Feed
from benchmarks.rig import Rig, memory_for, rate_of, wait_stepped

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUE_BYTES = {"json": 120, "float32": 40}
"""Of one prediction, as the bare client produces it."""


@dataclass(frozen=True, slots=True)
class Speed:
    """One row of the table."""

    name: str
    keys: int
    bare: float  # events/s, median
    ours: float
    cpu_us: float  # of the processor's process, per event
    stages: dict[str, float]  # seconds of the run by stage

    @property
    def ratio(self) -> float:
        return self.ours / self.bare


def bare(rig: Rig, feed: Feed, interval: float = 0.1) -> float:
    """Events a second of the bare client over this feed."""
    name = rig.run_name()
    rig.kafka.create_topic(f"{name}-output", partitions=PARTITIONS)
    command = [sys.executable, "-m", "benchmarks.bare", rig.kafka.bootstrap_servers, rig.topic_of(feed)]
    command += [f"{name}-output", str(feed.events), str(VALUE_BYTES[feed.format]), str(interval)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rig.kafka.delete_topics(f"{name}-output")
    curve = [(0.0, 0), *(tuple(json.loads(line)) for line in done.stdout.splitlines())]
    return rate_of(curve, 0.25)


def ours(rig: Rig, feed: Feed, warm_up: float, **overrides: Any) -> tuple[float, float, dict[str, float]]:
    """Events a second of one process, its CPU in microseconds an event, and its seconds by stage."""
    name, source = rig.run_name(), rig.topic_of(feed)
    formats = {"input__format": feed.format, "output__format": feed.format}
    process = rig.processor(name, source, **{"state__memory_mib": memory_for(feed.keys), **formats, **overrides})
    with process.start():
        curve = wait_stepped([process], feed.events)
        metrics = process.get("/metrics") or ""
        process.sigterm()
    rig.clean(name)
    stages = {
        line.split('"')[1]: float(line.split()[-1])
        for line in metrics.splitlines()
        if line.startswith("processor_stage_seconds_total{")
    }
    cpu = next(
        (float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("process_cpu_seconds")), 0.0
    )
    return rate_of(curve, warm_up), 1e6 * cpu / feed.events, stages


def together(rig: Rig, feed: Feed, processes: int, warm_up: float = 0.25) -> float:
    """Events a second of several processes that share the partitions of a feed."""
    name, source = rig.run_name(), rig.topic_of(feed)
    half = {"state__memory_mib": memory_for(feed.keys // processes)}
    group = [rig.processor(name, source, member, **half) for member in ("one", "two", "three")[:processes]]
    with ExitStack() as stack:
        for process in group:
            stack.enter_context(process.start())
        curve = wait_stepped(group, feed.events)
        for process in group:
            process.sigterm()
    rig.clean(name)
    return rate_of(curve, warm_up)


def speed(rig: Rig, name: str, feed: Feed, repeats: int, warm_up: float = 0.25, **overrides: Any) -> Speed:
    """Medians, the two taking turns, so that what the machine does meanwhile happens to both."""
    bares: list[float] = []
    runs: list[tuple[float, float, dict[str, float]]] = []
    for turn in range(repeats):
        rig.tell(f"{name}: run {turn + 1} of {repeats}")
        bares.append(bare(rig, feed))
        runs.append(ours(rig, feed, warm_up, **overrides))
    middle = _median(runs)
    found = Speed(name, feed.keys, statistics.median(bares), *middle)
    rig.tell(f"{name}: {found.ours:,.0f} events/s, {found.ratio:.2f} of the bare client's {found.bare:,.0f}")
    return found


def _median(runs: Sequence[tuple[float, float, dict[str, float]]]) -> tuple[float, float, dict[str, float]]:
    return sorted(runs, key=lambda run: run[0])[len(runs) // 2]
