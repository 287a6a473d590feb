"""The summary of a torture: a table on the screen, a page in Markdown, or all of it as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from processor.errors import ConfigError
from processor.trial.torture.recovery import Recovery, Row, rows
from processor.trial.torture.schedule import TABLE
from processor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from processor.trial.torture.checking import Verdict


@dataclass(frozen=True, slots=True)
class Summary:
    """All that a torture has shown. `rate`: events a second; `seconds`: of the rounds, without what came after them."""

    command: str
    seed: int
    rounds: int
    processes: int
    keys: int
    rate: float
    model: str  # the artifact's fingerprint
    seconds: float
    recoveries: Sequence[Recovery]
    ended_by_themselves: Sequence[str]
    verdict: Verdict

    @property
    def rows(self) -> list[Row]:
        return rows(self.recoveries, TABLE)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What the report contains beside the faults: name, text."""
        verdict = self.verdict
        facts = [
            ("rounds", f"{self.rounds} in {self.seconds:,.0f} s, seed {self.seed}, {_processes(self.processes)}"),
            ("events", f"{verdict.events:,} of {verdict.keys:,} keys, {self.rate:,.0f} a second"),
            ("predictions", f"{verdict.predictions:,}, of which {verdict.compared:,} compared"),
            ("dead letters", f"{verdict.dead_letters:,}"),
            ("events without a prediction", f"{verdict.duplicates:,} duplicates, {verdict.forgotten:,} null values"),
            ("ended by themselves, and started again", f"{len(self.ended_by_themselves)} processes"),
        ]
        facts += [(f"compared with {name}", report.summary) for name, report in verdict.reports.items()]
        if verdict.keras_error is not None:
            facts.append(("greatest distance from Keras", f"{verdict.keras_error:.1e}"))
        return facts


def show(console: Console, summary: Summary) -> None:
    """The tables, and the differences below them, where there are any."""
    table = Table(box=box.ROUNDED, border_style="green" if summary.verdict else "red")
    for name, justify in (("what was done", "left"), ("times", "right"), ("recovery: median", "right")):
        table.add_column(name, justify="left" if justify == "left" else "right")
    table.add_column("longest", justify="right")
    for row in summary.rows:
        table.add_row(TABLE[row.fault], str(row.times), f"{row.median:.1f} s", f"{row.longest:.1f} s")
    facts = Table(box=None, show_header=False)
    facts.add_column(style="dim")
    facts.add_column()
    for name, text in summary.facts:
        facts.add_row(name, text)
    console.print(table, facts, highlight=False)
    for difference in summary.verdict.differences:
        console.print(difference, style="red", markup=False, highlight=False, soft_wrap=True)


def write(path: Path, summary: Summary) -> None:
    """Writes the summary as the file's name asks for: `.json`, or `.md` for Markdown.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = json.dumps(as_json(summary), indent=2) + "\n" if path.suffix == ".json" else as_markdown(summary)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The report {path} cannot be written.", str(error), "Name another file.") from error


def require_writable(path: Path) -> None:
    """Looks before a long run whether its report can be written.

    Raises:
        ConfigError: it cannot.
    """
    if path.suffix not in (".json", ".md"):
        raise ConfigError(f"The report {path} is of no known kind.", "", "Its name ends with .json or with .md.")
    try:
        path.touch()
    except OSError as error:
        raise ConfigError(f"The report {path} cannot be written.", str(error), "Name another file.") from error


def as_markdown(summary: Summary) -> str:
    """The page."""
    lines = [f"`{summary.command}`, processor {__version__}:", ""]
    lines += ["| what was done | times | recovery: median | longest |", "|---|---|---|---|"]
    lines += [
        f"| {TABLE[row.fault]} | {row.times} | {row.median:.1f} s | {row.longest:.1f} s |" for row in summary.rows
    ]
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in summary.facts)]
    lines += ["", *(f"- {difference}" for difference in summary.verdict.differences)]
    return "\n".join([*lines, f"`{summary.verdict.last_line}`", ""])


def as_json(summary: Summary) -> dict[str, Any]:
    """Everything, each round by itself."""
    verdict = summary.verdict
    found = {name: [one.lost, one.doubled, one.differing] for name, one in verdict.reports.items()}
    return {
        "version": __version__,
        "command": summary.command,
        "seed": summary.seed,
        "processes": summary.processes,
        "keys": summary.keys,
        "rate": summary.rate,
        "model": summary.model,
        "seconds": round(summary.seconds, 1),
        "rounds": [_round(recovery) for recovery in summary.recoveries],
        "faults": {
            row.fault: {
                "times": row.times,
                "median_seconds": round(row.median, 2),
                "longest_seconds": round(row.longest, 2),
            }
            for row in summary.rows
        },
        "ended_by_themselves": list(summary.ended_by_themselves),
        "events": verdict.events,
        "predictions": verdict.predictions,
        "dead_letters": verdict.dead_letters,
        "compared": verdict.compared,
        "keras_error": verdict.keras_error,
        "lost_doubled_differing": found,
        "differences": verdict.differences,
        "verdict": verdict.last_line,
    }


def _round(recovery: Recovery) -> dict[str, Any]:
    one = recovery.round
    return {
        "number": one.number,
        "fault": one.fault,
        "process": one.process,
        "point": one.point,
        "hit": one.hit,
        "recovery_seconds": _rounded(recovery.seconds),
        "settled_seconds": _rounded(recovery.settled_seconds),
        "remarks": recovery.remarks,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"
