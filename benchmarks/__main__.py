"""`python -m benchmarks`: all measurements in one run, against one embedded Kafka; a table, a JSON file, charts."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from benchmarks.feed import Feed
from benchmarks.latency import latency
from benchmarks.others import quix, seeds
from benchmarks.recovery import recovery
from benchmarks.report import charts, markdown, table
from benchmarks.rig import Rig, memory_for, rigged
from benchmarks.throughput import speed, together

if TYPE_CHECKING:
    from collections.abc import Iterator

# Kafka's own defaults. The embedded one cleans as soon as it can, with a small buffer, so that tests need not wait: for
# the changelog of ten million keys that takes one core, all the time.
_BROKER = {
    "log.cleaner.backoff.ms": "15000",
    "log.cleaner.dedupe.buffer.size": "134217728",
    "log.retention.check.interval.ms": "300000",
}
_LEAST_EVENTS = 200_000  # about a second of the bare client: fewer have no rate
PARTS = ("speed", "large", "latency", "recovery", "two", "others")


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Which measurements: {', '.join(PARTS)}.")] = None,
    scale: Annotated[float, typer.Option(help="Of all numbers of events; 0.1 for a first look.")] = 1.0,
    repeats: Annotated[int, typer.Option(help="Runs of each; medians are printed.")] = 3,
    directory: Annotated[Path | None, typer.Option(help="Where topics and states lie meanwhile.")] = None,
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path("benchmarks/results"),
) -> None:
    """Measure the processor against the bare Kafka client."""
    console = Console()
    results: dict[str, object] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    }
    with rigged(directory, _BROKER, lambda text: console.print(f"[dim]{text}", highlight=False)) as rig:
        for part, rows in _measure(rig, set(parts or PARTS), scale, repeats):
            results[part] = rows
            _write(results, out)  # Each part as it ends: what took an hour survives what fails behind it.
    console.print(table(results))
    console.print(f"The digits, the table and the chart are in {out}.", highlight=False)


def _write(results: dict[str, object], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "table.md").write_text(markdown(results))
    charts(results, out)


def _measure(
    rig: Rig, parts: set[str], scale: float, repeats: int
) -> Iterator[tuple[str, list[dict[str, Any]] | dict[str, float]]]:
    """Each part with its rows; `speed` again with every row that joins it."""

    def events(millions: float) -> int:
        return max(_LEAST_EVENTS, int(millions * 1e6 * scale))

    speeds: list[dict[str, Any]] = []

    def measured(name: str, feed: Feed, repeats: int, warm_up: float, **extra: int) -> list[dict[str, Any]]:
        row = speed(rig, name, feed, repeats, warm_up, **extra)
        speeds.append({**asdict(row), "ratio": row.ratio})
        return speeds

    if "speed" in parts:
        for name, feed, extra in (
            ("10k keys, JSON", Feed(events(2), 10_000), {}),
            ("100k keys, JSON", Feed(events(2), 100_000), {}),
            ("1M keys, JSON", Feed(events(4), 1_000_000), {}),
            ("1M keys, memory for a tenth", Feed(events(4), 1_000_000), {"state__memory_mib": memory_for(100_000)}),
            ("10k keys, float32", Feed(events(2), 10_000, format="float32"), {}),
            ("10k keys, Zipf", Feed(events(2), 10_000, "zipf"), {}),
            ("10k keys, one of them hot", Feed(events(1), 10_000, "hot"), {}),
        ):
            yield "speed", measured(name, feed, repeats, 0.5 if feed.keys >= 1_000_000 else 0.25, **extra)
    if "large" in parts:
        feed = Feed(events(20), 10_000_000)
        yield "speed", measured("10M keys, JSON", feed, 1, 0.6)
        rig.drop(feed.name)
    if "latency" in parts:
        yield "latency", [asdict(latency(rig, rate, max(5.0, 30 * scale))) for rate in (1_000, 20_000)]
    if "recovery" in parts:
        yield "recovery", [asdict(kill) for kill in recovery(rig, Feed(events(4), 1_000_000), 0.6)]
    if "two" in parts:
        feed = Feed(events(2), 100_000)
        yield "two", {str(count): together(rig, feed, count) for count in (1, 2)}
    if "others" in parts:
        feed = Feed(events(2), 10_000)
        yield "others", [asdict(other) for other in (quix(rig, feed, events(0.2)), seeds(rig, feed, 2_000))]


if __name__ == "__main__":
    typer.run(main)
