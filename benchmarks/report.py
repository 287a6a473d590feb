"""What was measured: a table for the terminal, tables and charts (SVG) for the pages."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SHARES = {"10k keys, JSON": 0.85, "1M keys, JSON": 0.7, "10k keys, float32": 0.9}
"""Goals: of the bare client's events a second."""

HOT, LARGE, TEN_THOUSAND = "10k keys, one of them hot", "10M keys, JSON", "10k keys, JSON"
OF_TEN_THOUSAND = {HOT: 0.3, LARGE: 0.6}
"""Goals: of our own share with 10k keys."""

P99_MS = {20_000: 150}  # the commit interval and 50 ms
BACK_SECONDS = {True: 10, False: 60}  # with the disk, without
RESTORED_PER_SECOND = 150_000
TIMES_QUIX = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    found: str
    goal: str = ""
    is_met: bool | None = None  # None: there is no goal
    more: str = ""


def rows_of(results: dict[str, Any]) -> list[Row]:
    """What was measured, against its goals; what is a ratio comes first."""
    speeds = results.get("speed", [])
    ten_thousand, ratio = next(
        ((row["ours"], row["ratio"]) for row in speeds if row["name"] == TEN_THOUSAND), (0.0, 0.0)
    )
    rows = [_speed(row) for row in speeds]
    for row in speeds:
        if (goal := OF_TEN_THOUSAND.get(row["name"])) and ratio:
            share = row["ratio"] / ratio  # each against the bare client of its own turn: what the machine does cancels
            rows.append(Row(f"{row['name']}: of our own with 10k keys", f"{share:.2f}", f"{goal:.2f}", share >= goal))
    for row in results.get("latency", []):
        limit = P99_MS.get(row["rate"])
        more = f"p50 {row['p50']:.0f} ms, longest {row['longest']:.0f} ms"
        met = None if limit is None else row["p99"] <= limit
        rows.append(
            Row(f"p99 at {row['rate']:,} events/s", f"{row['p99']:.0f} ms", f"{limit} ms" if limit else "", met, more)
        )
    for row in results.get("recovery", []):
        rows += _recovery(row)
    if "two" in results:
        one, two = (results["two"][count] for count in ("1", "2"))
        rows.append(Row("two processes: of one", f"{two / one:.2f}", more=f"{two:,.0f} events/s, {one:,.0f}"))
    for row in results.get("others", []):
        times = ten_thousand / row["rate"]
        is_quix = row["name"].startswith("Quix")
        wanted = f"{TIMES_QUIX} times" if is_quix and ten_thousand else ""
        met = times >= TIMES_QUIX if wanted else None
        found = f"{times:,.0f} times" if ten_thousand else ""
        rows.append(Row(f"ours, to {row['name']}", found, wanted, met, f"{row['rate']:,.0f} events/s of theirs"))
    return rows


def _speed(row: dict[str, Any]) -> Row:
    goal = SHARES.get(row["name"])
    more = f"{row['ours']:,.0f} events/s, bare {row['bare']:,.0f}; {row['cpu_us']:.1f} µs of CPU an event"
    met = None if goal is None else row["ratio"] >= goal
    return Row(f"{row['name']}: of the bare client", f"{row['ratio']:.2f}", f"{goal:.2f}" if goal else "", met, more)


def _recovery(row: dict[str, Any]) -> list[Row]:
    """How long, and with the disk lost, which is long enough to tell, how fast."""
    disk = "with its disk" if row["with_disk"] else "disk lost"
    limit = BACK_SECONDS[row["with_disk"]]
    more = f"{row['records']:,} records restored in {row['restore_seconds']:.1f} s, "
    more += f"{row['replayed']:,} events replayed in {row['replay_seconds']:.1f} s"
    found = f"{row['seconds']:.1f} s"
    back = Row(f"killed with {row['keys']:,} keys, {disk}: back", found, f"{limit} s", row["seconds"] < limit, more)
    if row["with_disk"]:
        return [back]
    restored = row["records"] / row["restore_seconds"]
    replayed = row["replayed"] / row["replay_seconds"]
    met = restored >= RESTORED_PER_SECOND
    more = "while other partitions replay and run"
    return [
        back,
        Row("restore: records a second", f"{restored:,.0f}", f"{RESTORED_PER_SECOND:,}", met, more),
        Row("replay: events a second", f"{replayed:,.0f}", more="while other partitions restore and run"),
    ]


def table(results: dict[str, Any]) -> Table:
    """For the terminal."""
    shown = Table(title="Against the bare Kafka client, in the same run")
    for column in ("what", "measured", "goal", "", "more"):
        shown.add_column(column, justify="right" if column in ("measured", "goal") else "left")
    for row in rows_of(results):
        shown.add_row(row.what, row.found, row.goal, _mark(row), row.more)
    return shown


def markdown(results: dict[str, Any]) -> str:
    """For a page, without goals: these are the developers', and only the terminal shows them."""
    lines = ["| what | measured | details |", "|---|---:|---|"]
    lines += [f"| {row.what} | {row.found} | {row.more} |" for row in rows_of(results)]
    return "\n".join(lines) + "\n"


