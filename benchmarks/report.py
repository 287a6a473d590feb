"""What was measured, as a table for the terminal and as charts (SVG) for the README."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

GOALS = {
    "10k keys, JSON": 0.85,
    "1M keys, JSON": 0.7,
    "10k keys, float32": 0.9,
}


def table(results: dict[str, Any]) -> Table:
    """Ratios to the bare client first."""
    shown = Table(title="Against the bare Kafka client, in the same run")
    for column in ("what", "ratio", "goal", "events/s", "bare client", "CPU µs/event"):
        shown.add_column(column, justify="left" if column == "what" else "right")
    for row in results.get("speed", []):
        goal = GOALS.get(row["name"])
        shown.add_row(
            row["name"],
            f"{row['ratio']:.2f}",
            f"{goal:.2f}" if goal else "",
            f"{row['ours']:,.0f}",
            f"{row['bare']:,.0f}",
            f"{row['cpu_us']:.1f}",
        )
    for row in results.get("latency", []):
        text = f"p50 {row['p50']:.0f} ms, p99 {row['p99']:.0f} ms, longest {row['longest']:.0f} ms"
        shown.add_row(f"latency at {row['rate']:,} events/s", "", "", text, "", "")
    for row in results.get("recovery", []):
        disk = "with its disk" if row["with_disk"] else "disk lost"
        text = f"{row['seconds']:.1f} s, {row['records']:,} records, {row['replayed']:,} replayed"
        shown.add_row(f"killed, {row['keys']:,} keys, {disk}", "", "", text, "", "")
    if "two" in results:
        one, two = (results["two"][count] for count in ("1", "2"))
        shown.add_row("two processes", "", "", f"{two:,.0f}, one alone {one:,.0f}: {two / one:.2f} times", "", "")
    for row in results.get("others", []):
        shown.add_row(row["name"], "", "", f"{row['rate']:,.0f}", "", "")
    return shown


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
