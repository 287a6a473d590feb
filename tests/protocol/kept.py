"""`caught.json`: histories that are kept, by the mutant that each of them catches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocol.history import History
from protocol.mutants import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CAUGHT: Final = Path(__file__).with_name("caught.json")


def load() -> dict[str, list[History]]:
    found = json.loads(_CAUGHT.read_text(encoding="utf-8"))
    return {name: [History.from_json(plain) for plain in histories] for name, histories in found.items()}


def save(caught: Mapping[str, Sequence[History]]) -> None:
    """Those of mutants that there are; a line for each part of a history."""
    lines = []
    for name in sorted(caught.keys() & MUTANTS.keys()):
        bodies = [
            ",\n".join(f"   {json.dumps(part)}: {json.dumps(value)}" for part, value in history.to_json().items())
            for history in caught[name]
        ]
        lines.append(f" {json.dumps(name)}: [\n" + ",\n".join("  {\n" + body + "\n  }" for body in bodies) + "\n ]")
    _CAUGHT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
