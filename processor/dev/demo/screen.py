"""What the demo shows: steps with their time, the live figures, the summary. Plain lines where there is no terminal.

The last line of the demo is not this module's: the story prints it, as text and nothing else.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from rich import box
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from processor.dev.demo.figures import RECENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

    from processor.dev.demo.check import Outcome
    from processor.dev.demo.figures import Figures, Happening
    from processor.dev.demo.kills import Kill

_SHOW_SECONDS: Final = 0.25
_LINE_SECONDS: Final = 5.0
_BAR: Final = 16


class Show(Protocol):
    """Shows the figures as they are now; may be called as often as one likes."""

    def __call__(self, figures: Figures, *, at_once: bool = False) -> None: ...


@contextmanager
def step(console: Console, title: str) -> Iterator[Callable[[str], None]]:
    """One step: a spinner while it lasts, a line with its time when it is done. Yields what tells more about it.

    What was told last is part of the line.
    """
    started, told = time.monotonic(), ""
    with console.status(f"{escape(title)} ...") as status:

        def tell(text: str) -> None:
            nonlocal told
            told = text
            status.update(f"{escape(title)}: {escape(text)} ..." if text else f"{escape(title)} ...")

        yield tell
    seconds = f"{time.monotonic() - started:5.1f} s"
    console.print(
        f"[green]✓[/] [dim]{seconds}[/]  {escape(title)}{': ' + escape(told) if told else ''}", highlight=False
    )


@contextmanager
def showing(console: Console) -> Iterator[Show]:
    """Shows figures from here on: in place on a terminal, as a line now and then elsewhere."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield _InPlace(live)


class _InPlace:
    def __init__(self, live: Live) -> None:
        self._live, self._shown = live, float("-inf")

    def __call__(self, figures: Figures, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._shown >= _SHOW_SECONDS:
            self._shown = now
            self._live.update(_picture(figures, now), refresh=True)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._told, self._shown = console, 0, time.monotonic()

    def __call__(self, figures: Figures, *, at_once: bool = False) -> None:
        now = time.monotonic()
        for happening in figures.timeline[self._told :]:
            self._print(happening.seconds, escape(happening.text))
        self._told = len(figures.timeline)
        if at_once or now - self._shown >= _LINE_SECONDS:
            self._shown = now
            latency = figures.latency(now)
            late = "" if latency is None else f", latency p50 {_duration(latency[0])} p99 {_duration(latency[1])}"
            self._print(
                figures.seconds(),
                f"{figures.events_per_second(now):,.0f} events/s in, {figures.predictions_per_second(now):,.0f} "
                f"predictions/s out, {len(figures.keys):,} keys, lag {figures.lag:,}{late}",
            )

    def _print(self, seconds: float, text: str) -> None:
        self._console.print(f"{seconds:5.1f} s  {text}", highlight=False, soft_wrap=True)


def _picture(figures: Figures, now: float) -> RenderableType:
    sides = Table.grid(expand=True, padding=(0, 1))
    sides.add_column(ratio=2)
    sides.add_column(ratio=3)
    sides.add_row(
        Panel(_recent(figures), title="last predictions", border_style="dim"),
        Panel(_timeline(figures.timeline), title="what happens", border_style="dim"),
    )
    return Group(Panel(_numbers(figures, now), title="live", border_style="cyan"), sides)


def _numbers(figures: Figures, now: float) -> RenderableType:
    latency = figures.latency(now)
    p50, p99 = ("-", "-") if latency is None else (_duration(latency[0]), _duration(latency[1]))
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


def _timeline(timeline: list[Happening]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column()
    for happening in timeline:
        table.add_row(f"{happening.seconds:.1f} s", Text(happening.text, style=happening.style))
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
        text = f"p50 {_duration(latency[0])}, p99 {_duration(latency[1])}"
        table.add_row("latency", f"{text} [dim](produced to readable by read_committed, recoveries left out)[/]")
    for kill in kills:
        table.add_row(kill.name, kill.told)
    console.print(Padding(table, (1, 0, 0, 0)), highlight=False)
    for difference in outcome.report.differences:
        console.print(difference, style="red", markup=False, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
