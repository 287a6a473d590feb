"""`health` and `top`: how a running processor does, from any machine that reaches its HTTP endpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from processor.cli.output import Json, print_json, results
from processor.cli.settings import File  # noqa: TC001 - typer reads it
from processor.runtime.health import address, ask, check

if TYPE_CHECKING:
    from processor.cli.top import Look

At = Annotated[
    str | None,
    typer.Option("--at", metavar="HOST:PORT", help="Where it listens; by default `http.listen` of the settings."),
]
_SECONDS: Final = 1.0  # between two looks


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(health)
    app.command()(top)


def health(
    at: At = None,
    file: File = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Whether all its partitions run, not only whether it is alive.")
    ] = False,
) -> None:
    """Ask a running processor whether it is alive: exit code 0, or 3 with the reason. For container checks."""
    typer.echo(check(address(at, file), ready=ready))


def top(
    at: At = None,
    file: File = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print one look (of two seconds, for the rates) and end.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Watch a running processor: rates, latency, partitions, dead letters. Ctrl-C ends it."""
    from processor.cli.top import document, picture

    place = address(at, file)
    first = _look(place)
    time.sleep(_SECONDS)
    second = _look(place)
    if as_json:
        print_json(document(first, second))
        return
    console = results()
    if once or not console.is_terminal:
        console.print(picture(first, second))
        return
    from rich.live import Live

    with Live(picture(first, second), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_SECONDS)
            first, second = second, _look(place)
            live.update(picture(first, second), refresh=True)


def _look(place: str) -> Look:
    from processor.cli.top import look_of

    return look_of(time.monotonic(), *(ask(place, path) for path in ("/readyz", "/status", "/metrics")))
