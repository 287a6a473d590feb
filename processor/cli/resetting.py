"""`reset`: the remedy that several refusals name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from processor.cli.failing import INTERRUPTED
from processor.cli.output import Json, errors, print_json, progress, results
from processor.cli.settings import File, Overrides, load
from processor.errors import ConfigError

if TYPE_CHECKING:
    from processor.reset import Reset, Way


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(reset)


def reset(
    to_start: Annotated[
        bool, typer.Option("--to-start", help="Empty states; predict the whole input again, from its beginning.")
    ] = False,
    to_end: Annotated[bool, typer.Option("--to-end", help="Empty states; continue at the input's end.")] = False,
    here: Annotated[bool, typer.Option("--here", help="Empty states; continue where the group stands.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="States recreated from the whole input, without publishing; continue where the group stands.",
        ),
    ] = False,
    file: File = None,
    overrides: Overrides = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Empty all states of a group, and set where it continues. Every process of the group must have ended.

    Shows what it will do, and asks. If it is cut short, type it again; until then `run` refuses to start.
    """
    way = _way({"to-start": to_start, "to-end": to_end, "here": here, "rebuild": rebuild})
    settings = load(file, overrides).settings
    from processor.log import configure_logging, silence_kafka
    from processor.reset import apply_reset, plan_reset

    configure_logging(settings.log.format, "warning")
    silence_kafka()
    with progress() as tell:
        planned = plan_reset(settings, way, tell)
    if not as_json:
        planned.render(results())
    if dry_run:
        if as_json:
            print_json(planned.to_dict())
        return
    if not yes:
        _ask(planned, as_json)
    with progress() as tell:
        done = apply_reset(settings, planned, tell)
    if as_json:
        print_json(done.to_dict())
    else:
        states = f"{done.emptied} state{'' if done.emptied == 1 else 's'}"
        results().print(f"Done: {states} emptied. Start the processor.", markup=False, highlight=False, soft_wrap=True)


def _way(asked: dict[str, bool]) -> Way:
    from processor.reset import Way

    chosen = [name for name, is_asked in asked.items() if is_asked]
    if len(chosen) != 1:
        raise ConfigError(
            "`processor reset` goes one way at a time." if chosen else "`processor reset` needs to know which way.",
            "",
            f"Give one of {', '.join(f'--{name}' for name in asked)}; `processor reset --help` explains each.",
        )
    return Way(chosen[0])


def _ask(planned: Reset, as_json: bool) -> None:
    if not sys.stdin.isatty():
        if as_json:
            print_json(planned.to_dict())
        raise ConfigError(
            "Nothing was changed: cannot ask for confirmation (no terminal).",
            "Standard input is not a terminal.",
            "Pass --yes to do what was shown.",
        )
    if as_json:
        planned.render(errors())
    try:
        agreed = typer.confirm("Do it?", default=False, err=True)
    except typer.Abort:  # Ctrl-C, or the end of the input
        errors().print("\nNothing was changed.", highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    if not agreed:
        errors().print("Nothing was changed.", highlight=False)
        raise typer.Exit(ConfigError.exit_code)
