"""What the demo shows while it runs, and in the end: the live figures, the summary.

The last line of the demo is not this module's: the story prints it, as text and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from processor.trial import live_display as shared
from processor.trial.demo.figures import RECENT
from processor.trial.live_display import duration

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console, RenderableType

    from processor.trial.demo.check import Outcome
    from processor.trial.demo.figures import Figures
    from processor.trial.demo.kills import Kill

_BAR: Final = 16


def showing(console: Console) -> AbstractContextManager[shared.Show[Figures]]:
    """Shows figures from here on: in place on a terminal, as a line now and then elsewhere."""
    return shared.showing(console, _picture, _line)


def _line(figures: Figures, now: float) -> str:
    latency = figures.latency(now)
    late = "" if latency is None else f", latency p50 {duration(latency[0])} p99 {duration(latency[1])}"
    return (
        f"{figures.events_per_second(now):,.0f} events/s in, {figures.predictions_per_second(now):,.0f} "
        f"predictions/s out, {len(figures.keys):,} keys, lag {figures.lag:,}{late}"
    )


def _picture(figures: Figures, now: float) -> RenderableType:
    sides = Table.grid(expand=True, padding=(0, 1))
    sides.add_column(ratio=2)
    sides.add_column(ratio=3)
    sides.add_row(
        Panel(_recent(figures), title="last predictions", border_style="dim"),
        Panel(shared.timeline(figures.timeline), title="what happens", border_style="dim"),
    )
    return Group(Panel(_numbers(figures, now), title="live", border_style="cyan"), sides)


def _numbers(figures: Figures, now: float) -> RenderableType:
    latency = figures.latency(now)
    p50, p99 = ("-", "-") if latency is None else (duration(latency[0]), duration(latency[1]))
    numbers = Table.grid(expand=True, padding=(0, 2, 0, 0))
    for _ in range(4):
        numbers.add_column(style="dim")
        numbers.add_column(justify="right", ratio=1)
    numbers.add_row(
        *("events/s", f"[bold]{figures.events_per_second(now):,.0f}[/]"),
        *("events", f"{figures.sent:,}"),
        *("keys", f"{len(figures.keys):,}"),
        *("latency p50", f"[bold]{p50}[/]"),
    )
    numbers.add_row(
        *("predictions/s", f"[bold]{figures.predictions_per_second(now):,.0f}[/]"),
        *("predictions", f"{figures.answered:,}"),
        *("lag", f"{'[yellow]' if not figures.steady else '[default]'}{figures.lag:,}[/]"),
        *("p99", p99),
    )
    return Group(numbers, ProgressBar(total=figures.events, completed=figures.answered))


def _recent(figures: Figures) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(justify="right", style="dim")
    table.add_column(justify="right")
    table.add_column(width=_BAR // 2)
    for prediction in figures.recent:
        bar = ProgressBar(total=1.0, completed=prediction.probability, width=_BAR // 2)
        table.add_row(prediction.key, str(prediction.step), f"{prediction.probability:.4f}", bar)
    for _ in range(RECENT - len(figures.recent)):
        table.add_row("", "", "", "")
    return table


def summary(console: Console, outcome: Outcome, figures: Figures, kills: list[Kill]) -> None:
    """The table of what was found; the differences below it, where there are any."""
    table = Table(box=box.ROUNDED, show_header=False, border_style="green" if outcome else "red")
    table.add_column(style="dim")
    table.add_column()
    table.add_row("events", f"{outcome.events:,}")
    table.add_row(
        "predictions", f"{outcome.predictions:,}, each compared with Keras' answer to the key's whole sequence"
    )
    if outcome.dead_letters:
        table.add_row("dead letters", f"{outcome.dead_letters:,}")
    table.add_row("keys", f"{outcome.keys:,}")
    table.add_row("greatest error", f"{outcome.greatest_error:.1e} [dim](tolerance {outcome.tolerance:.0e})[/]")
    latency = figures.steady_latency()
    if latency is not None:
        text = f"p50 {duration(latency[0])}, p99 {duration(latency[1])}"
        table.add_row("latency", f"{text} [dim](produced to readable by read_committed, recoveries left out)[/]")
    for kill in kills:
        table.add_row(kill.name, kill.told)
    console.print(Padding(table, (1, 0, 0, 0)), highlight=False)
    for difference in outcome.report.differences:
        console.print(difference, style="red", markup=False, highlight=False, soft_wrap=True)
