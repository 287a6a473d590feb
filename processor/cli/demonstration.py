"""`demo`: all of it on this machine."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import Annotated, Any

import typer

from processor.cli.output import write_no_bytecode


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)


def demo(
    keys: Annotated[int | None, typer.Option("--keys", min=1, help="How many keys have events.")] = None,
    events: Annotated[int | None, typer.Option("--events", min=1, help="How many events in all.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=1, help="Events a second.")] = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="Where its files go; by default a temporary one.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave its files for a look at them.")] = False,
) -> None:
    """Show all of it here, with an embedded Apache Kafka: train, convert, run, kill twice, compare with Keras.

    Ends with 0 when nothing was lost, doubled or different. Needs the extras `convert` and `trial`.
    """
    from processor.log import silence_kafka
    from processor.trial import demo as demonstration

    silence_kafka()
    write_no_bytecode()
    # What is not asked for is left to the demo's own defaults.
    sizes: dict[str, Any] = {"keys": keys, "events": events, "rate": rate}
    asked = {name: size for name, size in sizes.items() if size is not None}
    raise typer.Exit(demonstration.run(directory=directory, keep=keep, **asked))