def headlines(results: dict[str, Any]) -> str:
    """For the README: three figures against what one would use instead, and the upper limit."""
    ours, bare = next((row["ours"], row["bare"]) for row in results["speed"] if row["name"] == TEN_THOUSAND)
    quix, twin = (row["rate"] for row in results["others"])
    kept, lost = (row["seconds"] for row in results["recovery"])
    keys = results["recovery"][0]["keys"]
    lines = [
        "| what | measured | against |",
        "|---|---|---|",
        f"| events a second, exactly once | {ours:,.0f} | Quix Streams with the same step graph, exactly once: "
        f"{quix:,.0f}, so {ours / quix:.0f} times |",
        f"| the same | {ours:,.0f} | a stateful Keras twin in a consumer loop, no guarantee: "
        f"{twin:,.0f}, so {ours / twin:.0f} times |",
        f"| back after SIGKILL, {keys:,} keys | {kept:.1f} s; {lost:.1f} s if the disk is lost | "
        "the twin: its states are lost |",
        f"| the upper limit, events a second | {bare:,.0f} | a Kafka client that computes nothing |",
    ]
    return "\n".join(lines) + "\n"


def _mark(row: Row) -> str:
    return {None: "", True: "met", False: "not met"}[row.is_met]


def charts(results: dict[str, Any], out: Path) -> None:
    """One bar a measurement: the ratio to the bare client."""
    rows = results.get("speed", [])
    if not rows:
        return
    height = 34 * len(rows) + 44
    bars = "".join(_bar(index, row) for index, row in enumerate(rows))
    (out / "speed.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" font-family="sans-serif" font-size="14">'
        f'<rect width="760" height="{height}" fill="#fff"/>'
        '<text x="12" y="22" font-weight="bold">Events a second, as a share of the bare Kafka client</text>'
        f"{bars}</svg>\n"
    )


def _bar(index: int, row: dict[str, Any]) -> str:
    y = 38 + 34 * index
    width = 380 * min(row["ratio"], 1.0)
    return (
        f'<text x="12" y="{y + 17}">{row["name"]}</text>'
        f'<rect x="230" y="{y}" width="380" height="24" fill="#eef1f5"/>'
        f'<rect x="230" y="{y}" width="{width:.0f}" height="24" fill="#2f6fb2"/>'
        f'<text x="{240 + width:.0f}" y="{y + 17}">{row["ratio"]:.2f}  ({row["ours"] / 1000:,.0f}k/s)</text>'
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One of several charts under each other: a column, and what it is called."""

    column: str
    title: str


def lines(rows: Sequence[Mapping[str, float]], across: str, charts: Sequence[Line]) -> str:
    """Small charts (SVG) of columns over the column `across`, each from 0 to its greatest value."""
    end = max(row[across] for row in rows)
    height = 74 * len(charts) + 30
    drawn = "".join(_line(rows, across, end, chart, 74 * index) for index, chart in enumerate(charts))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" font-family="sans-serif" font-size="13">'
        f'<rect width="760" height="{height}" fill="#fff"/>{drawn}'
        f'<text x="748" y="{height - 8}" text-anchor="end">{end:.0f} {across}</text></svg>\n'
    )


def _line(rows: Sequence[Mapping[str, float]], across: str, end: float, chart: Line, top: int) -> str:
    greatest = max(row[chart.column] for row in rows) or 1.0
    points = " ".join(
        f"{230 + 518 * row[across] / end:.1f},{top + 68 - 56 * row[chart.column] / greatest:.1f}" for row in rows
    )
    return (
        f'<text x="12" y="{top + 36}">{chart.title}</text>'
        f'<text x="222" y="{top + 22}" text-anchor="end" fill="#667">{greatest:,.0f}</text>'
        f'<line x1="230" y1="{top + 68}" x2="748" y2="{top + 68}" stroke="#ccd3dc"/>'
        f'<polyline points="{points}" fill="none" stroke="#2f6fb2" stroke-width="1.5"/>'
    )


def growth(rows: Sequence[Mapping[str, float]], across: str, charts: Sequence[Line]) -> str:
    """Whether anything grows, as a table for a page: medians of the second sixth and of the last, and the greatest.

    In the first sixth caches and topics fill. Fewer than six rows are the first and the last of themselves.
    """
    sixth = len(rows) // 6
    parts = (rows[sixth : 2 * sixth], rows[-sixth:]) if sixth else (rows[:1], rows[-1:])
    spans = [f"{part[0][across]:.0f} to {part[-1][across]:.0f} {across}" for part in parts]
    table = [f"| what | {spans[0]} | {spans[1]} | greatest |", "|---|---:|---:|---:|"]
    for chart in charts:
        early, late = (median(row[chart.column] for row in part) for part in parts)
        greatest = max(row[chart.column] for row in rows)
        table.append(f"| {chart.title} | {early:,.0f} | {late:,.0f} | {greatest:,.0f} |")
    return "\n".join(table) + "\n"
