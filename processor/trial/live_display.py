"""How a command of this package shows its work: steps with their time, what happens, and figures that move.

In place on a terminal, as plain lines elsewhere.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, RenderableType

_SHOW_SECONDS: Final = 0.25
_LINE_SECONDS: Final = 5.0


class Happening(NamedTuple):
    """One line of the timeline. `seconds`: since the beginning. `style`: rich's name of a colour."""

    seconds: float
    text: str
    style: str


class Course(Protocol):
    """What is shown while it changes: it knows what has happened, and how long it goes on."""

    @property
    def timeline(self) -> list[Happening]: ...

    def seconds(self) -> float: ...


C = TypeVar("C", bound=Course)
_Shown = TypeVar("_Shown", bound=Course, contravariant=True)


class Show(Protocol[_Shown]):
    """Shows the figures as they are now; may be called as often as one likes."""

    def __call__(self, figures: _Shown, *, at_once: bool = False) -> None: ...


@contextmanager
def step(console: Console, title: str) -> Iterator[Callable[[str], None]]:
    """One step: a spinner while it lasts, a line with its time when it is done. Yields what adds details to it.

    The last details are part of the line.
    """
    started, details = time.monotonic(), ""
    with console.status(f"{escape(title)} ...") as status:

        def tell(text: str) -> None:
            nonlocal details
            details = text
            status.update(f"{escape(title)}: {escape(text)} ..." if text else f"{escape(title)} ...")

        yield tell
    seconds = f"{time.monotonic() - started:5.1f} s"
    console.print(
        f"[green]✓[/] [dim]{seconds}[/]  {escape(title)}{': ' + escape(details) if details else ''}", highlight=False
    )


@contextmanager
def showing(
    console: Console, picture: Callable[[C, float], RenderableType], line: Callable[[C, float], str]
) -> Iterator[Show[C]]:
    """Shows figures from here on: as `picture` in place on a terminal, as a `line` now and then elsewhere.

    Both are given the figures and the time, in monotonic seconds.
    """
    if not console.is_terminal:
        yield _Lines(console, line)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield _InPlace(live, picture)


class _InPlace(Generic[C]):
    def __init__(self, live: Live, picture: Callable[[C, float], RenderableType]) -> None:
        self._live, self._picture, self._shown = live, picture, float("-inf")

    def __call__(self, figures: C, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._shown >= _SHOW_SECONDS:
            self._shown = now
            self._live.update(self._picture(figures, now), refresh=True)


class _Lines(Generic[C]):
    def __init__(self, console: Console, line: Callable[[C, float], str]) -> None:
        self._console, self._line, self._told, self._shown = console, line, 0, time.monotonic()

    def __call__(self, figures: C, *, at_once: bool = False) -> None:
        now = time.monotonic()
        for happening in figures.timeline[self._told :]:
            self._print(happening.seconds, happening.text)
        self._told = len(figures.timeline)
        if at_once or now - self._shown >= _LINE_SECONDS:
            self._shown = now
            self._print(figures.seconds(), self._line(figures, now))

    def _print(self, seconds: float, text: str) -> None:
        self._console.print(f"{seconds:5.1f} s  {escape(text)}", highlight=False, soft_wrap=True)


def timeline(happenings: Sequence[Happening]) -> RenderableType:
    """What has happened, as a table."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column()
    for happening in happenings:
        table.add_row(f"{happening.seconds:.1f} s", Text(happening.text, style=happening.style))
    return table


def duration(seconds: float) -> str:
    """For people: in milliseconds below a second."""
    return f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
