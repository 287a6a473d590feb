"""A long run under load: whether anything grows that should not.

    python -m benchmarks.soak [--minutes 60] [--rate 15000] [--keys 100000]

Topics keep a little of what they were given, so that they are flat once they are full. Every ten seconds it looks at
the process (memory, open files), its disk, the broker's topics, and how old predictions are when they are read. A table
of its beginning and its end, a JSON file of all looks, as columns, and a chart.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import psutil
import typer
from rich.console import Console

from benchmarks.feed import PARTITIONS
from benchmarks.latency import Reader, sending
from benchmarks.report import Line, growth, lines
from benchmarks.rig import memory_for, rigged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EVERY_SECONDS = 10.0
_SETTLING_SECONDS = 1.0
_SHORT_LIVED = {"retention.bytes": str(64 * 2**20), "segment.bytes": str(16 * 2**20)}
_BROKER = {"log.retention.check.interval.ms": "5000", "log.cleaner.backoff.ms": "5000"}
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment."""

    minutes: float
    events_per_second: float
    p50_ms: float
    p99_ms: float
    memory_mib: float  # resident
    open_files: int
    disk_mib: float  # of the state directory
    changelog_mib: float
    topics_mib: float  # input and output


CHARTS = (
    Line("events_per_second", "events a second"),
    Line("p99_ms", "latency, p99, ms"),
    Line("memory_mib", "resident memory, MiB"),
    Line("open_files", "open files"),
    Line("disk_mib", "state directory, MiB"),
    Line("changelog_mib", "changelog, MiB"),
    Line("topics_mib", "input and output topics, MiB"),
)


def main(
    minutes: Annotated[float, typer.Option(help="How long.")] = 60,
    rate: Annotated[int, typer.Option(help="Events a second: what the machine bears, sender and reader too.")] = 15_000,
    keys: Annotated[int, typer.Option(help="How many keys.")] = 100_000,
    directory: Annotated[Path | None, typer.Option(help="Where topics and states lie meanwhile.")] = None,
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path("benchmarks/results"),
) -> None:
    """Run under load, and look at what could grow."""
    console = Console()
    looks: list[Look] = []
    with rigged(directory, _BROKER, console.print) as rig:
        for what in ("input", "soak-output"):
            rig.kafka.create_topic(what, partitions=PARTITIONS, config=_SHORT_LIVED)
        process = rig.processor("soak", "input", state__memory_mib=memory_for(keys))
        with process.start():
            process.wait_ready()
            servers = rig.kafka.bootstrap_servers
            with sending(servers, "input", rate, keys), Reader(rig.kafka, "soak-output") as reader:
                started = time.monotonic()
                while time.monotonic() - started < 60 * minutes:
                    looks.append(_look(reader, psutil.Process(process.pid), rig.directory, started))
                    console.print(_told(looks[-1]), highlight=False)
            process.sigterm()
    out.mkdir(parents=True, exist_ok=True)
    rows = [asdict(look) for look in looks]
    (out / "soak.json").write_text(_columns(rows))
    (out / "soak.svg").write_text(lines(rows, "minutes", CHARTS))
    console.print(growth(rows, "minutes", CHARTS))
    console.print(f"The digits and the chart are in {out}.", highlight=False)


def _columns(rows: Sequence[Mapping[str, float]]) -> str:
    """JSON with one line a column."""
    texts = [f' "{name}": {json.dumps([round(row[name], 2) for row in rows])}' for name in rows[0]]
    return "{\n" + ",\n".join(texts) + "\n}\n"


def _look(reader: Reader, process: psutil.Process, place: Path, started: float) -> Look:
    reader.read(_SETTLING_SECONDS)  # what has waited while the files were looked at
    began = time.monotonic()
    ages = reader.read(_EVERY_SECONDS - _SETTLING_SECONDS)
    now = time.monotonic()
    p50, p99 = np.percentile(ages, [50, 99]).tolist() if len(ages) else (float("nan"), float("nan"))
    return Look(
        minutes=(now - started) / 60,
        events_per_second=len(ages) / (now - began),
        p50_ms=p50,
        p99_ms=p99,
        memory_mib=process.memory_info().rss / _MIB,
        open_files=process.num_fds(),
        disk_mib=_size(place / "soak" / "one", "*"),
        changelog_mib=_size(place / "kafka", "soak-changelog-*"),
        topics_mib=_size(place / "kafka", "input-*") + _size(place / "kafka", "soak-output-*"),
    )


def _size(place: Path, pattern: str) -> float:
    """MiB of all files in the directories of this name, as they lie on the disk; some vanish meanwhile."""
    blocks = 0
    for directory in place.rglob(pattern):
        for file in directory.glob("*") if directory.is_dir() else ():
            try:
                blocks += file.stat().st_blocks
            except FileNotFoundError:
                continue
    return blocks * 512 / _MIB


def _told(look: Look) -> str:
    return (
        f"{look.minutes:5.1f} min  {look.events_per_second:,.0f}/s  p99 {look.p99_ms:.0f} ms  "
        f"{look.memory_mib:,.0f} MiB  {look.open_files} files  disk {look.disk_mib:,.0f}  "
        f"changelog {look.changelog_mib:,.0f}  topics {look.topics_mib:,.0f} MiB"
    )


if __name__ == "__main__":
    typer.run(main)
