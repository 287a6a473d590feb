"""The table of rules, `RULES.md`: each rule, the mutant that breaks it, and the history that catches the mutant.

Made of the mutants and of `caught.json`, which the tests play:

    PYTHONPATH=tests python -m protocol.rules
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocol import kept
from protocol.mutants import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.history import History, Strike
    from protocol.mutants import Mutant

PAGE: Final = Path(__file__).with_name("RULES.md")
_HEAD: Final = """# Rules that look fussy

Each was broken on purpose, as the mutant of that name, and is caught by a history. `test_mutants.py` plays the
histories of `caught.json`, with the mutant and without it; here is the shortest of each. A turn is one process going
once round its loop; what else may happen is in `moves.py`. After its last move nothing more goes wrong, and all
processes go on to the end. `python -m protocol.rules` writes this page.
"""
_STRUCK: Final = {"kill": "killed at", "stop": "stopped at", "move on": "a new generation at", "fail": "failing:"}


def page() -> str:
    """The page as it should be."""
    caught = kept.load()
    parts = [_HEAD]
    for module, mutants in groupby(MUTANTS.values(), key=lambda mutant: mutant.breaks.__module__):
        title = (sys.modules[module].__doc__ or "").splitlines()[0].rstrip(".").removesuffix(", broken on purpose")
        parts.append(f"\n## {title}\n\n| rule | mutant | caught by |\n|---|---|---|\n")
        parts += [_row(mutant, caught.get(mutant.name, [])) for mutant in mutants]
    return "".join(parts)


def _row(mutant: Mutant, histories: list[History]) -> str:
    shortest = min(histories, key=lambda history: (len(history.moves), len(history.records)), default=None)
    return f"| {mutant.rule} | `{mutant.name}` | {told(shortest) if shortest else 'nothing yet'} |\n"


def told(history: History) -> str:
    """A history in a line: what was read, and what happened."""
    records = [*history.records, *history.probes]
    events = f"{_count(len(records), 'event')} of {_count(len({key for _, _, key, _ in records}), 'key')}"
    settings = [f"{name} {value}" for name, value in history.to_json()["rules"].items()]
    happened = [", ".join(_moves(history)) or "no move"]
    happened += [_struck(point, hit, strike) for (point, hit), strike in history.strikes.items()]
    return "; ".join([", ".join([events, *settings]), *happened])


def _count(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _moves(history: History) -> Iterator[str]:
    for name, moves in groupby(move.name.replace("_", " ") for move in history.moves):
        count = len(list(moves))
        yield name if count == 1 else f"{count} x {name}"


def _struck(point: str, hit: int, strike: Strike) -> str:
    cursor = f"`{point.removeprefix('the call of ')}`" + (f", hit {hit}" if hit > 1 else "")
    during = f", for {_count(strike.moves, 'move')}" if strike.kind == "stop" else ""
    others = ", others take over" if strike.is_replaced else ""
    return f"{_STRUCK[strike.kind]} {cursor}{during}{others}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
