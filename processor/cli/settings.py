"""`config show`, `config schema`, and the options by which every command takes its settings."""

from __future__ import annotations

import json
import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from processor.cli.output import Json, print_json, results

if TYPE_CHECKING:
    from processor.config import Loaded

File = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="Settings; by default ./processor.toml where there is one."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.NAME=VALUE", help="One setting, over the file's and the environment's. Repeatable."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="The settings in force, and what there is to set.", no_args_is_help=True)
    group.command()(show)
    group.command()(schema)
    app.add_typer(group, name="config")


def load(file: Path | None, overrides: list[str] | None) -> Loaded:
    """The settings from the file, the environment and `--set`.

    Raises:
        ConfigError: something in them is wrong.
    """
    from processor.config import load_settings

    return load_settings(file, os.environ, overrides or [])


def show(file: File = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Print the settings in force and where each came from, secrets masked. What is printed is TOML itself."""
    from processor.config.showing import shown

    loaded = load(file, overrides)
    rows = shown(loaded)
    if as_json:
        document = {f"{row.table}.{row.name}": {"value": row.value, "origin": row.origin} for row in rows}
        print_json({"file": str(loaded.file) if loaded.file else None, "settings": document})
        return
    console = results()
    texts = {row: f"{toml_key(row.name)} = {toml_value(row.value)}" for row in rows}
    width = min(60, max(map(len, texts.values())))
    for table, members in groupby(rows, key=lambda row: row.table):
        console.print(f"[{table}]", style="bold", markup=False, highlight=False)
        for row in members:
            style = "dim" if row.origin == "default" else "bold"
            console.print(f"{texts[row]:<{width}}", markup=False, highlight=False, soft_wrap=True, end="")
            console.print(f"  # {row.origin}", markup=False, highlight=False, soft_wrap=True, style=style)
        console.print()


def schema() -> None:
    """Print the JSON Schema of the settings' file: every setting, its default and what it means."""
    from processor.config.showing import settings_schema

    print_json(settings_schema())


def toml_key(name: str) -> str:
    """A name as TOML writes it: with quotes where it has dots."""
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else toml_value(name)


def toml_value(value: str | int | float | bool) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    # JSON's texts are TOML's, but for one sign that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
