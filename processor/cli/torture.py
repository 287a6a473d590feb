"""`torture`: whatever can happen to the processor, done to it here; then every prediction is checked."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import Annotated, Any

import typer

from processor.cli.models import Imports, say_what_runs
from processor.cli.output import write_no_bytecode


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(torture)


def torture(
    artifact: Annotated[
        Path | None, typer.Option("--artifact", metavar="DIR", help="The artifact to serve; by default an example's.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="The artifact's trained model: Keras checks, too.")
    ] = None,
    imports: Imports = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="How often something happens.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="It decides what happens, and in which order.")] = None,
    keys: Annotated[int | None, typer.Option("--keys", min=1, help="How many keys have events.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=1, help="Events a second.")] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, max=3, help="How many processes share the work.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Nothing but this; may be repeated.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the summary here: .md or .json.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="Where its files go; by default a temporary one.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave its files for a look at them.")] = False,
) -> None:
    """Kill it, stop it, damage its disk, take its broker away, under load and by a seed; then check every prediction.

    With an embedded Apache Kafka. Ends with 0 when nothing was lost, doubled or different.

    Needs the extra `trial`; also `convert`, with --model or without --artifact.
    """
    from processor.errors import ConfigError
    from processor.log import silence_kafka
    from processor.trial import torture as kill_matrix

    if model is not None and artifact is None:
        raise ConfigError("--model was given without --artifact.", "", "Name the artifact that was made from it.")
    if imports and model is None:
        raise ConfigError("--import was given without --model.", "", "Name the model whose file needs that code.")
    say_what_runs(imports)
    silence_kafka()
    write_no_bytecode()
    # What is not asked for is left to the command's own defaults.
    wishes: dict[str, Any] = {
        "artifact": artifact,
        "model": model,
        "imports": imports,
        "rounds": rounds,
        "seed": seed,
        "keys": keys,
        "rate": rate,
        "processes": processes,
        "only": only,
        "report": report,
    }
    asked = {name: wish for name, wish in wishes.items() if wish is not None}
    raise typer.Exit(kill_matrix.run(kill_matrix.Wishes(**asked), directory=directory, keep=keep))
