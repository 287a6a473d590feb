"""`kafka`: a broker on this machine, for those who have none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(kafka)


def kafka(
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where the data stays; a later start continues with it.")
    ] = Path("kafka-data"),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where it listens, on this machine only.")] = (
        9092
    ),
) -> None:
    """Run an Apache Kafka on this machine until Ctrl-C, for a first try. Needs no Java and no container.

    It is one broker without security and without replicas: never use it in production. Needs the extra `trial`.
    """
    from processor.log import silence_kafka
    from processor.trial import kafka_server

    silence_kafka()
    raise typer.Exit(kafka_server.serve(directory.absolute(), port, typer.echo))
