"""What is shown while the torture goes on: how far it is, and what has happened lately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from processor.trial import live_display as shared

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console, RenderableType

    from processor.trial.torture.scene import Course

_LATELY: Final = 14  # happenings on the screen


def showing(console: Console) -> AbstractContextManager[shared.Show[Course]]:
    """Shows the course from here on: in place on a terminal, as a line now and then elsewhere."""
    return shared.showing(console, _picture, _line)


def _line(course: Course, _: float) -> str:
    return f"{course.sent:,} events sent, {course.answered.predictions:,} predictions, round {_number(course)}"


def _number(course: Course) -> str:
    return f"{len(course.recoveries)} of {course.rounds}"


def _picture(course: Course, _: float) -> RenderableType:
    numbers = Table.grid(expand=True, padding=(0, 2, 0, 0))
    for _column in range(3):
        numbers.add_column(style="dim")
        numbers.add_column(justify="right", ratio=1)
    numbers.add_row(
        *("round", f"[bold]{_number(course)}[/]"),
        *("events", f"{course.sent:,}"),
        *("predictions", f"{course.answered.predictions:,}"),
    )
    settled = sum(recovery.settled_seconds is not None for recovery in course.recoveries)
    progress = ProgressBar(total=course.rounds, completed=settled)
    return Group(
        Panel(Group(numbers, progress), title="torture", border_style="cyan"),
        Panel(shared.timeline(course.timeline[-_LATELY:]), title="what happens", border_style="dim"),
    )
