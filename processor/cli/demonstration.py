"""`demo`: all of it on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)


def demo() -> None:
    """Show all of it on this machine with an embedded Apache Kafka: convert, run, kill, compare with Keras."""
    from processor.dev import demo as demonstration

    demonstration.run()
