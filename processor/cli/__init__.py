"""The command line: arguments in, reports out, an exit code for each class of errors.

Every command imports what it needs when it is called: the help is quick, and `run` never imports TensorFlow.
"""

from __future__ import annotations

from typing import Annotated

import typer

from processor.cli import broker, demonstration, models, resetting, running, settings, torture, watching
from processor.cli.failing import RefusingGroup
from processor.cli.output import flush_results, prepare_streams
from processor.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="processor",
    cls=RefusingGroup,
    help="Steps a trained Keras sequence model one sample at a time, per key, on a Kafka stream, exactly once.",
    epilog="Exit codes: 0 done, 1 a bug, 2 usage or settings, 3 unavailable, 4 ownership lost, 5 state corrupt, "
    "6 incompatible.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a bug's traceback is for a report: plain, and without the variables' values
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"processor {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


models.register(app)
running.register(app)
watching.register(app)
resetting.register(app)
settings.register(app)
broker.register(app)
demonstration.register(app)
torture.register(app)


def main() -> None:
    """The console script, and `python -m processor`."""
    prepare_streams()
    try:
        app(prog_name="processor")
    finally:
        flush_results()
