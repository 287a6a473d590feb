"""The settings in force as something to read: value and origin of each, secrets masked; and the JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from processor.config.names import MASK, fields, free_tables, is_secret, sections
from processor.config.settings import Settings

if TYPE_CHECKING:
    from processor.config.loading import Loaded


class Shown(NamedTuple):
    """One setting: its table in the file, its name there, its value as JSON would hold it, and its origin."""

    table: str
    name: str
    value: str | int | float | bool
    origin: str


def shown(loaded: Loaded) -> list[Shown]:
    """Every setting in the order of the documentation; a librdkafka property only where it was given."""
    rows: list[Shown] = []
    for dotted in fields():
        section, _, name = dotted.partition(".")
        value: Any = getattr(getattr(loaded.settings, section), name)
        if dotted in free_tables():
            rows.extend(
                Shown(
                    dotted, key, MASK if is_secret(f"{dotted}.{key}") else value[key], loaded.origins[f"{dotted}.{key}"]
                )
                for key in value
            )
        else:
            rows.append(Shown(section, name, str(value) if isinstance(value, Path) else value, loaded.origins[dotted]))
    order = {table: rank for rank, table in enumerate([*sections(), *free_tables()])}
    # The tables of properties follow their section, as they do in a file.
    return sorted(rows, key=lambda row: (order[row.table.partition(".")[0]], "." in row.table, order[row.table]))


def settings_schema() -> dict[str, Any]:
    """The JSON Schema of the settings' file, with each setting's line of documentation."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
